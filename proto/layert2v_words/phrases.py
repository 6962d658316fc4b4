"""A prompt or an entry of a vocabulary, read as words: no grammar but prepositions and plurals."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from layert2v_words.vocabulary import ARTICLES

Forms = frozenset[str]
"""The forms a word may have: itself and what it may be the plural of."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")

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
"""Words that name nothing. `left`, `up` and the like are not among them: motions need them."""


@dataclass(frozen=True)
class Word:
    """A word that names something."""

    text: str
    """As it was written, with the fillers directly before it: `on a hill`."""
    forms: Forms
    """To compare by."""
    follows_preposition: bool
    """Whether a preposition stands between it and the word before."""
    follows_and: bool
    """Whether `and` or `or` stands there."""

    def is_like(self, other: "Word") -> bool:
        """Whether both may be forms of one word."""
        return not self.forms.isdisjoint(other.forms)


@lru_cache(maxsize=1024)
def read_words(text: str) -> tuple[Word, ...]:
    """Read the words of a text that name something, in order."""
    found, fillers = list[Word](), list[str]()
    for written in _WORD.findall(unicodedata.normalize("NFKC", text).replace("\u2019", "'")):
        word = written.casefold().removesuffix("'s")
        if word in _FILLERS:
            fillers.append(written)
            continue
        between = {filler.casefold() for filler in fillers}
        found.append(
            Word(
                text=" ".join([*fillers, written]),
                forms=_forms(word),
                follows_preposition=not between.isdisjoint(_PREPOSITIONS),
                follows_and=not between.isdisjoint(_CONJUNCTIONS),
            )
        )
        fillers = []
    return tuple(found)


def heads_of(words: Sequence[Word]) -> tuple[Word, ...]:
    """Give the words that say what a phrase is: the last before a preposition, and before `and`.

    `castle` of `a white castle in the mountains`; `cat` and `dog` of `a cat and a dog`.
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
    left = list(words)
    for phrase in sorted(map(read_words, phrases), key=len, reverse=True):
        size, start = len(phrase), 0
        while phrase and start + size <= len(left):
            if all(map(Word.is_like, left[start : start + size], phrase)):
                del left[start : start + size]
            else:
                start += 1
    return tuple(left)


def written(words: Sequence[Word]) -> str:
    """Write words again as they were, without the fillers before the first."""
    return " ".join([words[0].text.rpartition(" ")[2], *(word.text for word in words[1:])])


def _forms(word: str) -> Forms:
    """List what a word may be the plural of, by its ending; nonsense among it does no harm."""
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
