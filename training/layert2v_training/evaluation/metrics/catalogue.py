"""Every metric that a report may hold: its family, what it says, and which way is better."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """The meaning of a figure."""

    family: str
    """Its family, as `docs/evaluation.md` numbers it."""
    meaning: str
    """One line, with the unit and the value of a perfect take."""
    is_higher_better: bool
    """Whether a perfect take has the highest value or the lowest."""
    ideal: float | None = None
    """The value of a perfect take where values on both sides of it are worse."""

    def badness(self, value: float) -> float:
        """Order shots: the worst has the largest."""
        if self.ideal is not None:
            return abs(value - self.ideal)
        return -value if self.is_higher_better else value


def _high(family: str, meaning: str) -> Metric:
    return Metric(family, meaning, is_higher_better=True)


def _low(family: str, meaning: str) -> Metric:
    return Metric(family, meaning, is_higher_better=False)


def _near(ideal: float, family: str, meaning: str) -> Metric:
    return Metric(family, meaning, is_higher_better=False, ideal=ideal)


METRICS: dict[str, Metric] = {
    "recomposition_before": _high("R1", "flattened 8-bit layers against full, as made, dB"),
    "recomposition_after": _high("R1", "the same, finished, dB"),
    "recomposition_worst_frame": _high("R1", "the worst frame of the finished layers, dB"),
    "recomposition_core": _high("R1", "as made, where foregrounds plainly cover, dB"),
    "recomposition_edge": _high("R1", "as made, where they partly cover, dB"),
    "recomposition_open": _high("R1", "as made, where nothing covers, dB"),
    "recomposition_ssim": _high("R1", "SSIM of flattened layers and full, as made; 1"),
    "effects_residual": _near(
        0, "R2", "what no layer holds near foregrounds, less far away, /255; 0"
    ),
    "order_margin": _high("R3", "given order less the best other order, dB; above 0"),
    "soft_iou": _high("A6", "matte against its reference, smaller over larger; 1"),
    "soft_iou_finished": _high("A6", "the same of finished layers, which a take delivers; 1"),
    "matte_mad": _low("A1", "1000 x mean absolute difference to the true matte; 0"),
    "matte_mse": _low("A1", "1000 x mean squared difference to the true matte; 0"),
    "matte_gradient": _low("A2", "difference of edges, sum per frame / 1000; 0"),
    "matte_connectivity": _low("A3", "difference of connectedness, sum per frame / 1000; 0"),
    "matte_dtssd": _low("A4", "100 x RMS difference of changes in time; 0"),
    "matte_sad": _low("A5", "absolute difference, sum per frame / 1000; 0"),
    "colour_l1": _low("A7", "foreground colour against the true one inside its matte; 0"),
    "plate_under_foreground": _high("A8", "background against the true one where hidden, dB"),
    "ghost_slope": _near(0, "L1", "share of foregrounds' light in the finished plate; 0"),
    "ghost_judged": _high("L1", "share of what is covered that ghost slope can judge; 1"),
    "ghost_slope_before": _near(0, "L1", "the same in the plate as made; 0"),
    "ghost_correlation": _near(0, "L2", "foregrounds' detail in the plate, less chance; 0"),
    "background_disturbance": _near(1, "L3", "change of plate at foregrounds over elsewhere; 1"),
    "spill": _low("L4", "foreground colour outside its matte over inside, as stored; 0"),
    "foreground_copy": _near(0, "L5", "the plate's detail in foregrounds outside mattes; 0"),
    "matte_holes": _low("L6", "area of holes over that of the matte; 0"),
    "matte_specks": _low("L6", "area off the largest piece over that of the matte; 0"),
    "matte_haze": _low("L6", "share of soft pixels far from the contour; 0"),
    "layer_overlap": _low("L7", "shared alpha of two foregrounds over the smaller's"),
    "temporal_flicker": _high("T1", "1 - mean change from frame to frame, full; 1 is still"),
    "temporal_flicker_background": _high("T1", "the same of the background"),
    "temporal_flicker_foreground": _high("T1", "the same of foregrounds over mid-grey"),
    "matte_core_flicker": _low("T2", "1000 x |second difference| of alpha in its core; 0"),
    "matte_area_flicker": _low("T2", "|second difference| of the matte's area over it; 0"),
    "warp_error": _low("T3", "change left after optical flow, full; 0"),
    "warp_error_background": _low("T3", "the same of the background"),
    "alignment": _high("P1", "cosine of layers with their own prompts, in-domain model"),
    "alignment_shuffled": _low("P1", "the same with another shot's prompts: the floor"),
    "alignment_routing": _high("P2", "layers nearest to their own prompt of the shot's; 1"),
    "alignment_margin": _high("P2", "own prompt's cosine less the best other's; above 0"),
    "routing": _high("P2", "foregrounds of the right subject and none in the plate, oracle; 1"),
    "right_subject": _high("P2", "nearest sprite to the foreground is its subject's; 1"),
    "subject_in_full": _high("P3", "subjects found in the full video, oracle; 1"),
    "subject_in_background": _low("P3", "subjects found in the background, oracle; 0"),
    "given_change": _low("C1", "largest change of a given stream; 0"),
    "regeneration_kept_change": _low("C2", "largest change of layers kept; 0"),
    "regeneration_recomposition_drop": _low("C2", "recomposition lost by regenerating, dB"),
    "outline_ratio": _low("0", "edges of the finished plate at contours over around; below 1"),
    "matte_change": _low("0", "mean change of mattes by finishing; 0"),
    "soft_share": _low("0", "share of pixels with soft alpha"),
    "empty_matte_share": _low("0", "foregrounds whose alpha stays below a half; 0"),
    "empty_frame_share": _low("0", "frames of foregrounds where it does; 0 if none passes by"),
}
"""Metrics in the order in which reports list them."""
