"""Compares a prompt with a vocabulary by words alone, without a text encoder.

A layer's prompt is known where its words, apart from motions or camera moves, are those of one
entry: all of them and no others. A part is not enough: `tiny` makes ruins of `a castle`, which is
half of two of its entries (docs/log.md). The full picture is free text beside its layers: it is
known as soon as it names what an entry shows, its head (`castle` of `a white castle`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from layert2v_words.phrases import Word, heads_of, read_words, without_phrases, written
from layert2v_words.vocabulary import UnknownWords, Vocabulary, alphabetical

FULL = -1
"""Layer index of the full picture."""

_MOST_NEAREST = 3
_MOST_QUOTED_CHARS = 60
_SHORTEST_PART = 4
"""Letters of a word that may be a part of another: `ball` of `football`, but not `cat`."""
_SHORTEST_MISSPELT = 6
"""Letters of the longer of two words that may be spelt alike: below, other words are as near."""
_ALIKE = 0.8
"""Smallest likeness of a word and its misspelling: `elefant` has 0.8, `pinguin` 0.86."""


@dataclass(frozen=True)
class _Entry:
    """An entry of a vocabulary, read."""

    text: str
    words: tuple[Word, ...]
    head: Word

    def shared(self, words: Sequence[Word]) -> int:
        """Count the words that the entry has."""
        return _num_shared(words, self.words)

    def is_about(self, words: Sequence[Word]) -> bool:
        """Whether `words` name what the entry shows."""
        return any(map(self.head.is_like, words))

    def is_named(self, words: Sequence[Word]) -> bool:
        """Whether `words` name all of the entry and nothing else."""
        return self.shared(words) == len(words) and _num_shared(self.words, words) == len(
            self.words
        )


def _num_shared(words: Sequence[Word], others: Sequence[Word]) -> int:
    return sum(any(map(word.is_like, others)) for word in words)


@lru_cache(maxsize=16)
def _read(entries: tuple[str, ...]) -> tuple[_Entry, ...]:
    texts = [text for text in alphabetical(entries) if read_words(text)]
    return tuple(_Entry(text, read_words(text), heads_of(read_words(text))[-1]) for text in texts)


@lru_cache(maxsize=512)
def find_unknown_words(
    vocabulary: Vocabulary, model_id: str, layer_index: int, prompt: str
) -> UnknownWords | None:
    """Find what a model does not know of a prompt.

    Args:
        vocabulary: Of the model.
        model_id: Its name, for the sentence.
        layer_index: The layer's place in the stack, 0 the background; `FULL`: the full picture.
        prompt: Of the layer.

    Returns:
        None where all is known, or where the prompt holds no word.
    """
    backgrounds, foregrounds = _read(vocabulary.backgrounds), _read(vocabulary.foregrounds)
    own, others, extras = foregrounds, backgrounds, vocabulary.motions
    if layer_index == 0:
        own, others, extras = backgrounds, foregrounds, vocabulary.cameras
    elif layer_index == FULL:
        own, others = foregrounds + backgrounds, ()
        extras = vocabulary.motions + vocabulary.cameras
    words = read_words(prompt)
    # What only says a motion names nothing, so all of it is unknown.
    words = without_phrases(words, extras) or words
    names = _Entry.is_about if layer_index == FULL else _Entry.is_named
    if not words or any(names(entry, words) for entry in own):
        return None
    quoted, nearest = _shortened(written(words)), _nearest(own, words)
    message = f'{model_id} knows no "{quoted}"; {_advice(own, nearest)}'
    if any(entry.is_named(words) for entry in others):
        role = "a background" if layer_index else "a foreground"
        message = f'{model_id} knows "{quoted}" only as {role}'
    return UnknownWords(layer_index, quoted, nearest, message)


def _shortened(text: str) -> str:
    if len(text) <= _MOST_QUOTED_CHARS:
        return text
    return f"{text[:_MOST_QUOTED_CHARS].rpartition(' ')[0] or text[:_MOST_QUOTED_CHARS]}..."


def _advice(entries: Sequence[_Entry], nearest: Sequence[str]) -> str:
    if nearest:
        return f"nearest: {', '.join(nearest)}"
    shown = [entry.text for entry in entries[:_MOST_NEAREST]]
    rest = len(entries) - len(shown)
    return f"it knows {', '.join(shown) or 'nothing here'}{f' and {rest} more' if rest else ''}"


def _nearest(entries: Sequence[_Entry], words: Sequence[Word]) -> tuple[str, ...]:
    """Give the entries that share most with `words`; failing that, those that look like them."""
    ranks = {entry.text: _closeness(entry, words) for entry in entries}
    best = max(ranks.values(), default=(0, 0, 0.0))
    if best == (0, 0, 0.0):
        return ()
    return tuple(text for text, rank in ranks.items() if rank == best)[:_MOST_NEAREST]


def _closeness(entry: _Entry, words: Sequence[Word]) -> tuple[int, int, float]:
    """Rank by what the prompt is about, then by shared words, then by how alike words look.

    A shared colour makes nothing near: the prompt's head or the entry's must be shared.
    """
    about = max(
        2 * head.is_like(entry.head) + any(map(head.is_like, entry.words))
        for head in heads_of(words)
    )
    if about or entry.is_about(words):
        return about, entry.shared(words), 0.0
    return 0, 0, max(_likeness(one, other) for one in words for other in entry.words)


def _likeness(one: Word, other: Word) -> float:
    if one.is_like(other):
        return 0.0
    return max(_spelt_alike(a, b) for a in one.forms for b in other.forms)


def _spelt_alike(one: str, other: str) -> float:
    """Say how alike two words look, 0 to 1; 0 for words that only chance makes alike."""
    short, long = sorted((one, other), key=len)
    if len(short) >= _SHORTEST_PART and (long.startswith(short) or long.endswith(short)):
        return 1.0
    if len(long) < _SHORTEST_MISSPELT or one[0] != other[0]:
        return 0.0
    ratio = SequenceMatcher(None, one, other).ratio()
    return ratio if ratio >= _ALIKE else 0.0
