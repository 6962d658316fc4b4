"""Layers in a folder, from any generator: `full`, `background`, `foreground[_k]`, `matte[_k]`.

Each is a movie or a folder of images. `layert2v-finish` and `layert2v-evaluate` read this form.

Shape letters: T frames, H, W, C channels; float32 sRGB in [0, 1], straight unless named otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from layert2v_media.footage import AlphaForm, Footage, FootageFacts, probe, read, read_matte, stream
from layert2v_media.kinds import (
    IMAGE_SUFFIXES,
    MOVIE_SUFFIXES,
    find_layer,
    layer_names,
    said_of_others,
)
from layert2v_media.limits import check_held
from layert2v_media.transfer import Pixels
from layert2v_model.alpha import light_of, unpremultiply
from layert2v_model.errors import InvalidLayers
from layert2v_model.files.form import Form
from layert2v_model.finishing.edge import colour_beyond
from layert2v_model.finishing.fill import pixels_per_unit
from layert2v_model.stack import Layer, Role, Stack

MAX_FOREGROUNDS = 6
"""Most foregrounds of a folder, as many as the model makes (`docs/design_model.md`, streams)."""
_BLACK = 24 / 255
"""Mean colour outside the matte that still counts as black. Published samples have 6 to 11."""
_CLEARLY = 0.5
"""How much better straight colour must explain the soft edge. Premultiplied samples have 0.85 to
2.9, since lossy video blurs colour and matte differently."""


@dataclass(frozen=True, eq=False)
class LayerFiles:
    """The layers of a folder, as read."""

    names: tuple[str, ...]
    """Names of the foregrounds, back to front: `foreground`, or `foreground_1` and so on."""
    full_THWC: Pixels
    background_THWC: Pixels
    foregrounds: tuple[Pixels, ...]
    """(T, H, W, 3 or 4): 4 with straight colour and an alpha of its own."""
    mattes: tuple[Pixels, ...]
    """(T, H, W)."""
    alpha_forms: tuple[AlphaForm, ...] = ()
    """Whether each foreground's own files say how its colour relates to its alpha."""


def layer_paths(folder: Path) -> tuple[tuple[str, ...], dict[str, Path]]:
    """Name the foregrounds of a folder, and find the movie or the images of every layer.

    A matte may be missing: it is then the alpha of its foreground.

    Raises:
        InvalidLayers: Another layer is missing, or a matte whose foreground has no alpha.
        UnreadableMedia: One is there twice, or the first frame of a foreground cannot be read.
    """
    names = _foreground_names(folder)
    paths = {name: _find(folder, name) for name in ("full", "background", *names)}
    for name in names:
        matte = find_layer(folder, _matte_of(name))
        if matte is not None:
            paths[_matte_of(name)] = matte
        elif next(stream(Footage(paths[name]), [0])).shape[-1] < 4:
            missing = _missing(folder, _matte_of(name))
            raise InvalidLayers(f"{missing}, since {name} has no alpha of its own")
    return names, paths


def _matte_of(foreground: str) -> str:
    return foreground.replace("foreground", "matte")


def read_layers(folder: Path, on_read: Callable[[str], None] = lambda _: None) -> LayerFiles:
    """Read all layers of a folder.

    Args:
        folder: Folder of the layers, under their names.
        on_read: Called with the name of each file or folder before it is read.

    Raises:
        InvalidLayers: One is missing, or they differ in size or number of frames.
        UnreadableMedia: One cannot be read, or is there twice.
    """
    names, paths = layer_paths(folder)
    facts = {name: probe(Footage(path)) for name, path in paths.items()}
    _check_equal(facts)
    full = facts["full"]
    check_held(folder, full.num_frames, full.width, full.height)
    mattes = [_matte_of(name) for name in names]
    frames = {}
    for name, path in paths.items():
        on_read(path.name)
        frames[name] = read_matte(Footage(path)) if name in mattes else read(Footage(path))
    for name in names:
        if _matte_of(name) not in frames:
            frames[_matte_of(name)] = _own_alpha(folder, name, frames[name])
    return LayerFiles(
        names=names,
        full_THWC=frames["full"][..., :3],
        background_THWC=frames["background"][..., :3],
        foregrounds=tuple(frames[name] for name in names),
        mattes=tuple(frames[matte] for matte in mattes),
        alpha_forms=tuple(facts[name].alpha_form for name in names),
    )


def _own_alpha(folder: Path, name: str, pixels_THWC: Pixels) -> Pixels:
    """Take the matte of a foreground from its alpha.

    Raises:
        InvalidLayers: It is opaque in every frame.
    """
    if pixels_THWC[..., 3].min() < 1:
        return pixels_THWC[..., 3]
    missing = _missing(folder, _matte_of(name))
    raise InvalidLayers(f"{missing}, since {name} is opaque in every frame")


def _foreground_names(folder: Path) -> tuple[str, ...]:
    """Names of the foregrounds that a folder holds, or whose matte it holds, back to front."""
    held = layer_names(folder)
    numbered = [
        k for k in range(1, MAX_FOREGROUNDS + 1) if {f"foreground_{k}", f"matte_{k}"} & held
    ]
    is_single = bool({"foreground", "matte"} & held)
    if is_single and numbered:
        raise InvalidLayers(
            f"{folder} holds both foreground and foreground_{numbered[0]}: "
            f"number all foregrounds from 1, back to front"
        )
    if not numbered and not is_single:
        raise InvalidLayers(
            f"{folder} holds no foreground: add foreground and matte, or foreground_1 and matte_1 "
            f"up to {MAX_FOREGROUNDS}"
        )
    if f"foreground_{MAX_FOREGROUNDS + 1}" in held:
        raise InvalidLayers(f"{folder} holds more than {MAX_FOREGROUNDS} foregrounds: remove some")
    if is_single:
        return ("foreground",)
    return tuple(f"foreground_{k}" for k in range(1, numbered[-1] + 1))


def _find(folder: Path, name: str) -> Path:
    """Find the one movie or folder that holds a layer."""
    found = find_layer(folder, name)
    if found is None:
        raise InvalidLayers(_missing(folder, name))
    return found


def _missing(folder: Path, name: str) -> str:
    kinds = f"a movie ({', '.join(MOVIE_SUFFIXES)}) or a folder of images"
    images = ", ".join(IMAGE_SUFFIXES)
    others = said_of_others(folder, name)
    return f"{name} is missing in {folder}: add {kinds} ({images}) of that name{others}"


def _check_equal(facts: dict[str, FootageFacts]) -> None:
    """All layers have the frames and the size of the full video."""
    full = facts["full"]
    for name, layer in facts.items():
        if (layer.height, layer.width) != (full.height, full.width):
            raise InvalidLayers(
                f"{name} is {layer.width} x {layer.height} but full is {full.width} x "
                f"{full.height}: export all layers at one size"
            )
        if layer.num_frames != full.num_frames:
            raise InvalidLayers(
                f"{name} has {layer.num_frames} frames but full has {full.num_frames}: export all "
                f"layers with the same number of frames"
            )


def colour_forms(source: LayerFiles, asked: Form = Form.AUTO) -> tuple[list[Form], list[str]]:
    """Tell the form of each foreground's colour, and why."""
    alpha_forms = source.alpha_forms or (AlphaForm.UNSAID,) * len(source.names)
    triples = zip(source.foregrounds, source.mattes, alpha_forms, strict=True)
    decided = [_decided(*triple, asked) for triple in triples]
    return [form for form, _ in decided], [reason for _, reason in decided]


def _decided(
    pixels_THWC: Pixels, matte_THW: Pixels, said: AlphaForm, asked: Form
) -> tuple[Form, str]:
    """Believe files that say their form, which are straight as read; then what is asked for."""
    has_alpha = pixels_THWC.shape[3] == 4
    if has_alpha and said is AlphaForm.SAID:
        return Form.STRAIGHT, "its files have an alpha of their own"
    if asked is not Form.AUTO:
        return asked, f"asked for by --foreground {asked}"
    if has_alpha and said is AlphaForm.USUAL:
        return Form.STRAIGHT, "its files have an alpha of their own"
    return _form_of(pixels_THWC, matte_THW)


def _form_of(pixels_THWC: Pixels, matte_THW: Pixels) -> tuple[Form, str]:
    """Decide by the fill around the matte, then by what the soft edge looks like."""
    outside_THW = matte_THW < 0.02
    fill = float(pixels_THWC[outside_THW, :3].mean()) if outside_THW.any() else 0.0
    if fill > _BLACK:
        return Form.STRAIGHT, f"colour outside the matte is {fill * 255:.0f}/255, not black"
    errors = np.zeros(2)
    for pixels_HWC, alpha_HW in zip(pixels_THWC, matte_THW, strict=True):
        soft_HW = (alpha_HW > 0.05) & (alpha_HW < 0.95)
        pixels_CHW, unit = _planar(pixels_HWC[..., :3]), pixels_per_unit(len(alpha_HW))
        beyond_CN = colour_beyond(pixels_CHW, alpha_HW, unit)[:, soft_HW]
        stored_CN, scaled_CN = pixels_CHW[:, soft_HW], beyond_CN * alpha_HW[soft_HW]
        errors += [np.square(stored_CN - guess_CN).sum() for guess_CN in (beyond_CN, scaled_CN)]
    if errors[0] < _CLEARLY * errors[1]:
        return Form.STRAIGHT, "colour does not fade to black along the soft edge"
    return Form.PREMULTIPLIED, f"colour fades to black ({fill * 255:.0f}/255) outside the matte"


def stack_of(source: LayerFiles, forms: list[Form]) -> Stack:
    """Give the layers as the model would have given them: straight colour."""
    layers = []
    pairs = zip(source.foregrounds, source.mattes, forms, strict=True)
    for pixels_THWC, matte_THW, form in pairs:
        rgb_TCHW, alpha_T1HW = _tensor(pixels_THWC[..., :3]), _tensor(matte_THW[..., None])
        light_T2 = None
        if form is Form.PREMULTIPLIED:
            light_T2 = light_of(rgb_TCHW, alpha_T1HW)
            rgb_TCHW = unpremultiply(rgb_TCHW, alpha_T1HW).clamp(0, 1)
        layers.append(Layer(Role.FOREGROUND, rgb_TCHW, alpha_T1HW, light_T2))
    background_TCHW = _tensor(source.background_THWC)
    opaque_T1HW = torch.ones_like(background_TCHW[:, :1])
    background = Layer(Role.BACKGROUND, background_TCHW, opaque_T1HW)
    return Stack((background, *layers), _tensor(source.full_THWC))


def _tensor(pixels_THWC: Pixels) -> Tensor:
    return torch.from_numpy(_planar(pixels_THWC))


def _planar(pixels: Pixels) -> Pixels:
    """(T, H, W, C) to (T, C, H, W), and (H, W, C) to (C, H, W)."""
    return np.ascontiguousarray(np.moveaxis(pixels, -1, -3))
