"""`layert2v-finish FOLDER --out OUT`: finishing for layers from anywhere.

Reads `full`, `background`, `foreground[_k]` and `matte[_k]`, each a movie or a folder of images,
and writes background and foregrounds as EXR and mattes as PNG. The report goes to stdout as JSON,
everything else to stderr. Bad input: one sentence and exit code 2, and nothing is left behind.

Shape letters: T frames, H, W, C channels; float32 sRGB in [0, 1], straight unless named otherwise.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor

from layert2v_backend import media
from layert2v_model.alpha import unpremultiply
from layert2v_model.fill import pixels_per_unit
from layert2v_model.finish import Finished, finish
from layert2v_model.report import psnr, spill
from layert2v_model.rim import colour_beyond
from layert2v_model.stack import Layer, Role, Stack

MAX_FOREGROUNDS = 6
"""As many as the model makes (`docs/design.md`, streams)."""
_BLACK = 24 / 255
"""Mean colour outside the matte that still counts as black; published samples have 6 to 11."""
_CLEARLY = 0.5
"""How much better straight colour must explain the soft edge; premultiplied samples have 0.85 to
2.9, since lossy video blurs colour and matte differently."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Form(StrEnum):
    """How the colour of foreground files relates to their matte."""

    AUTO = "auto"
    STRAIGHT = "straight"
    PREMULTIPLIED = "premultiplied"


class BadInput(Exception):
    """Raised with one sentence for the user: the value, the limit, the remedy."""


@dataclass(frozen=True, eq=False)
class _Source:
    """What a folder holds, as read."""

    names: tuple[str, ...]
    """Names of the foregrounds, back to front: `foreground`, or `foreground_1` and so on."""
    full_THWC: media.Pixels
    background_THWC: media.Pixels
    foregrounds: tuple[media.Pixels, ...]
    """(T, H, W, 3 or 4): 4 with straight colour and an alpha of its own."""
    mattes: tuple[media.Pixels, ...]
    """(T, H, W)."""


@app.command()
def main_command(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Holds full, background, foreground[_k] and matte[_k], each a movie "
            "(.mp4 .mov .mkv .webm .avi) or a folder of images (.png .exr .jpg)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write; it must be empty or not exist.")],
    foreground: Annotated[
        Form, typer.Option(help="Colour of foreground files: premultiplied on black, or straight.")
    ] = Form.AUTO,
    overwrite: Annotated[bool, typer.Option(help="Replace layers that OUT already holds.")] = False,
) -> None:
    """Make layers composite back to their full video, with straight colour and clean plates."""
    try:
        _check_out(folder, out, overwrite=overwrite)
        report = _run(folder, out, foreground)
    except (BadInput, media.UnreadableMedia) as problem:
        typer.echo(f"layert2v-finish: {problem}", err=True)
        raise typer.Exit(2) from None
    except OSError as failure:  # a folder that may not be listed, for one
        typer.echo(f"layert2v-finish: {failure.filename}: {failure.strerror}", err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(report, indent=2, allow_nan=False))


def _run(folder: Path, out: Path, asked: Form) -> dict[str, object]:
    source = _read(folder)
    num_frames, height, width = source.full_THWC.shape[:3]
    typer.echo(f"finishing {num_frames} frames of {width} x {height}", err=True)
    forms, reasons = _forms(source, asked)
    generated = _stack(source, forms)
    finished = finish(generated)
    report = _with_facts_of_the_files(finished, source, forms)
    try:
        with _published_folder(out) as draft:
            _write(finished.stack, source.names, draft)
    except OSError as failure:
        raise BadInput(
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


def _check_out(folder: Path, out: Path, *, overwrite: bool) -> None:
    """Refuse an OUT that would destroy something."""
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder: name the folder that holds the layers")
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file: name a folder with --out")
    inside, outside = folder.resolve(), out.resolve()
    if inside == outside or outside in inside.parents:
        raise BadInput(f"{out} holds the input: choose another folder with --out")
    held = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if held and not overwrite:
        raise BadInput(f"{out} is not empty: choose another folder, or add --overwrite")
    layers = ("background", "foreground", "matte")
    foreign = [name for name in held if name.split("_")[0] not in layers]
    if foreign:
        raise BadInput(
            f"{out} holds {foreign[0]}, which is no layer: --overwrite replaces the whole folder, "
            f"so choose another one"
        )


def _read(folder: Path) -> _Source:
    names = _foreground_names(folder)
    mattes = [name.replace("foreground", "matte") for name in names]
    paths = {name: _find(folder, name) for name in ("full", "background", *names, *mattes)}
    frames = {}
    for name, path in paths.items():
        typer.echo(f"reading {path.name}", err=True)
        frames[name] = media.read_matte(path) if name in mattes else media.read_frames(path)
    _check_equal({name: pixels.shape[:3] for name, pixels in frames.items()})
    return _Source(
        names=names,
        full_THWC=frames["full"][..., :3],
        background_THWC=frames["background"][..., :3],
        foregrounds=tuple(frames[name] for name in names),
        mattes=tuple(frames[matte] for matte in mattes),
    )


def _foreground_names(folder: Path) -> tuple[str, ...]:
    """Names of the foregrounds that a folder holds, or whose matte it holds, back to front."""
    held = {path.stem if path.is_file() else path.name for path in folder.iterdir()}
    numbered = [
        k for k in range(1, MAX_FOREGROUNDS + 1) if {f"foreground_{k}", f"matte_{k}"} & held
    ]
    is_single = bool({"foreground", "matte"} & held)
    if is_single and numbered:
        raise BadInput(
            f"{folder} holds both foreground and foreground_{numbered[0]}: "
            f"number all foregrounds from 1, back to front"
        )
    if not numbered and not is_single:
        raise BadInput(
            f"{folder} holds no foreground: add foreground and matte, or foreground_1 and matte_1 "
            f"up to {MAX_FOREGROUNDS}"
        )
    if f"foreground_{MAX_FOREGROUNDS + 1}" in held:
        raise BadInput(f"{folder} holds more than {MAX_FOREGROUNDS} foregrounds: take some away")
    if is_single:
        return ("foreground",)
    return tuple(f"foreground_{k}" for k in range(1, numbered[-1] + 1))


def _find(folder: Path, name: str) -> Path:
    """The one movie or folder of images that holds a layer."""
    places = [folder / name, *(folder / f"{name}{suffix}" for suffix in media.MOVIE_SUFFIXES)]
    found = [path for path in places if (path.is_dir() if path == places[0] else path.is_file())]
    if not found:
        raise BadInput(
            f"{name} is missing in {folder}: add a movie ({', '.join(media.MOVIE_SUFFIXES)}) or a "
            f"folder of images of that name"
        )
    if len(found) > 1:
        raise BadInput(f"{folder} holds {found[0].name} and {found[1].name}: keep one of them")
    return found[0]


def _check_equal(shapes: dict[str, tuple[int, ...]]) -> None:
    """All layers have the frames and the size of the full video."""
    frames, height, width = shapes["full"]
    for name, (layer_frames, layer_height, layer_width) in shapes.items():
        if (layer_height, layer_width) != (height, width):
            raise BadInput(
                f"{name} is {layer_width} x {layer_height} but full is {width} x {height}: "
                f"export all layers at one size"
            )
        if layer_frames != frames:
            raise BadInput(
                f"{name} has {layer_frames} frames but full has {frames}: export all layers with "
                f"the same number of frames"
            )


def _forms(source: _Source, asked: Form) -> tuple[list[Form], list[str]]:
    """The form of each foreground's colour, and why."""
    if asked is not Form.AUTO:
        return [asked] * len(source.names), [f"asked for by --foreground {asked}"] * len(
            source.names
        )
    pairs = zip(source.foregrounds, source.mattes, strict=True)
    decided = [_form_of(pixels_THWC, matte_THW) for pixels_THWC, matte_THW in pairs]
    return [form for form, _ in decided], [reason for _, reason in decided]


def _form_of(pixels_THWC: media.Pixels, matte_THW: media.Pixels) -> tuple[Form, str]:
    """Decide by the fill around the matte, then by what the soft edge looks like."""
    if pixels_THWC.shape[3] == 4:
        return Form.STRAIGHT, "its files have an alpha of their own"
    outside_THW = matte_THW < 0.02
    fill = float(pixels_THWC[outside_THW].mean()) if outside_THW.any() else 0.0
    if fill > _BLACK:
        return Form.STRAIGHT, f"colour outside the matte is {fill * 255:.0f}/255, not black"
    errors = np.zeros(2)
    for pixels_HWC, alpha_HW in zip(pixels_THWC, matte_THW, strict=True):
        soft_HW = (alpha_HW > 0.05) & (alpha_HW < 0.95)
        pixels_CHW, unit = _planar(pixels_HWC), pixels_per_unit(len(alpha_HW))
        beyond_CN = colour_beyond(pixels_CHW, alpha_HW, unit)[:, soft_HW]
        stored_CN, scaled_CN = pixels_CHW[:, soft_HW], beyond_CN * alpha_HW[soft_HW]
        errors += [np.square(stored_CN - guess_CN).sum() for guess_CN in (beyond_CN, scaled_CN)]
    if errors[0] < _CLEARLY * errors[1]:
        return Form.STRAIGHT, "colour does not fade to black along the soft edge"
    return Form.PREMULTIPLIED, f"colour fades to black ({fill * 255:.0f}/255) outside the matte"


def _stack(source: _Source, forms: list[Form]) -> Stack:
    """The layers as the model would have given them: straight colour."""
    layers = []
    pairs = zip(source.foregrounds, source.mattes, forms, strict=True)
    for pixels_THWC, matte_THW, form in pairs:
        rgb_TCHW, alpha_T1HW = _tensor(pixels_THWC[..., :3]), _tensor(matte_THW[..., None])
        if form is Form.PREMULTIPLIED:
            rgb_TCHW = unpremultiply(rgb_TCHW, alpha_T1HW).clamp(0, 1)
        layers.append(Layer(Role.FOREGROUND, rgb_TCHW, alpha_T1HW))
    background_TCHW = _tensor(source.background_THWC)
    opaque_T1HW = torch.ones_like(background_TCHW[:, :1])
    background = Layer(Role.BACKGROUND, background_TCHW, opaque_T1HW)
    return Stack((background, *layers), _tensor(source.full_THWC))


def _tensor(pixels_THWC: media.Pixels) -> Tensor:
    return torch.from_numpy(_planar(pixels_THWC))


def _planar(pixels: media.Pixels) -> media.Pixels:
    """(T, H, W, C) to (T, C, H, W), and (H, W, C) to (C, H, W)."""
    return np.ascontiguousarray(np.moveaxis(pixels, -1, -3))


def _with_facts_of_the_files(
    finished: Finished, source: _Source, forms: list[Form]
) -> dict[str, object]:
    """Measure "before" and spill on the files as they are, laid over each other with their mattes.

    That is what an editor sees who puts them on a timeline: a * foreground + (1 - a) * behind.
    """
    before = psnr(_stack(source, [Form.STRAIGHT] * len(forms)))
    stored = [
        (_planar(pixels_THWC[..., :3]), matte_THW)
        for pixels_THWC, matte_THW, form in zip(
            source.foregrounds, source.mattes, forms, strict=True
        )
        if form is Form.PREMULTIPLIED
    ]
    colours, alphas = [pixels for pixels, _ in stored], [matte for _, matte in stored]
    report = replace(finished.report, recomposition_before=before, spill=spill(colours, alphas))
    return dict(report.to_json())


@contextmanager
def _published_folder(out: Path) -> Iterator[Path]:
    """Give a hidden folder beside `out` to write in; it becomes `out` on success, else goes."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}.draft")
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    try:
        draft.mkdir()
        yield draft
        if out.exists():
            out.rename(old)
        draft.rename(out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)


def _write(stack: Stack, names: tuple[str, ...], folder: Path) -> None:
    """Background and foregrounds as EXR masters, mattes as 8-bit grey PNG."""
    num_frames = stack.full_TCHW.shape[0]
    mattes = [name.replace("foreground", "matte") for name in names]
    for name in ("background", *names, *mattes):
        (folder / name).mkdir()
    for t in range(num_frames):
        number = f"{t + 1:04d}"
        typer.echo(f"writing frame {t + 1} of {num_frames}", err=True)
        background_HWC = _frame(stack.background.rgb_TCHW, t)
        media.write_exr(folder / "background" / f"background_{number}.exr", background_HWC)
        for name, matte, layer in zip(names, mattes, stack.foregrounds, strict=True):
            alpha_HW = _frame(layer.alpha_T1HW, t)[..., 0]
            rgb_HWC = _frame(layer.rgb_TCHW, t)
            media.write_exr(folder / name / f"{name}_{number}.exr", rgb_HWC, alpha_HW)
            media.write_matte_png(folder / matte / f"{matte}_{number}.png", alpha_HW)


def _frame(pixels_TCHW: Tensor, t: int) -> media.Pixels:
    return np.ascontiguousarray(pixels_TCHW[t].permute(1, 2, 0).numpy())


def _leave(signal_number: int, _: FrameType | None) -> None:
    """Unwind on a polite kill, so that the half-written folder is removed."""
    raise SystemExit(128 + signal_number)


def main() -> None:
    """Run the command line."""
    signal.signal(signal.SIGTERM, _leave)
    app()
