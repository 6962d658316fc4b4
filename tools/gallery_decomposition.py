"""Decomposition of composites with known layers, beside baselines without a model.

Shape letters: T frames, C channels, H, W. Pixels are straight sRGB and alpha in [0, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from gallery_sheet import Row, rgba
from gallery_uses import Use
from layert2v_model.finishing.finish import finish
from layert2v_model.pipeline import ShotPrompts
from layert2v_model.stack import Stack
from layert2v_training.data.clips import LayeredClip
from layert2v_training.evaluation.asked_model import AskedModel
from layert2v_training.evaluation.baselines import baselines_of
from layert2v_training.evaluation.held_out import stack_of_clip
from layert2v_training.evaluation.metrics.take_figures import Values, measure_take


@dataclass(frozen=True, eq=False)
class Decomposed:
    """One scene, decomposed by each method."""

    stacks: Mapping[str, Stack]
    scores: Mapping[str, Values]


def decompose(asked_model: AskedModel, clip: LayeredClip, seed: int) -> Decomposed:
    """Decompose a composed clip with one foreground by the model and by the baselines."""
    truth = stack_of_clip(clip)
    full_TCHW = truth.full_TCHW
    prompts = ShotPrompts("", clip.background_caption, (clip.foregrounds[0].caption,))
    made = asked_model.take(prompts, seed, given={"full": full_TCHW})
    stacks = {
        "model": made,
        "model, finished": finish(made).stack,
        **baselines_of(full_TCHW),
    }
    scores = {name: measure_take(stack, truth) for name, stack in stacks.items()}
    return Decomposed({"truth": truth, **stacks}, scores)


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
            f"soft IoU {median(s['soft_iou'] for s in scores):.3f}, "
            f"recomposition {median(s['recomposition_before'] for s in scores):.1f} dB, "
            f"plate under the subject {median(s['plate_under_foreground'] for s in scores):.1f} dB"
        )
    return Use(
        "decompose", "A full video taken apart",
        f"The full video is given, with a caption for the background and one for the subject. "
        f"Training never shows the pairs of subject and background of these {len(done)} composed "
        f"scenes. The figures are medians, as made and finished, beside two baselines. The first "
        f"three scenes are shown.",
        rows, figures,
    )  # fmt: skip
