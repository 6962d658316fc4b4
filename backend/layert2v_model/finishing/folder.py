"""Finishing of a folder of layers into another folder, for `layert2v-finish`.

Shape letters: T frames, H, W, C channels; float32 sRGB in [0, 1], straight unless named otherwise.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from layert2v_media.transfer import Pixels
from layert2v_model.files import media
from layert2v_model.files.durable import replacing_folder
from layert2v_model.files.form import Form
from layert2v_model.finishing.finish import Finished, finish
from layert2v_model.finishing.report import psnr
from layert2v_model.finishing.shot_folder import (
    LayerFiles,
    colour_forms,
    read_layers,
    stack_of,
)
from layert2v_model.stack import Stack

Tell = Callable[[str], None]
"""Told what is done, for people who wait."""


class CannotFinish(Exception):
    """Raised with one sentence for the user: the value, the limit, the remedy."""


def finish_folder(folder: Path, out: Path, asked: Form, tell: Tell) -> dict[str, object]:
    """Read a folder of layers, finish them and write `out`, whole or not at all.

    Args:
        folder: Folder of the layers, under their names.
        out: Folder to write, checked by `check_out`.
        asked: Relation of the colour of foreground files to their matte.
        tell: Called with a message about each step.

    Returns:
        The report, ready for JSON.

    Raises:
        CannotFinish: `out` cannot be written.
        InvalidLayers, UnreadableMedia: Layers are missing, cannot be read or do not fit.
        NotFinite: They hold NaN or infinity.
    """
    source = read_layers(folder, lambda name: tell(f"reading {name}"))
    num_frames, height, width = source.full_THWC.shape[:3]
    tell(f"finishing {num_frames} frames of {width} x {height}")
    forms, reasons = colour_forms(source, asked)
    generated = stack_of(source, forms)
    finished = finish(generated)
    report = _with_facts_of_the_files(finished, source)
    try:
        with replacing_folder(out) as draft:
            _write(finished.stack, source.names, draft, tell)
    except OSError as failure:
        raise CannotFinish(
            f"{out} cannot be written: {failure.strerror}; free space there or choose another "
            f"folder with --out"
        ) from failure
    return {
        "frames": num_frames,
        "width": width,
        "height": height,
        "foreground_form": dict(zip(source.names, forms, strict=True)),
        "foreground_form_reason": dict(zip(source.names, reasons, strict=True)),
        **report,
    }


def check_out(folder: Path, out: Path, *, overwrite: bool) -> None:
    """Refuse an OUT that would destroy something.

    Raises:
        CannotFinish: Says what stands in the way.
    """
    if not folder.is_dir():
        raise CannotFinish(f"{folder} is not a folder: name the folder that holds the layers")
    if out.exists() and not out.is_dir():
        raise CannotFinish(f"{out} is a file: name a folder with --out")
    inside, outside = folder.resolve(), out.resolve()
    if inside == outside or outside in inside.parents:
        raise CannotFinish(f"{out} holds the input: choose another folder with --out")
    held = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if held and not overwrite:
        raise CannotFinish(f"{out} is not empty: choose another folder, or add --overwrite")
    layers = ("background", "foreground", "matte")
    foreign = [name for name in held if name.split("_")[0] not in layers]
    if foreign:
        raise CannotFinish(
            f"{out} holds {foreign[0]}, which is not a layer: choose another folder, because "
            "--overwrite replaces the whole folder"
        )


def _with_facts_of_the_files(finished: Finished, source: LayerFiles) -> dict[str, object]:
    """Measure "before" on the files as they are, laid over each other with their mattes.

    That is what an editor sees who puts them on a timeline: a * foreground + (1 - a) * behind.
    """
    before = psnr(stack_of(source, [Form.STRAIGHT] * len(source.names)))
    return dict(replace(finished.report, recomposition_before=before).to_json())


def _write(stack: Stack, names: tuple[str, ...], folder: Path, tell: Tell) -> None:
    """Background and foregrounds as EXR masters, mattes as 8-bit grey PNG."""
    num_frames = stack.full_TCHW.shape[0]
    mattes = [name.replace("foreground", "matte") for name in names]
    for name in ("background", *names, *mattes):
        (folder / name).mkdir()
    for t in range(num_frames):
        number = f"{t + 1:04d}"
        tell(f"writing frame {t + 1} of {num_frames}")
        background_HWC = _frame(stack.background.rgb_TCHW, t)
        media.write_exr(folder / "background" / f"background_{number}.exr", background_HWC)
        for name, matte, layer in zip(names, mattes, stack.foregrounds, strict=True):
            alpha_HW = _frame(layer.alpha_T1HW, t)[..., 0]
            rgb_HWC = _frame(layer.rgb_TCHW, t)
            media.write_exr(folder / name / f"{name}_{number}.exr", rgb_HWC, alpha_HW)
            media.write_matte_png(folder / matte / f"{matte}_{number}.png", alpha_HW)


def _frame(pixels_TCHW: Tensor, t: int) -> Pixels:
    return np.ascontiguousarray(pixels_TCHW[t].permute(1, 2, 0).numpy())
