"""Decomposition of composites with known layers, beside baselines that know nothing.

Shape letters: T frames, C channels, H, W. Pixels are straight sRGB and alpha in [0, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from gallery_sheet import Row, rgba
from gallery_uses import Studio, Use, tensor
from layert2v_model.finish import finish
from layert2v_model.pipeline import ShotPrompts
from layert2v_model.report import psnr
from layert2v_model.stack import Layer, Role, Stack
from layert2v_training.clips import LayeredClip

_FROM, _TO = 0.04, 0.16
"""Largest difference of a channel between which background difference rises from 0 to 1.

Source: chosen here to favour the baseline on the scenes that are shown, November 2026.
"""
_COVERED = 0.5
"""Alpha from which the true plate is hidden."""
_EMPTY = 1e-6


@dataclass(frozen=True)
class Score:
    """How near a decomposition is to the true layers."""

    soft_iou: float
    """Sum of the smaller alpha over sum of the larger; 1 is exact.

    Source: Suzuki et al., "LayerD", ICCV 2025, soft IoU in the form of its code.
    """
    recomposition: float
    """PSNR in dB of the 8-bit layers, flattened, against the full video."""
    plate: float
    """PSNR in dB of the background against the true plate where the foreground hides it."""


@dataclass(frozen=True, eq=False)
class Decomposed:
    """One scene taken apart, by each method."""

    stacks: Mapping[str, Stack]
    scores: Mapping[str, Score]


def decompose(studio: Studio, clip: LayeredClip, seed: int) -> Decomposed:
    """Take a composed clip with one foreground apart by the model and by the baselines."""
    full_TCHW = tensor(clip.full_THWC)
    prompts = ShotPrompts("", clip.background_caption, (clip.foregrounds[0].caption,))
    made = studio.take(prompts, seed, given={"full": full_TCHW})
    stacks = {
        "model": made,
        "model, finished": finish(made).stack,
        "full as background, empty matte": _empty_matte(full_TCHW),
        "median plate, difference": _median_plate(full_TCHW),
    }
    truth = _true_stack(clip)
    scores = {name: _score(stack, truth) for name, stack in stacks.items()}
    return Decomposed({"truth": truth, **stacks}, scores)


def _true_stack(clip: LayeredClip) -> Stack:
    layer = clip.foregrounds[0]
    return _stack(
        tensor(clip.background_THWC),
        tensor(layer.rgb_THWC),
        tensor(layer.alpha_THW[..., None]),
        tensor(clip.full_THWC),
    )


def _empty_matte(full_TCHW: Tensor) -> Stack:
    return _stack(full_TCHW, full_TCHW, torch.zeros_like(full_TCHW[:, :1]), full_TCHW)


def _median_plate(full_TCHW: Tensor) -> Stack:
    plate_TCHW = full_TCHW.median(dim=0, keepdim=True).values.expand_as(full_TCHW).contiguous()
    difference_T1HW = (full_TCHW - plate_TCHW).abs().amax(dim=1, keepdim=True)
    alpha_T1HW = ((difference_T1HW - _FROM) / (_TO - _FROM)).clamp(0, 1)
    return _stack(plate_TCHW, full_TCHW, alpha_T1HW, full_TCHW)


def _stack(
    background_TCHW: Tensor, rgb_TCHW: Tensor, alpha_T1HW: Tensor, full_TCHW: Tensor
) -> Stack:
    plate = Layer(Role.BACKGROUND, background_TCHW, torch.ones_like(background_TCHW[:, :1]))
    return Stack((plate, Layer(Role.FOREGROUND, rgb_TCHW, alpha_T1HW)), full_TCHW)


def _score(stack: Stack, truth: Stack) -> Score:
    alpha_T1HW, true_T1HW = stack.foregrounds[0].alpha_T1HW, truth.foregrounds[0].alpha_T1HW
    smaller = torch.minimum(alpha_T1HW, true_T1HW).sum()
    larger = torch.maximum(alpha_T1HW, true_T1HW).sum().clamp_min(_EMPTY)
    hidden = (true_T1HW > _COVERED).expand_as(truth.full_TCHW)
    miss_TCHW = stack.background.rgb_TCHW - truth.background.rgb_TCHW
    squared = miss_TCHW[hidden].square().mean().clamp_min(1e-10)
    return Score(float(smaller / larger), psnr(stack), float(-10 * squared.log10()))


def decomposition_use(clips: Sequence[LayeredClip], done: Sequence[Decomposed]) -> Use:
    """Show the first three scenes and the medians of all."""
    rows: list[Row] = []
    for clip, scene in zip(clips[:3], done[:3], strict=True):
        truth, made = scene.stacks["truth"], scene.stacks["model, finished"]
        words = f"{clip.foregrounds[0].caption}, before {clip.background_caption}"
        rows += [
            (f"full (given): {words}", truth.full_TCHW),
            ("background", made.background.rgb_TCHW),
            ("foreground_1", rgba(made.foregrounds[0])),
            ("alpha_1", made.foregrounds[0].alpha_T1HW),
            ("true alpha", truth.foregrounds[0].alpha_T1HW),
        ]
    figures = {}
    for name in done[0].scores:
        scores = [scene.scores[name] for scene in done]
        figures[name] = (
            f"soft IoU {median(s.soft_iou for s in scores):.3f}, "
            f"recomposition {median(s.recomposition for s in scores):.1f} dB, "
            f"plate under the subject {median(s.plate for s in scores):.1f} dB"
        )
    return Use(
        "decompose", "A full video taken apart",
        f"The full video is given, with a caption for the background and one for the subject. "
        f"{len(done)} composed scenes whose pairs of subject and background training never shows; "
        f"medians, as made and finished, beside two baselines. The first three are shown.",
        rows, figures,
    )  # fmt: skip
