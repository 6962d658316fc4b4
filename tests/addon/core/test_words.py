from dataclasses import replace

import pytest

from blender_addon.core.words import additions_of, subjects_of, unknown_message, with_words
from layert2v_client import Model
from layert2v_words import FULL, Vocabulary

SILENT = Model("wan", "", ((96, 64),), (9,), 2, 300, 24, 3.0, 8.0)
TINY = replace(
    SILENT,
    id="tiny",
    vocabulary=Vocabulary(
        ("the moon", "a fox", "an elephant"),
        ("a pine forest",),
        ("moving right", "moving right and up"),
        ("the camera pans left", "the camera zooms in"),
    ),
)


def test_words_are_offered_in_alphabetical_order_without_their_articles():
    assert subjects_of(TINY, 2) == ["an elephant", "a fox", "the moon"]
    assert subjects_of(TINY, 0) == ["a pine forest"]
    assert additions_of(TINY, 1) == ("moving right", "moving right and up")
    assert additions_of(TINY, 0) == ("the camera pans left", "the camera zooms in")


@pytest.mark.parametrize("model", [None, SILENT])
def test_a_model_that_is_silent_or_not_known_offers_and_warns_of_nothing(model):
    assert subjects_of(model, 1) == []
    assert additions_of(model, 1) == ()
    assert unknown_message(model, 1, "a dragon") == ""


def test_what_the_model_does_not_know_is_told_in_a_sentence():
    assert unknown_message(TINY, 1, "a dragon") == (
        'tiny knows no "dragon"; it knows an elephant, a fox, the moon'
    )
    assert unknown_message(TINY, 0, "an old pine forest") == (
        'tiny knows a pine forest but no "old"'
    )
    assert unknown_message(TINY, 1, "a fox") == unknown_message(TINY, FULL, "") == ""


@pytest.mark.parametrize(
    ("layer_index", "prompt", "words", "written"),
    [
        (1, "a dragon in the snow", "a fox", "a fox"),
        (1, "a fox", "moving right", "a fox moving right"),
        (1, "a fox Moving right and up", "moving right", "a fox moving right"),
        (1, "", "moving right", "moving right"),
        (0, "a pine forest", "the camera zooms in", "a pine forest, the camera zooms in"),
        (
            0,
            "a pine forest, the camera pans left",
            "the camera zooms in",
            "a pine forest, the camera zooms in",
        ),
    ],
)
def test_a_chosen_subject_replaces_the_prompt_and_a_motion_its_motion(
    layer_index, prompt, words, written
):
    assert with_words(TINY, layer_index, prompt, words) == written
