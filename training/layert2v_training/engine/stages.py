"""The stages that a recipe chooses between, and how the chosen one is loaded."""

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from layert2v_training.clips import Pixels
from layert2v_training.engine.recipe import Captioner, EngineRecipe, Matter, Plates
from layert2v_training.engine.redundancy import Telling
from layert2v_training.engine.shots import Codes
from layert2v_training.engine.subjects import Box

_INSTALL = {
    "torchvision": "pip install torchvision",
    "matanyone": "pip install git+https://github.com/pq-yang/MatAnyone (non-commercial)",
}
"""How a package is brought."""


class StageUnavailable(RuntimeError):
    """Raised when a stage's package or weights are not there; says what to give."""


class SubjectMatter(Protocol):
    """Cuts a subject out of a shot."""

    def mattes(self, frames_THWC: Codes, boxes: list[Box | None]) -> Pixels:
        """Give alpha (T, H, W) in [0, 1] of the subject in a box per frame; 0 without a box."""


class PlatePainter(Protocol):
    """Removes subjects from a clip."""

    def plates(self, frames_THWC: Codes, covered_THW: NDArray[np.bool_], words: str) -> Codes:
        """Paint what is covered: a plate per frame (T, H, W, 3) that shows `words`."""


class ClipCaptioner(Protocol):
    """Writes what a picture shows."""

    def background(self, plate_HWC: Codes) -> str:
        """Caption a clean plate."""

    def subject(self, frames_THWC: Codes, boxes: list[Box | None]) -> str:
        """Caption what is in the boxes, and how it moves."""

    def telling(self, captions: Sequence[str]) -> Telling:
        """Give what of a clip's captions tells it from others."""


def load_matter(recipe: EngineRecipe) -> SubjectMatter:
    """Load what cuts subjects out.

    Raises:
        AssetsUnavailable: The small model cannot be fetched.
        StageUnavailable: The large one's weights are missing.
    """
    if recipe.mattes in (Matter.SAM2, Matter.SAM3):
        weights = weights_of(recipe, recipe.mattes.value)
        from layert2v_training.engine.sam import SamMatter

        return SamMatter(weights, recipe.mattes.value)
    from layert2v_training.engine.crops import CropMatter
    from layert2v_training.engine.onnx_mattes import OnnxMatter

    models = recipe.cache / "models"
    if recipe.mattes is Matter.MATANYONE:
        weights = weights_of(recipe, "matanyone", ("matanyone", "torchvision"))
        from layert2v_training.engine.matanyone import MatAnyoneMatter

        return MatAnyoneMatter(weights, CropMatter(OnnxMatter(Matter.U2NETP.value, models)))
    return CropMatter(OnnxMatter(recipe.mattes.value, models))


@lru_cache(maxsize=1)
def load_painter(recipe: EngineRecipe) -> PlatePainter | None:
    """Load what removes subjects, once in a process; None: the median over time is enough.

    Raises:
        StageUnavailable: The weights are missing.
    """
    if recipe.plates is Plates.MEDIAN:
        return None
    weights = weights_of(recipe, recipe.plates.value, ())
    from layert2v_training.engine.wan_vace import WanVacePlates

    return WanVacePlates(weights)


def load_captioner(recipe: EngineRecipe, video: Path) -> ClipCaptioner:
    """Load what writes captions for a video.

    Raises:
        StageUnavailable: The weights are missing.
    """
    if recipe.captions is Captioner.QWEN_VL:
        from layert2v_training.engine.qwen_vl import QwenVlCaptioner

        return QwenVlCaptioner(weights_of(recipe, "qwen-vl"))
    from layert2v_training.engine.templates import TemplateCaptioner

    return TemplateCaptioner(video)


def weights_of(
    recipe: EngineRecipe, stage: str, packages: tuple[str, ...] = ("torchvision",)
) -> Path:
    """Give the folder of an adapter's weights.

    Raises:
        StageUnavailable: None is named, there is none, or one of `packages` is missing.
    """
    folder = dict(recipe.weights).get(stage)
    described = [Path(folder or "") / name for name in ("config.json", "model_index.json")]
    if folder is None or not any(path.is_file() for path in described):
        raise StageUnavailable(
            f"{stage} needs its weights, {folder or 'no folder'} holds none: "
            f"give --weights {stage}=FOLDER with a model as its hub has it"
        )
    for package in packages:
        if find_spec(package) is None:
            raise StageUnavailable(f"{stage} needs the package {package}: {_INSTALL[package]}")
    return Path(folder)
