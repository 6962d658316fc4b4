"""Finds the entries of a vocabulary that come nearest to unknown words."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from layert2v_words.phrases import Word, heads_of, read_words
from layert2v_words.vocabulary import alphabetical

_MOST_SHOWN = 3
_SHORTEST_PART = 4
"""Fewest letters of a word that may be a part of another, as `ball` of `football`, but not "
"`cat`."""
_SHORTEST_REST = 2
"""Fewest letters of the other part, so that `night` is no part of `knight`."""
_SHORTEST_MISSPELT = 6
"""Fewest letters of the longer of two words with like spelling. Below, other words are as near."""
_ALIKE = 0.8
"""Smallest likeness of a word and its misspelling. `elefant` has 0.8, `pinguin` 0.86."""


@dataclass(frozen=True)
class Entry:
    """An entry of a vocabulary, split into words."""

    text: str
    """The entry as the vocabulary writes it."""
    words: tuple[Word, ...]
    """Its words, at least one."""
    head: Word
    """The word that names the entry's subject, such as `castle` of `a white castle`."""

    def shared(self, words: Sequence[Word]) -> int:
        """Count the words that the entry has."""
        return _num_shared(words, self.words)

    def is_about(self, words: Sequence[Word]) -> bool:
        """Say whether `words` name the entry's subject."""
        return any(map(self.head.is_like, words))

    def has_all(self, words: Sequence[Word]) -> bool:
        """Say whether the entry has all of `words`."""
        return self.shared(words) == len(words)

    def is_named(self, words: Sequence[Word]) -> bool:
        """Say whether `words` name all of the entry and nothing else."""
        return self.has_all(words) and _num_shared(self.words, words) == len(self.words)


@lru_cache(maxsize=16)
def read_entries(entries: tuple[str, ...]) -> tuple[Entry, ...]:
    """Read entries in alphabetical order, without those that hold no word."""
    texts = [text for text in alphabetical(entries) if read_words(text)]
    return tuple(Entry(text, read_words(text), heads_of(read_words(text))[-1]) for text in texts)


def nearest_entries(entries: Sequence[Entry], words: Sequence[Word]) -> tuple[str, ...]:
    """Give the entries that share most with `words`, or else those that look like them.

    All entries that are equally near are given, in the given order. None are given if chance alone
    would choose.
    """
    ranks = {entry.text: _closeness(entry, words) for entry in entries}
    best = max(ranks.values(), default=(0, 0, 0.0))
    return tuple(text for text, rank in ranks.items() if rank == best) if any(best) else ()


def nearest_phrases(phrases: Sequence[str], words: Sequence[Word]) -> tuple[str, ...]:
    """Give the motions or camera moves that share most words with `words`, then look like them."""
    ranks = {
        phrase: (_num_shared(words, read_words(phrase)), _most_alike(words, read_words(phrase)))
        for phrase in phrases
    }
    best = max(ranks.values(), default=(0, 0.0))
    return tuple(text for text, rank in ranks.items() if rank == best) if any(best) else ()


def shown(texts: Sequence[str]) -> tuple[str, ...]:
    """Give the first few of many texts, for which a sentence has room."""
    return tuple(texts[:_MOST_SHOWN])


def listed(texts: Sequence[str]) -> str:
    """Write the first few of many texts, and the number of the rest. Empty for none."""
    rest = len(texts) - len(shown(texts))
    return f"{', '.join(shown(texts))}{f' and {rest} more' if rest else ''}"


def _num_shared(words: Sequence[Word], others: Sequence[Word]) -> int:
    return sum(any(map(word.is_like, others)) for word in words)


def _closeness(entry: Entry, words: Sequence[Word]) -> tuple[int, int, float]:
    """Rank by the prompt's subject, then by shared words, then by how alike words look.

    A shared colour does not make an entry near. The prompt's head or the entry's must be shared.
    """
    about = max(
        2 * head.is_like(entry.head) + any(map(head.is_like, entry.words))
        for head in heads_of(words)
    )
    if about or entry.is_about(words):
        return about, entry.shared(words), 0.0
    return 0, 0, _most_alike(words, entry.words)


def _most_alike(words: Sequence[Word], others: Sequence[Word]) -> float:
    return max((_likeness(one, other) for one in words for other in others), default=0.0)


def _likeness(one: Word, other: Word) -> float:
    if one.is_like(other):
        return 0.0
    return max(_spelt_alike(a, b) for a in one.forms for b in other.forms)


def _spelt_alike(one: str, other: str) -> float:
    """Say how alike two words look, 0 to 1. It is 0 for words that only chance makes alike."""
    short, long = sorted((one, other), key=len)
    is_part = len(short) >= _SHORTEST_PART and len(long) - len(short) >= _SHORTEST_REST
    if is_part and (long.startswith(short) or long.endswith(short)):
        return 1.0
    if len(long) < _SHORTEST_MISSPELT or one[0] != other[0]:
        return 0.0
    ratio = SequenceMatcher(None, one, other).ratio()
    return ratio if ratio >= _ALIKE else 0.0
