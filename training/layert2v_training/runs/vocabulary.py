"""The words that a model learns from composed scenes, for its card."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from layert2v_training.runs.recipes import Recipe
from layert2v_training.runs.run_binding import BINDING, read_values
from layert2v_training.scenes.effects import PASSING_WORDS
from layert2v_training.scenes.scene_recipe import CAMERAS, MOTIONS, SceneRecipe, words_of
from layert2v_words import Vocabulary, alphabetical

_RUNS = ("run-joint", "run-multi-foreground")


def vocabulary_of(scene: SceneRecipe) -> Vocabulary:
    """List what the captions of a recipe's scenes say."""
    subjects, backgrounds = words_of(scene)
    motions = [word for kind in scene.motions or MOTIONS for word in MOTIONS[kind]]
    if scene.effects and scene.effects.passing:
        motions += PASSING_WORDS.values()
    return Vocabulary(
        foregrounds=tuple(alphabetical(subjects)),
        backgrounds=tuple(alphabetical(backgrounds)),
        motions=tuple(motions),
        cameras=tuple(words.removeprefix(", ") for words in CAMERAS.values() if words),
    )


def vocabulary_entry(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Give the card's `vocabulary`, or nothing where the words are not known.

    They are not known where the model knew others before, as Wan2.1 does. Nor are they where a
    stage learned from the user's own clips.

    Raises:
        RunDiffers: A stage's `run.json` cannot be read.
    """
    paths = [out / run / BINDING for run in _RUNS]
    clips = [read_values(path).get("--data") for path in paths if path.is_file()]
    if recipe.base != "none" or not clips or any(clips):
        return {}
    return {"vocabulary": asdict(vocabulary_of(recipe.joint_scene))}
