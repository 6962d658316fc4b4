# SPDX-License-Identifier: GPL-3.0-or-later
"""The words that the chosen model knows. They are offered, checked and put into prompts."""

import re

from layert2v_client import Model
from layert2v_words import alphabetical, find_unknown_words


def subjects_of(model: Model | None, layer_index: int) -> list[str]:
    """List the subjects of a layer in alphabetical order. Layer 0 is the background.

    Empty while the model is not known, and if it lists no words.
    """
    if model is None or model.vocabulary is None:
        return []
    known = model.vocabulary
    return alphabetical(known.foregrounds if layer_index else known.backgrounds)


def additions_of(model: Model | None, layer_index: int) -> tuple[str, ...]:
    """List additions to a layer's prompt: motions, or moves of the background's camera."""
    if model is None or model.vocabulary is None:
        return ()
    return model.vocabulary.motions if layer_index else model.vocabulary.cameras


def unknown_message(model: Model | None, layer_index: int, prompt: str) -> str:
    """Say in a sentence which words of a prompt a model does not know. Empty if it knows all.

    It is cheap enough for every redraw, because equal prompts are judged once.
    """
    if model is None or model.vocabulary is None:
        return ""
    unknown = find_unknown_words(model.vocabulary, model.id, layer_index, prompt)
    return unknown.message if unknown else ""


def with_words(model: Model | None, layer_index: int, prompt: str, words: str) -> str:
    """Write chosen words into a prompt. A subject replaces it, a motion replaces its motion."""
    additions = additions_of(model, layer_index)
    if words not in additions:
        return words
    for addition in sorted(additions, key=len, reverse=True):
        prompt = re.sub(rf",?\s*\b{re.escape(addition)}\b", "", prompt, flags=re.IGNORECASE)
    joint = " " if layer_index else ", "
    return joint.join(part for part in (prompt.strip(), words) if part)
