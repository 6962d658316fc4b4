"""Converts a shot of the service for the model: prompts, seeds and given streams.

Its format comes from `admission.format_of`, which the front door needs too.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.jobs import Artifact
from layert2v_domain.artifact import ArtifactFormat
from layert2v_domain.shot import Shot
from layert2v_media.exr import read_exr
from layert2v_model.shot import ShotPrompts


def prompts_of(shot: Shot) -> ShotPrompts:
    """Give the model its prompts. It composes an empty full prompt from the layers'."""
    background, *foregrounds = (layer.prompt for layer in shot.layers)
    return ShotPrompts(
        full=shot.prompt,
        background=background,
        foregrounds=tuple(foregrounds),
        negative=shot.negative_prompt,
    )


def seeds_of(shot: Shot) -> dict[str, int]:
    """Give each stream its seed, which comes from the shot for full and else from its layer.

    An alpha shares its foreground's seed. The model distinguishes all streams by their names.
    """
    numbers = range(1, len(shot.layers))
    foregrounds = {f"foreground_{number}": shot.seed_of(number) for number in numbers}
    return {"full": shot.seed, "background": shot.seed_of(0), **foregrounds}


def given_streams(kept: Sequence[Artifact], store: ArtifactStore) -> dict[str, Tensor] | None:
    """Read the masters of kept layers, or give None if no layer is kept.

    Here a kept layer of a finished take becomes given streams, which the model uses unchanged and
    does not generate.

    Returns:
        Per stream, `background`, `foreground_1`, `alpha_1`, ...: (T, 3 or 1, H, W), straight sRGB
        and alpha in [0, 1], whole, as float32.

    Raises:
        UnreadableMedia: A master is damaged.
    """
    masters = [artifact for artifact in kept if artifact.format is ArtifactFormat.EXR]
    masters.sort(key=lambda artifact: (artifact.layer_index, artifact.frame_index))
    frames: dict[str, list[NDArray[np.float32]]] = {}
    for artifact in masters:
        pixels_CHW = read_exr(store.path(artifact.sha256)).transpose(2, 0, 1).clip(0, 1)
        name = _stream("foreground", artifact.layer_index)
        frames.setdefault(name, []).append(pixels_CHW[:3])
        if artifact.layer_index and len(pixels_CHW) == 4:
            alpha_name = _stream("alpha", artifact.layer_index)
            frames.setdefault(alpha_name, []).append(pixels_CHW[3:])
    return {name: torch.from_numpy(np.stack(stream)) for name, stream in frames.items()} or None


def _stream(word: str, layer_index: int) -> str:
    return f"{word}_{layer_index}" if layer_index else "background"
