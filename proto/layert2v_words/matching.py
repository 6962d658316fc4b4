"""Compares a prompt with a vocabulary by words alone, without a text encoder.

A layer's prompt is known if its words, apart from motions or camera moves, are exactly those of one
entry. A part is not enough. `tiny` makes ruins of `a castle`, which is half of two of its entries
(docs/log.md). If a prompt names a whole entry and says more, only the rest is unknown. The full
picture is free text beside its layers. It is known if it names an entry's head, such as `castle` of
`a white castle`.
"""

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from layert2v_words.nearness import (
    Entry,
    listed,
    nearest_entries,
    nearest_phrases,
    read_entries,
    shown,
)
from layert2v_words.phrases import Word, around, read_words, without_phrases, written
from layert2v_words.vocabulary import UnknownWords, Vocabulary

FULL = -1
"""Layer index of the full picture."""

_MOST_QUOTED_CHARS = 60


@lru_cache(maxsize=512)
def find_unknown_words(
    vocabulary: Vocabulary, model_id: str, layer_index: int, prompt: str
) -> UnknownWords | None:
    """Find the part of a prompt that a model does not know.

    Args:
        vocabulary: The model's vocabulary.
        model_id: The model's name, for the sentence.
        layer_index: The layer's place in the stack, where 0 is the background. `FULL` means the
            full picture.
        prompt: The layer's prompt.

    Returns:
        The unknown part. None if all is known, or if the prompt holds no word.
    """
    backgrounds, foregrounds = map(read_entries, (vocabulary.backgrounds, vocabulary.foregrounds))
    own, others, extras = foregrounds, backgrounds, vocabulary.motions
    if layer_index == 0:
        own, others, extras = backgrounds, foregrounds, vocabulary.cameras
    elif layer_index == FULL:
        own, others = foregrounds + backgrounds, ()
        extras = vocabulary.motions + vocabulary.cameras
    words = without_phrases(read_words(prompt), extras)
    names = Entry.is_about if layer_index == FULL else Entry.is_named
    if not words or any(names(entry, words) for entry in own):
        return None
    if any(entry.is_named(words) for entry in others):
        quoted, role = _shortened(written(words)), "a background" if layer_index else "a foreground"
        message = f'{model_id} knows "{quoted}" only as {role}'
        return UnknownWords(layer_index, quoted, shown(nearest_entries(own, words)), message)
    named = _entry_within_or_none(own, words)
    if named is not None:
        return _beside(named, words, extras, model_id, layer_index)
    quoted, nearest = _shortened(written(words)), nearest_entries(own, words)
    message = f'{model_id} knows no "{quoted}"; {_advice(own, nearest)}'
    return UnknownWords(layer_index, quoted, shown(nearest), message)


def _entry_within_or_none(entries: Sequence[Entry], words: Sequence[Word]) -> Entry | None:
    """Find the entry that `words` name whole among others, or give None if it is not just one."""
    within = [entry for entry in entries if around(words, entry.words) is not None]
    longest = max(within, key=lambda entry: len(entry.words), default=None)
    if longest is None or any(not longest.has_all(entry.words) for entry in within):
        return None
    return longest


def _beside(
    entry: Entry, words: Sequence[Word], extras: Sequence[str], model_id: str, layer_index: int
) -> UnknownWords:
    """Name the words that a prompt adds to a known entry, and offer others instead."""
    before, after = around(words, entry.words) or ((), ())
    runs = [_shortened(written(run)) for run in (before, after) if run]
    quoted = " and ".join(f'no "{run}"' for run in runs)
    message = f"{model_id} knows {entry.text} but {quoted}{_offer(extras, after, layer_index)}"
    return UnknownWords(layer_index, ", ".join(runs), (entry.text,), message)


def _offer(extras: Sequence[str], after: Sequence[Word], layer_index: int) -> str:
    """Offer the motions or camera moves nearest to words after an entry, or else any motions.

    Words may name a motion unless they follow a preposition or a conjunction, as `running` does and
    `in the snow` does not. A camera move is offered only if one is near.
    """
    near = nearest_phrases(extras, after)
    if near:
        return f"; nearest {'motion' if layer_index else 'camera move'}: {listed(near)}"
    is_place = not after or after[0].follows_preposition or after[0].follows_and
    if is_place or not extras or layer_index == 0:
        return ""
    return f"; motions it knows: {listed(extras)}"


def _advice(entries: Sequence[Entry], nearest: Sequence[str]) -> str:
    if nearest:
        return f"nearest: {listed(nearest)}"
    return f"it knows {listed([entry.text for entry in entries]) or 'nothing here'}"


def _shortened(text: str) -> str:
    if len(text) <= _MOST_QUOTED_CHARS:
        return text
    end = _MOST_QUOTED_CHARS
    while end and unicodedata.category(text[end]).startswith("M"):
        end -= 1
    return f"{text[:end].rpartition(' ')[0] or text[:end]}..."
