"""The tools that a recipe chooses among, and the loading of the chosen ones."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from layert2v_training.engine.protocols import (
    ClipCaptioner,
    PlatePainter,
    SubjectMatter,
    ToolUnavailable,
)
from layert2v_training.engine.recipe import (
    ADAPTERS,
    BOX_PROMPTED,
    Captioner,
    EngineRecipe,
    Matter,
    Plates,
)

_INSTALL = {
    "torchvision": "pip install torchvision",
    "matanyone": "pip install git+https://github.com/pq-yang/MatAnyone (non-commercial)",
}
"""Commands that install a package."""
_PACKAGES = {
    "sam2": ("torchvision",),
    "sam3": ("torchvision",),
    "matanyone": ("matanyone", "torchvision"),
    "wan-vace": (),
    "qwen-vl": ("torchvision",),
}
"""Packages that an adapter needs beyond this project's own."""
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")


def check_tools(recipe: EngineRecipe) -> None:
    """Make sure that every chosen tool can be loaded, and load none: workers do.

    The small models are fetched here, in one process.

    Raises:
        AssetsUnavailable: A small model cannot be fetched.
        ToolUnavailable: An adapter's weights or package is missing.
    """
    for tool in (recipe.mattes.value, recipe.plates.value, recipe.captions.value):
        if tool in ADAPTERS:
            weights_of(recipe, tool)
    if recipe.mattes not in BOX_PROMPTED:
        from layert2v_training.engine.onnx_mattes import fetch_matte_model

        fetch_matte_model(_small_model(recipe), recipe.cache / "models")


@lru_cache(maxsize=1)
def load_matter(recipe: EngineRecipe) -> SubjectMatter:
    """Load what cuts subjects out, once in a process.

    Raises:
        AssetsUnavailable: The small model cannot be fetched.
        ToolUnavailable: The large one's weights are missing.
    """
    if recipe.mattes in BOX_PROMPTED:
        from layert2v_training.engine.sam import SamMatter

        return SamMatter(weights_of(recipe, recipe.mattes.value), recipe.mattes.value)
    from layert2v_training.engine.crops import CropMatter
    from layert2v_training.engine.onnx_mattes import OnnxMatter

    models = recipe.cache / "models"
    if recipe.mattes is not Matter.MATANYONE:
        return CropMatter(OnnxMatter(_small_model(recipe), models))
    weights = weights_of(recipe, recipe.mattes.value)
    from layert2v_training.engine.matanyone import MatAnyoneMatter

    return MatAnyoneMatter(weights, CropMatter(OnnxMatter(_small_model(recipe), models)))


def _small_model(recipe: EngineRecipe) -> str:
    """Name the small network: MatAnyone starts from the default's matte."""
    chosen = Matter.U2NETP if recipe.mattes is Matter.MATANYONE else recipe.mattes
    return chosen.value


@lru_cache(maxsize=1)
def load_painter(recipe: EngineRecipe) -> PlatePainter | None:
    """Load what removes subjects, once in a process; None: the median over time is enough.

    Raises:
        ToolUnavailable: The weights are missing.
    """
    if recipe.plates is Plates.MEDIAN:
        return None
    weights = weights_of(recipe, recipe.plates.value)
    from layert2v_training.engine.wan_vace import WanVacePlates

    return WanVacePlates(weights)


def load_captioner(recipe: EngineRecipe, video: Path) -> ClipCaptioner:
    """Give what writes captions for a video. A model is loaded once in a process.

    Raises:
        ToolUnavailable: The weights are missing.
    """
    if recipe.captions is Captioner.QWEN_VL:
        return _load_caption_model(recipe)
    from layert2v_training.engine.templates import TemplateCaptioner

    return TemplateCaptioner(video)


@lru_cache(maxsize=1)
def _load_caption_model(recipe: EngineRecipe) -> ClipCaptioner:
    weights = weights_of(recipe, recipe.captions.value)
    from layert2v_training.engine.qwen_vl import QwenVlCaptioner

    return QwenVlCaptioner(weights)


def weights_of(recipe: EngineRecipe, tool: str) -> Path:
    """Give the folder of an adapter's weights.

    Raises:
        ToolUnavailable: None is named, it holds none, or a package of the tool is missing.
    """
    folder = dict(recipe.weights).get(tool)
    described = [Path(folder or "") / name for name in ("config.json", "model_index.json")]
    if folder is None or not any(path.is_file() for path in described):
        raise _without_weights(tool, folder)
    for package in _PACKAGES[tool]:
        if find_spec(package) is None:
            raise ToolUnavailable(f"{tool} needs the package {package}: {_INSTALL[package]}")
    if not any(path.suffix in _WEIGHT_SUFFIXES for path in Path(folder).rglob("*")):
        raise _without_weights(tool, folder)
    return Path(folder)


def _without_weights(tool: str, folder: str | None) -> ToolUnavailable:
    return ToolUnavailable(
        f"{tool} needs its weights, {folder or 'no folder'} holds none: "
        f"give --weights {tool}=FOLDER with a model as its hub has it"
    )
