"""Finds the words in a shot's prompts that its model was never taught. It refuses nothing."""

from layert2v_backend.models import Limits
from layert2v_domain.shot import Shot
from layert2v_words import FULL, UnknownWords, find_unknown_words


def unknown_words_of(shot: Shot, limits: Limits) -> tuple[UnknownWords, ...]:
    """List the prompts that the model's vocabulary does not cover, the full picture's first.

    A kept layer is not generated, so its prompt is not judged. The list is empty if the model has
    no vocabulary.
    """
    if limits.vocabulary is None:
        return ()
    layers = enumerate(shot.layers)
    made = [(layer_index, layer.prompt) for layer_index, layer in layers if layer.kept is None]
    found = [
        find_unknown_words(limits.vocabulary, limits.id, layer_index, prompt)
        for layer_index, prompt in [(FULL, shot.prompt), *made]
    ]
    return tuple(each for each in found if each is not None)
