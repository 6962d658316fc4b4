"""The recipe of composed scenes, and the motions of subjects and of the camera."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from layert2v_training.number_kinds import Count, NotNegative, Positive, Share, Side, WholeNumber
from layert2v_training.scenes.effects import (
    SceneEffects,
)
from layert2v_training.scenes.subjects import (
    CORE_BACKGROUNDS,
    CORE_SUBJECTS,
    HELD_OUT_BACKGROUNDS,
    PANORAMAS,
    PHOTOGRAPHS,
    SUBJECTS,
    WIDER_BACKGROUNDS,
    WIDER_SUBJECTS,
    Variety,
)

MOTIONS: dict[str, tuple[str, ...]] = {
    "still": ("standing still", "staying in place"),
    "right": ("moving to the right", "moving right", "going to the right"),
    "left": ("moving to the left", "moving left", "going to the left"),
    "up": ("rising", "moving up"),
    "down": ("sinking", "moving down"),
    "bounce": ("bouncing", "jumping up and down"),
    "grow": ("coming closer", "growing"),
    "shrink": ("moving away", "shrinking"),
}
"""Kinds of motion and the words for them."""

MOTION_WEIGHTS = {
    "still": 0.2, "right": 0.2, "left": 0.2, "up": 0.08, "down": 0.08, "bounce": 0.1,
    "grow": 0.07, "shrink": 0.07,
}  # fmt: skip
"""Frequencies of motions, before those a recipe leaves out."""

CAMERAS: dict[str, str] = {
    "still": "",
    "left": ", the camera pans left",
    "right": ", the camera pans right",
    "in": ", the camera zooms in",
    "out": ", the camera zooms out",
}
"""Kinds of camera motion and what they add to a background's caption."""

CAPTIONED_MOTION = 0.8
"""Share of captions that name the motion, which is the model's choice in the rest. Entering and
leaving are always named."""


_CHOICES = {
    Variety.CORE: (CORE_SUBJECTS, CORE_BACKGROUNDS),
    Variety.WIDER: (WIDER_SUBJECTS, WIDER_BACKGROUNDS),
}


@dataclass(frozen=True)
class SceneRecipe:
    """A recipe of composed scenes."""

    width: Side
    height: Side
    """Pixels."""
    num_frames: Count
    foregrounds: Annotated[tuple[Count, ...], Field(min_length=1)] = (1,)
    """Numbers of foregrounds to choose from, evenly."""
    is_held_out: bool = False
    """Compose only subject-background pairs that training never shows."""
    is_unseen_photograph: bool = False
    """Use only the photographs that training never shows, with any subject."""
    variety: Variety = Variety.ALL
    """Number of subjects and backgrounds."""
    subject_height: tuple[Positive, Positive] = (0.42, 0.68)
    """Smallest and largest height of a sprite, as shares of the picture's."""
    subject_centre: tuple[Share, Share] = (0.42, 0.68)
    """Highest and lowest vertical centre of a sprite, as shares of the height from the top."""
    panorama_yaw: NotNegative = 2 * np.pi
    """Radians: how far a panorama's camera may look aside."""
    motions: tuple[str, ...] = ()
    """Keys of `MOTIONS` to choose from; empty: all."""
    subject_weights: tuple[tuple[str, float], ...] = ()
    """Captions of subjects and how often they are chosen, above 0. Those not named have 1."""
    seed: WholeNumber = 0
    effects: SceneEffects | None = None
    """Effects that make the scenes harder. None: there are none."""


def words_of(recipe: SceneRecipe) -> tuple[list[str], list[str]]:
    """List the subjects and the backgrounds of a recipe's scenes, as in captions.

    They are in the order in which scenes choose among them.
    """
    photographs = [
        caption
        for caption in PHOTOGRAPHS.values()
        if (caption in HELD_OUT_BACKGROUNDS) == recipe.is_unseen_photograph
    ]
    panoramas = [] if recipe.is_unseen_photograph else list(PANORAMAS.values())
    everything = sorted(SUBJECTS.values()), sorted([*photographs, *panoramas])
    subjects, backgrounds = _CHOICES.get(recipe.variety, everything)
    if recipe.is_unseen_photograph:
        backgrounds = everything[1]
    return list(subjects), list(backgrounds)
