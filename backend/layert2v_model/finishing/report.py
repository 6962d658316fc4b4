"""The report of finishing: how well a stack flattens to its full video, and at what price.

Shape letters: T frames, C channels, H, W. Frames are numpy (T, C, H, W), float32,
display-referred sRGB, RGB straight; mattes are alpha (T, H, W). Every figure is finite for every
input: where it is undefined (an empty or full matte, a flat picture) it takes its clean value.
Definitions: `docs/finishing.md`.
"""

import math
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from layert2v_model.finishing.fill import Box, Floats, box_around, pixels_per_unit
from layert2v_model.finishing.frames import WHOLE, at, clear, composite, each_frame, frames_of
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
OPEN, COVERED = 0.02, 0.98
"""Coverage under which a pixel is open, and over which it is hidden. Source: docs/finishing.md."""
_FAINT = 2 / 255
"""RMS difference from the bare plate under which nothing is seen to cover it: two code values."""
_ALIKE = 1e-6
"""Share of its larger part below which the smaller part of two explanations is taken for none."""
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
    """Share of the full video's light below foregrounds that stands in the plate, as if the camera
    were at rest; 0 if unknown."""
    spill: float
    """Colour of the foregrounds outside their mattes over that inside, as generated, where they
    were stored on a fill colour; 0 where they were not. The mean over foregrounds."""
    soft_share: float
    """Share of pixels with alpha between 0.05 and 0.95, as generated."""
    empty_mattes: tuple[int, ...]
    """Foregrounds, from 1, of which no pixel reaches alpha 0.05."""
    empty_frames: tuple[int, ...]
    """The frames of each foreground in which none does."""

    def to_json(self) -> dict[str, float | int | list[int]]:
        """Return plain values for `json.dumps`, all finite."""
        values = asdict(self).items()
        return {name: list(x) if isinstance(x, tuple) else x for name, x in values}


def measure(generated: Stack, finished: Stack, num_threads: int | None = None) -> FinishReport:
    """Measure a finished stack against the one it was made from. Both hold the same full video."""
    errors_T = _squared_error(finished, num_threads)
    mattes = [frames_of(layer.alpha_T1HW)[:, 0] for layer in generated.foregrounds]
    after = [frames_of(layer.alpha_T1HW)[:, 0] for layer in finished.foregrounds]
    num_frames, plate_TCHW = len(errors_T), frames_of(finished.background.rgb_TCHW)

    def covered(t: int) -> Floats:
        return np.float32(1) - clear(at(mattes, t), mattes[0][t])

    def changed_and_soft(t: int) -> tuple[float, float]:
        pairs = zip(at(after, t), at(mattes, t), strict=True)
        changes = [np.abs(new_HW - old_HW).mean() for new_HW, old_HW in pairs]
        soft = [((a > _SOFT_FROM) & (a < _SOFT_TO)).mean() for a in at(mattes, t)]
        return float(np.mean(changes)), float(np.mean(soft))

    empty = [sum(bool(frame_HW.max() < _EMPTY) for frame_HW in matte) for matte in mattes]
    coverage_THW = np.stack(each_frame(covered, num_frames, num_threads))
    change, soft = np.mean(each_frame(changed_and_soft, num_frames, num_threads), axis=0)
    return FinishReport(
        recomposition_before=psnr(generated, num_threads),
        recomposition_after=decibel(float(errors_T.mean())),
        recomposition_worst=decibel(float(errors_T.max())),
        worst_frame=int(errors_T.argmax()),
        outline_ratio=outline_ratio(plate_TCHW, coverage_THW, num_threads),
        matte_change=float(change),
        ghost_slope=ghost_slope(plate_TCHW, frames_of(finished.full_TCHW), coverage_THW) or 0.0,
        spill=float(np.mean([layer.spill for layer in generated.foregrounds])),
        soft_share=float(soft),
        empty_mattes=tuple(k for k, count in enumerate(empty, 1) if count == num_frames),
        empty_frames=tuple(empty),
    )


def psnr(stack: Stack, num_threads: int | None = None) -> float:
    """PSNR in dB over all frames of the 8-bit stack, flattened, against its full video.

    At most `MOST_DB`.
    """
    return decibel(float(_squared_error(stack, num_threads).mean()))


def _squared_error(stack: Stack, num_threads: int | None) -> NDArray[np.float64]:
    """Mean squared error per frame, with every layer rounded to 8 bits as its PNG is."""
    full_TCHW = frames_of(stack.full_TCHW)
    colours = [frames_of(layer.rgb_TCHW) for layer in stack.layers]
    alphas = [frames_of(layer.alpha_T1HW)[:, 0] for layer in stack.foregrounds]

    def error(t: int) -> float:
        background_CHW, *foregrounds = [_coded(rgb_CHW) for rgb_CHW in at(colours, t)]
        mattes = [_coded(alpha_HW) for alpha_HW in at(alphas, t)]
        error_CHW = composite(background_CHW, foregrounds, mattes) - full_TCHW[t]
        error_CHW *= error_CHW
        return float(error_CHW.mean(dtype=np.float64))

    return np.array(each_frame(error, len(full_TCHW), num_threads))


def _coded(pixels: Floats) -> Floats:
    coded = pixels * np.float32(255)
    np.rint(coded, out=coded)
    coded *= np.float32(1 / 255)
    return coded


def decibel(squared_error: float) -> float:
    """PSNR in dB of a mean squared error of values in [0, 1]; at most `MOST_DB`."""
    least = 10 ** (-MOST_DB / 10)
    return -10 * math.log10(max(squared_error, least))


def outline_ratio(
    plate_TCHW: Floats, coverage_THW: Floats, num_threads: int | None = None
) -> float:
    """Gradient of a plate within 3 units of the 0.5 contour, over that 6 to 14 units outside.

    Units are pixels at 192 lines. 1 where there is no contour or nothing around it.
    """

    def sums(t: int) -> list[float]:
        return _contour_sums(plate_TCHW[t], coverage_THW[t] > 0.5)

    at_contour, contour, around, ring = np.sum(each_frame(sums, len(plate_TCHW), num_threads), 0)
    if contour == 0 or ring == 0:
        return 1.0
    return float((at_contour / contour + _FLAT) / (around / ring + _FLAT))


def _contour_sums(plate_CHW: Floats, inside_HW: NDArray[np.bool_]) -> list[float]:
    """Sum of the gradient and number of pixels, at the contour and in the ring around it."""
    box = box_around(inside_HW, _RING_TO + 1)
    if box is None:
        return [0.0] * 4
    unit = pixels_per_unit(len(inside_HW))
    outward_HW, inward_HW = _exact_distance(inside_HW[box]), _exact_distance(~inside_HW[box])
    # Just wide enough that rounding does not decide about whole pixels.
    contour = max(_CONTOUR_WIDTH * unit, 1) + 1e-3
    ring_from, ring_to = _RING_FROM * unit - 1e-3, _RING_TO * unit + 1e-3
    is_contour_HW = np.maximum(outward_HW, inward_HW) <= contour
    is_ring_HW = (outward_HW >= ring_from) & (outward_HW <= ring_to)
    gradient_HW = _gradient(plate_CHW.mean(axis=0), box)
    pairs = [(gradient_HW[x].sum(dtype=np.float64), x.sum()) for x in (is_contour_HW, is_ring_HW)]
    return [float(number) for pair in pairs for number in pair]


def _exact_distance(region_HW: NDArray[np.bool_]) -> Floats:
    """Distance to the region in pixels, large where it is empty."""
    outside = (~region_HW).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def _gradient(picture_HW: Floats, box: Box = WHOLE) -> Floats:
    """Absolute differences to the next pixel along x and y, added; inside the box."""
    gradient_HW = np.zeros_like(picture_HW)
    gradient_HW[:, :-1] += np.abs(np.diff(picture_HW, axis=1))
    gradient_HW[:-1] += np.abs(np.diff(picture_HW, axis=0))
    return gradient_HW[box]


def ghost_slope(plate_TCHW: Floats, full_TCHW: Floats, coverage_THW: Floats) -> float | None:
    """Share of the foregrounds' luma, against the bare plate, that stands in the plate.

    The bare plate is the median over the frames in which a pixel is uncovered (camera at rest). The
    plate is explained by the full video and by the bare plate together, both less the bare plate's
    mean. Plates shimmer, so the bare plate is known only roughly, and would otherwise look like a
    ghost of everything (`docs/log.md`, "ghosts through moving cameras"). The result is None where
    no covered pixel is ever uncovered. It is None also where covered pixels look like the bare
    plate, as under a matte that lies beside its subject.
    """
    bare_THW = coverage_THW < OPEN
    core_THW = eroded(coverage_THW > COVERED) & bare_THW.any(axis=0)
    wanted_HW = core_THW.any(axis=0)
    if not wanted_HW.any():
        return None
    plate_TN, full_TN = _luma(plate_TCHW, wanted_HW), _luma(full_TCHW, wanted_HW)
    core_TN = core_THW[:, wanted_HW]
    reference_N = np.nanmedian(np.where(bare_THW[:, wanted_HW], plate_TN, np.nan), axis=0)
    bare_K = np.broadcast_to(reference_N, core_TN.shape)[core_TN].astype(np.float64)
    plate_K, full_K = plate_TN[core_TN], full_TN[core_TN]
    if np.square(full_K - bare_K).mean() < _FAINT**2:
        return None
    mean = bare_K.mean()
    parts_K2 = np.stack([full_K - mean, bare_K - mean], axis=1)
    products_22, shared_2 = parts_K2.T @ parts_K2, parts_K2.T @ (plate_K - mean)
    return float(np.linalg.lstsq(products_22, shared_2, rcond=_ALIKE)[0][0])


def eroded(region_THW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Shrink the region of every frame by 4 units: 2 pixels at 96 lines, at least 1."""
    radius = max(1, round(4 * pixels_per_unit(region_THW.shape[1])))
    square = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return np.stack([cv2.erode(region_HW.astype(np.uint8), square) for region_HW in region_THW]) > 0


def _luma(frames_TCHW: Floats, wanted_HW: NDArray[np.bool_]) -> Floats:
    return np.stack([luma(frame_CHW[:, wanted_HW]) for frame_CHW in frames_TCHW])


def luma(pixels_C: Floats) -> Floats:
    """Rec. 601 luma of RGB whose first axis is the channel."""
    return np.tensordot(_REC601, pixels_C, axes=1)
