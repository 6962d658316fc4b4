"""All figures of one take, by name. Undefined ones are left out.

Shape letters: T frames, C channels, H, W.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from layert2v_model.finishing.fill import Floats
from layert2v_model.finishing.finish import finish
from layert2v_model.finishing.report import FinishReport, decibel
from layert2v_model.stack import Stack
from layert2v_model.vae.not_finite import check_stack
from layert2v_training.evaluation.metrics import leaks, mattes, steadiness
from layert2v_training.evaluation.metrics.camera import Steadied, find_cameras, steadied
from layert2v_training.evaluation.metrics.catalogue import METRICS
from layert2v_training.evaluation.metrics.recomposition import (
    effects_residual,
    order_margin,
    psnr_in,
    similarity,
)
from layert2v_training.evaluation.metrics.take_planes import Planes

DIFFERENCE = 12 / 255
"""Mean difference of full video and background, over channels, that counts as covered."""
_EMPTY = 0.5
"""Alpha that a matte must reach somewhere. Source: the figures of the first weights of tiny."""

Values = dict[str, float]
FoundFigures = Mapping[str, float | None]


def measure_take(take: Stack, truth: Stack | None = None) -> Values:
    """Measure a take as it is, finished, and against the truth where there is one.

    Args:
        take: Layers as made. Where mattes are soft, metrics see them so. Recomposition before and
            after is that of 8-bit files.
        truth: Layers of the same number and order. Without it `soft_iou` is the mattes' union
            against where full video and background differ, which is noisy: the streams of a model
            differ a little everywhere.

    Raises:
        NotFinite: The take, or the truth, holds NaN or infinity, so that no figure means anything.
    """
    if truth is not None:
        check_stack(truth)
    finishing = finish(take)
    planes, finished = Planes.of(take), Planes.of(finishing.stack)
    # Where nothing covers it the finished plate is the full video: the camera is sought there.
    cameras = find_cameras(finished)
    found: dict[str, float | None] = {
        **_finishing(finishing.report),
        **_emptiness(planes),
        **_recomposition(planes),
        **_leaks(planes, steadied(planes, cameras)),
        **_finished_leaks(steadied(finished, cameras)),
        **_steadiness(planes),
        **_mattes(planes, finished, None if truth is None else Planes.of(truth)),
    }
    return {name: found[name] for name in METRICS if found.get(name) is not None}  # type: ignore[misc]


def _finishing(report: FinishReport) -> FoundFigures:
    return {
        "recomposition_before": report.recomposition_before,
        "recomposition_after": report.recomposition_after,
        "recomposition_worst_frame": report.recomposition_worst,
        "spill": report.spill,
        "outline_ratio": report.outline_ratio,
        "matte_change": report.matte_change,
        "soft_share": report.soft_share,
    }


def _emptiness(planes: Planes) -> FoundFigures:
    reach_NT = np.array([alpha_THW.max(axis=(1, 2)) for alpha_THW in planes.alphas])
    return {
        "empty_matte_share": float((reach_NT.max(1) < _EMPTY).mean()),
        "empty_frame_share": float((reach_NT < _EMPTY).mean()),
    }


def _recomposition(planes: Planes) -> FoundFigures:
    return {
        "recomposition_core": psnr_in(planes, planes.core_THW),
        "recomposition_edge": psnr_in(planes, planes.edge_THW),
        "recomposition_open": psnr_in(planes, planes.open_THW),
        "recomposition_ssim": similarity(planes),
        "effects_residual": effects_residual(planes),
        "order_margin": order_margin(planes),
    }


def _finished_leaks(steady: Steadied) -> FoundFigures:
    return {
        "ghost_slope": leaks.ghost_slope(steady),
        "ghost_judged": leaks.ghost_judged(steady),
    }


def _leaks(planes: Planes, steady: Steadied) -> FoundFigures:
    return {
        "ghost_slope_before": leaks.ghost_slope(steady),
        "ghost_correlation": leaks.ghost_correlation(planes),
        "background_disturbance": leaks.background_disturbance(steady),
        "foreground_copy": leaks.foreground_copy(planes),
        "matte_holes": leaks.holes(planes),
        "matte_specks": leaks.specks(planes),
        "matte_haze": leaks.haze(planes),
        "layer_overlap": leaks.layer_overlap(planes),
    }


def _steadiness(planes: Planes) -> FoundFigures:
    over_grey = [
        0.5 + (rgb_TCHW - 0.5) * alpha_THW[:, None]
        for rgb_TCHW, alpha_THW in zip(planes.colours, planes.alphas, strict=True)
    ]
    return {
        "temporal_flicker": steadiness.temporal_flicker(planes.full_TCHW),
        "temporal_flicker_background": steadiness.temporal_flicker(planes.background_TCHW),
        "temporal_flicker_foreground": _mean(steadiness.temporal_flicker, over_grey),
        "matte_core_flicker": _mean(steadiness.matte_core_flicker, planes.alphas),
        "matte_area_flicker": _mean(steadiness.matte_area_flicker, planes.alphas),
        "warp_error": steadiness.warp_error(planes.full_TCHW),
        "warp_error_background": steadiness.warp_error(planes.background_TCHW),
    }


def _mean(metric: Callable[[Floats], float | None], streams: Sequence[Floats]) -> float | None:
    values = [value for stream in streams if (value := metric(stream)) is not None]
    return float(np.mean(values)) if values else None


def _mattes(planes: Planes, finished: Planes, truth: Planes | None) -> FoundFigures:
    if truth is None:
        return {
            "soft_iou": _soft_iou_with_difference(planes),
            "soft_iou_finished": _soft_iou_with_difference(finished),
        }
    pairs = zip(finished.alphas, truth.alphas, strict=True)
    return {
        **_against(planes, truth),
        "soft_iou_finished": _average([mattes.soft_iou(*pair) for pair in pairs]),
    }


def _soft_iou_with_difference(planes: Planes) -> float:
    difference_THW = np.abs(planes.full_TCHW - planes.background_TCHW).mean(axis=1)
    covered_THW = (difference_THW > DIFFERENCE).astype(np.float32)
    return mattes.soft_iou(planes.coverage_THW, covered_THW)


def _against(planes: Planes, truth: Planes) -> FoundFigures:
    """Family A, and the plate where it is hidden. Foregrounds are compared in their order."""
    pairs = list(zip(planes.alphas, truth.alphas, strict=True))
    by_matte: dict[str, Callable[[Floats, Floats], float | None]] = {
        "soft_iou": mattes.soft_iou,
        "matte_mad": mattes.absolute_difference,
        "matte_mse": mattes.squared_difference,
        "matte_gradient": mattes.gradient_difference,
        "matte_connectivity": mattes.connectivity_difference,
        "matte_dtssd": mattes.change_difference,
        "matte_sad": mattes.sum_of_differences,
    }
    colours = zip(planes.colours, truth.colours, truth.alphas, strict=True)
    misses = [mattes.colour_difference(*triple) for triple in colours]
    return {
        **{name: _average([metric(*pair) for pair in pairs]) for name, metric in by_matte.items()},
        "colour_l1": _average(misses),
        "plate_under_foreground": _hidden_plate(planes, truth),
    }


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _hidden_plate(planes: Planes, truth: Planes) -> float | None:
    """PSNR in dB of the background against the true one where foregrounds truly hide it."""
    hidden_THW = truth.coverage_THW > 0.5
    if not hidden_THW.any():
        return None
    errors_THW = np.square(planes.background_TCHW - truth.background_TCHW).mean(axis=1)
    return decibel(float(errors_THW[hidden_THW].mean()))


def summarise(shots: Mapping[str, Values]) -> dict[str, dict[str, float | int | str]]:
    """Mean and worst of every metric over shots, by name of the metric."""
    summary: dict[str, dict[str, float | int | str]] = {}
    for name, metric in METRICS.items():
        values = {shot: found[name] for shot, found in shots.items() if name in found}
        if values:
            worst = max(values, key=lambda shot: metric.badness(values[shot]))
            summary[name] = {
                "mean": float(np.mean(list(values.values()))),
                "worst": values[worst],
                "worst_shot": worst,
                "shots": len(values),
            }
    return summary
