"""What finishing reports: how well a stack flattens to its full video, and at what price.

Shape letters: T frames, C channels, H, W. Frames are numpy (T, H, W, C), float32,
display-referred sRGB, RGB straight; mattes are alpha (T, H, W). Every figure is finite for every
input: where it is undefined (an empty or full matte, a flat picture) it takes its clean value.
Definitions: `docs/finishing.md`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from layert2v_model.alpha import flatten
from layert2v_model.fill import Floats, distance_to, pixels_per_unit, summed
from layert2v_model.stack import Stack

MOST_DB = 100.0
"""Recomposition of an exact match: keeps the figure finite."""
_CONTOUR_WIDTH = 3.0
_RING_FROM, _RING_TO = 6.0, 14.0
_FLAT = 1e-4
"""Added to both mean gradients, 1/40 of a code value: a flat plate in a flat picture gives 1."""
_REC601 = np.array([0.299, 0.587, 0.114], np.float32)
"""Luma. Source: ITU-R BT.601-7, 2.5.1."""
_EMPTY = 0.05
_SOFT_FROM, _SOFT_TO = 0.05, 0.95


@dataclass(frozen=True)
class FinishReport:
    """Figures of one finishing; same names as the wire's `FinishingReport`."""

    recomposition_before: float
    """PSNR in dB of the stack as generated, flattened, against the full video; 8-bit layers."""
    recomposition_after: float
    """The same of the finished stack: what one gets from the files."""
    recomposition_worst: float
    """The worst frame of the finished stack, in dB."""
    worst_frame: int
    """Frame of `recomposition_worst`, from 0."""
    outline_ratio: float
    """Gradient of the finished plate at the mattes' contours over that around; 1 if undefined."""
    matte_change: float
    """Mean absolute change of alpha over all foregrounds."""
    ghost_slope: float
    """Share of the full video's light below foregrounds that stands in the plate; 0 if unknown."""
    spill: float
    """Colour of the foregrounds outside their mattes over that inside, as generated, where they
    were stored on a fill colour; 0 where they were not."""
    soft_share: float
    """Share of pixels with alpha between 0.05 and 0.95, as generated."""
    empty_mattes: tuple[int, ...]
    """Foregrounds, from 1, of which no pixel reaches alpha 0.05."""

    def to_json(self) -> dict[str, float | int | list[int]]:
        """Return plain values for `json.dumps`, all finite."""
        return {**asdict(self), "empty_mattes": list(self.empty_mattes)}


def measure(generated: Stack, finished: Stack) -> FinishReport:
    """Measure a finished stack against the one it was made from; both hold the same full video."""
    errors_T = _squared_error(finished)
    mattes = [_frames(layer.alpha_T1HW)[..., 0] for layer in generated.foregrounds]
    after = [_frames(layer.alpha_T1HW)[..., 0] for layer in finished.foregrounds]
    coverage_THW = np.float32(1) - np.prod([1 - matte_THW for matte_THW in mattes], axis=0)
    plate_THWC = _frames(finished.background.rgb_TCHW)
    soft = [(matte > _SOFT_FROM) & (matte < _SOFT_TO) for matte in mattes]
    changes = [np.abs(new - old).mean() for new, old in zip(after, mattes, strict=True)]
    return FinishReport(
        recomposition_before=psnr(generated),
        recomposition_after=_decibel(float(errors_T.mean())),
        recomposition_worst=_decibel(float(errors_T.max())),
        worst_frame=int(errors_T.argmax()),
        outline_ratio=outline_ratio(plate_THWC, coverage_THW),
        matte_change=float(np.mean(changes)),
        ghost_slope=ghost_slope(plate_THWC, _frames(finished.full_TCHW), coverage_THW),
        spill=0.0,
        soft_share=float(np.mean(soft)),
        empty_mattes=tuple(k for k, matte in enumerate(mattes, 1) if matte.max() < _EMPTY),
    )


def _frames(pixels_TCHW: Tensor) -> Floats:
    return np.ascontiguousarray(pixels_TCHW.detach().float().cpu().permute(0, 2, 3, 1).numpy())


def psnr(stack: Stack) -> float:
    """PSNR in dB over all frames of the 8-bit stack, flattened, against its full video.

    At most `MOST_DB`.
    """
    return _decibel(float(_squared_error(stack).mean()))


def _squared_error(stack: Stack) -> NDArray[np.float64]:
    """Mean squared error per frame, with every layer rounded to 8 bits as its PNG is."""
    errors = []
    for t in range(len(stack.full_TCHW)):  # a frame at a time, or memory traffic is most of it
        pairs = [(_coded(x.rgb_TCHW[t]), _coded(x.alpha_T1HW[t])) for x in stack.foregrounds]
        composite_CHW = flatten(_coded(stack.background.rgb_TCHW[t]), pairs)
        errors.append((composite_CHW - stack.full_TCHW[t].float()).square_().mean().item())
    return np.array(errors, np.float64)


def _coded(pixels: Tensor) -> Tensor:
    return (pixels.float() * 255).round_().clamp_(0, 255).div_(255)


def _decibel(squared_error: float) -> float:
    least = 10 ** (-MOST_DB / 10)
    return -10 * math.log10(max(squared_error, least))


def outline_ratio(plate_THWC: Floats, coverage_THW: Floats) -> float:
    """Gradient of a plate within 3 units of the 0.5 contour, over that 6 to 14 units outside.

    Units are pixels at 192 lines. 1 where there is no contour or nothing around it.
    """
    sums = np.zeros(4)
    for plate_HWC, coverage_HW in zip(plate_THWC, coverage_THW, strict=True):
        inside_HW = coverage_HW > 0.5
        outward_HW, inward_HW = distance_to(inside_HW), distance_to(~inside_HW)
        contour_HW = np.maximum(outward_HW, inward_HW) <= max(
            _CONTOUR_WIDTH, 1 / pixels_per_unit(inside_HW.shape[0])
        )
        ring_HW = (outward_HW >= _RING_FROM) & (outward_HW <= _RING_TO)
        gradient_HW = _gradient(summed(plate_HWC) / 3)
        for index, region_HW in ((0, contour_HW), (2, ring_HW)):
            sums[index] += gradient_HW[region_HW].sum()
            sums[index + 1] += region_HW.sum()
    if sums[1] == 0 or sums[3] == 0:
        return 1.0
    return float((sums[0] / sums[1] + _FLAT) / (sums[2] / sums[3] + _FLAT))


def _gradient(picture_HW: Floats) -> Floats:
    """Absolute differences to the next pixel along x and y, added."""
    gradient_HW = np.zeros_like(picture_HW)
    gradient_HW[:, :-1] += np.abs(np.diff(picture_HW, axis=1))
    gradient_HW[:-1] += np.abs(np.diff(picture_HW, axis=0))
    return gradient_HW


def ghost_slope(plate_THWC: Floats, full_THWC: Floats, coverage_THW: Floats) -> float:
    """Share of the foregrounds' luma, against the bare plate, that stands in the plate.

    The bare plate is the median over the frames in which a pixel is uncovered (camera at rest).
    0 where no covered pixel is ever uncovered.
    """
    plate_THW, full_THW = plate_THWC @ _REC601, full_THWC @ _REC601
    radius = max(1, round(4 * pixels_per_unit(full_THW.shape[1])))
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    core_THW = np.stack([cv2.erode(np.uint8(u_HW > 0.98), square) for u_HW in coverage_THW]) > 0
    bare_THW = coverage_THW < 0.02
    core_THW &= bare_THW.any(axis=0)
    if not core_THW.any():
        return 0.0
    wanted_HW = core_THW.any(axis=0)
    bare_TN = np.where(bare_THW[:, wanted_HW], plate_THW[:, wanted_HW], np.nan)
    reference_HW = np.zeros_like(plate_THW[0])
    reference_HW[wanted_HW] = np.nanmedian(bare_TN, axis=0)
    light_THW = (full_THW - reference_HW) * core_THW
    left_THW = (plate_THW - reference_HW) * core_THW
    return float((left_THW * light_THW).sum() / max(float((light_THW**2).sum()), 1e-6))


def spill(colours: Sequence[Floats], alphas: Sequence[Floats]) -> float:
    """Colour outside the mattes over that inside, for foregrounds stored on black; 0 if all black.

    Args:
        colours: (T, H, W, 3) per foreground, as stored.
        alphas: (T, H, W) per foreground.
    """
    outside = sum(
        float(((1 - a)[..., None] * c).sum()) for c, a in zip(colours, alphas, strict=True)
    )
    inside = sum(float((a[..., None] * c).sum()) for c, a in zip(colours, alphas, strict=True))
    return outside / inside if inside > 0 else 0.0
