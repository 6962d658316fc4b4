"""Reads a prompt or an entry as words. Its only grammar is prepositions and plurals."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from layert2v_words.vocabulary import ARTICLES

Forms = frozenset[str]
"""The forms of a word: itself and the words of which it may be the plural."""

_JOINERS = frozenset("\u200c\u200d")
"""Invisible letters within words of Persian and of Indian languages."""
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")

_PREPOSITIONS = frozenset((
    "above", "across", "against", "along", "among", "around", "at", "before", "behind", "below",
    "beneath", "beside", "between", "beyond", "by", "during", "from", "in", "inside", "into",
    "near", "next", "of", "off", "on", "onto", "out", "outside", "over", "through", "to", "toward",
    "towards", "under", "upon", "with", "within", "without",
))  # fmt: skip
_CONJUNCTIONS = frozenset(("and", "or"))
_FILLERS = frozenset((
    *ARTICLES, *_PREPOSITIONS, *_CONJUNCTIONS,
    "are", "as", "be", "being", "has", "have", "here", "is", "it", "its", "one", "some", "that",
    "there", "these", "this", "which",
))  # fmt: skip
"""Words that name nothing. `left`, `up` and the like are left out, because motions need them."""


@dataclass(frozen=True)
class Word:
    """A word that names a thing."""

    name: str
    """The word as it was written, such as `hill`."""
    text: str
    """The word with all text after the word before it, such as ` on a hill` or `, a hill`."""
    forms: Forms
    """Its forms, for comparing."""
    follows_preposition: bool
    """Whether a preposition stands between it and the word before."""
    follows_and: bool
    """Whether `and` or `or` stands between it and the word before."""

    def is_like(self, other: "Word") -> bool:
        """Say whether both may be forms of one word."""
        return not self.forms.isdisjoint(other.forms)


@lru_cache(maxsize=1024)
def read_words(text: str) -> tuple[Word, ...]:
    """Read the words of a text that name something, in order."""
    text = _BLANKS.sub(" ", unicodedata.normalize("NFKC", text).replace("\u2019", "'"))
    found, between, written_to = list[Word](), set[str](), 0
    for start, end in _spans(text):
        word = text[start:end].casefold().removesuffix("'s")
        if word in _FILLERS:
            between.add(word)
            continue
        found.append(
            Word(
                name=text[start:end],
                text=text[written_to:end],
                forms=_forms(word),
                follows_preposition=not between.isdisjoint(_PREPOSITIONS),
                follows_and=not between.isdisjoint(_CONJUNCTIONS),
            )
        )
        between, written_to = set(), end
    return tuple(found)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Give each word's beginning and end. A word has letters, digits, marks and an apostrophe."""
    start, has_apostrophe = -1, False
    for at, char in enumerate(f"{text} "):
        if char.isalnum() or (start >= 0 and _is_mark(char)):
            if start < 0:
                start, has_apostrophe = at, False
        elif char == "'" and start >= 0 and not has_apostrophe and text[at + 1 : at + 2].isalnum():
            has_apostrophe = True
        elif start >= 0:
            yield start, at
            start = -1


def _is_mark(char: str) -> bool:
    """Say whether a character, such as an accent or a tone, belongs to the letter before it."""
    return char in _JOINERS or unicodedata.category(char).startswith("M")


def heads_of(words: Sequence[Word]) -> tuple[Word, ...]:
    """Give the words that name a phrase's subject: the last before a preposition and before `and`.

    For `a white castle in the mountains` that is `castle`, for `a cat and a dog` `cat` and `dog`.
    """
    heads = list[Word]()
    for before, word in pairwise(words):
        if word.follows_preposition:
            return (*heads, before)
        if word.follows_and:
            heads.append(before)
    return (*heads, words[-1])


def without_phrases(words: Sequence[Word], phrases: Sequence[str]) -> tuple[Word, ...]:
    """Leave out every occurrence of `phrases`, the longest first."""
    left = tuple(words)
    for phrase in sorted(map(read_words, phrases), key=len, reverse=True):
        left = _without(left, phrase)
    return left


def around(
    words: Sequence[Word], phrase: Sequence[Word]
) -> tuple[tuple[Word, ...], tuple[Word, ...]] | None:
    """Give the words before and after a phrase, or None if it does not occur.

    If it occurs again, those words are left out too.
    """
    start = _find(words, phrase, 0)
    if start is None:
        return None
    return tuple(words[:start]), _without(words[start:], phrase)


def _without(words: Sequence[Word], phrase: Sequence[Word]) -> tuple[Word, ...]:
    left, start = list(words), _find(words, phrase, 0)
    while start is not None:
        del left[start : start + len(phrase)]
        start = _find(left, phrase, start)
    return tuple(left)


def _find(words: Sequence[Word], phrase: Sequence[Word], first: int) -> int | None:
    for start in range(first, len(words) - len(phrase) + 1 if phrase else 0):
        if all(map(Word.is_like, words[start : start + len(phrase)], phrase)):
            return start
    return None


def written(words: Sequence[Word]) -> str:
    """Write words as they were, without the fillers before the first."""
    return "".join([words[0].name, *(word.text for word in words[1:])])


def _forms(word: str) -> Forms:
    """List the words of which a word may be the plural, by its ending. Nonsense does no harm."""
    forms = {word}
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        forms.add(word[:-1])
        if word.endswith("es"):
            forms.add(word[:-2])
        if word.endswith("ies"):
            forms.add(word[:-3] + "y")
        if word.endswith("ves"):
            forms |= {word[:-3] + "f", word[:-3] + "fe"}
    if word.endswith("men"):
        forms.add(word[:-3] + "man")
    if word.endswith("i") and len(word) > 3:
        forms.add(word[:-1] + "us")
    return frozenset(forms)
