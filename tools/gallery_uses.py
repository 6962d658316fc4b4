"""The gallery's takes: every use of the layered model, with its request and quality.

Shape letters: T frames, C channels, H, W. Pixels are straight sRGB and alpha in [0, 1].
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gallery_sheet import Row, rows_of
from layert2v_model.finishing.finish import Finished, finish
from layert2v_model.finishing.report import measure
from layert2v_model.pipeline import ShotPrompts
from layert2v_model.sampling.given import Given, StreamGiven
from layert2v_model.sampling.reuse import blended, joined, kept_layers, opening, streams_of
from layert2v_model.stack import Stack
from layert2v_training.data.clips import LayeredClip
from layert2v_training.evaluation.asked_model import AskedModel
from layert2v_training.evaluation.held_out import tensor_of

PROMPTS = ShotPrompts("", "a green meadow", ("a robot standing still", "a fox moving to the right"))
ONE = ShotPrompts("", PROMPTS.background, PROMPTS.foregrounds[1:])


@dataclass(frozen=True, eq=False)
class Use:
    """One entry of the gallery."""

    name: str
    """Name of its picture."""
    title: str
    asked: str
    """The given streams and the request, in one or two sentences."""
    rows: list[Row]
    figures: dict[str, str]
    """The measured quantities with their values."""


def make_uses(asked_model: AskedModel, clip: LayeredClip, longest: int) -> list[Use]:
    """Make every use but decomposition.

    Args:
        asked_model: The model.
        clip: A clip, whose plate and foreground are used.
        longest: The largest number of frames of the model.
    """
    take, other = asked_model.take(PROMPTS, seed=1), asked_model.take(PROMPTS, seed=2)
    return [
        _generated(take),
        _anew(asked_model, take),
        _on_plate(asked_model, clip),
        _behind(asked_model, clip),
        _blended(asked_model, take, other),
        _extended(asked_model, take),
        *([_longer(asked_model, longest)] if longest > asked_model.num_frames else []),
        _looped(asked_model),
        _painted(asked_model, clip),
        _reordered(take),
    ]


def _generated(take: Stack) -> Use:
    done = finish(take)
    return Use(
        "generate", "A shot from words",
        f"Nothing is given. {_words(PROMPTS)} The seed is 1.",
        rows_of(done.stack), _recomposition(done),
    )  # fmt: skip


def _anew(asked_model: AskedModel, take: Stack) -> Use:
    given = kept_layers(take, regenerated=[2])
    made = asked_model.take(PROMPTS, seed=7, given=given)
    done = finish(made, kept=frozenset({0, 1}))
    changed = (made.layers[2].alpha_T1HW - take.layers[2].alpha_T1HW).abs().mean()
    return Use(
        "regenerate", "One of two foregrounds regenerated",
        "The background and the first foreground of the take above are given. The second is "
        "regenerated with seed 7.",
        rows_of(done.stack, list(given)),
        {
            **_exact(made, given),
            "change of the regenerated matte, mean": f"{changed:.3f}",
            **_recomposition(done),
        },
    )  # fmt: skip


def _on_plate(asked_model: AskedModel, clip: LayeredClip) -> Use:
    plate_TCHW = tensor_of(clip.background_THWC)
    prompts = ShotPrompts("", clip.background_caption, ONE.foregrounds)
    given = {"background": plate_TCHW}
    made = asked_model.take(prompts, seed=3, given=given)
    done = finish(made, kept=frozenset({0}))
    open_T1HW = made.foregrounds[0].alpha_T1HW < 0.05
    miss = _decibel((made.full_TCHW - plate_TCHW).square(), open_T1HW)
    return Use(
        "plate", "A new foreground on your own plate",
        f"The plate is given ({clip.background_caption}). The prompt is {prompts.foregrounds[0]}.",
        rows_of(done.stack, list(given)),
        {
            **_exact(made, given),
            "full video against the plate where alpha < .05": miss,
            **_recomposition(done),
        },
    )  # fmt: skip


def _behind(asked_model: AskedModel, clip: LayeredClip) -> Use:
    layer = clip.foregrounds[0]
    given = {
        "foreground_1": tensor_of(layer.rgb_THWC),
        "alpha_1": tensor_of(layer.alpha_THW[..., None]),
    }
    prompts = ShotPrompts("", PROMPTS.background, (layer.caption,))
    made = asked_model.take(prompts, seed=4, given=given)
    done = finish(made, kept=frozenset({1}))
    solid_T1HW = given["alpha_1"] > 0.95
    miss = _decibel((made.full_TCHW - given["foreground_1"]).square(), solid_T1HW)
    return Use(
        "background", "A background for a given foreground",
        f"The foreground is given ({layer.caption}). The prompt is {prompts.background}.",
        rows_of(done.stack, list(given)),
        {
            **_exact(made, given),
            "full video against the foreground where alpha > .95": miss,
            **_recomposition(done),
        },
    )  # fmt: skip


def _blended(asked_model: AskedModel, take: Stack, other: Stack) -> Use:
    count = asked_model.num_token_frames
    given: dict[str, StreamGiven] = {
        **kept_layers(take, regenerated=[2]),
        **blended(take, other, layer=2, num_first=count, num_last=count),
    }
    made = asked_model.take(PROMPTS, seed=5, given=given)
    alpha_T1HW = made.layers[2].alpha_T1HW
    seams = [count - 1, len(alpha_T1HW) - count - 1]
    return Use(
        "blend", "Two takes of one foreground joined",
        f"The second foreground takes its start ({_frames(count)}) from the take with seed 1 and "
        f"its end ({_frames(count)}) from the take with seed 2. The frames between are made. All "
        f"other layers are given.",
        [
            ("alpha_2 of the first take", take.layers[2].alpha_T1HW),
            ("alpha_2 of the second take", other.layers[2].alpha_T1HW),
            *rows_of(made, list(given)),
        ],
        {**_exact(made, given), **_jumps(alpha_T1HW, seams, "matte")},
    )  # fmt: skip


def _extended(asked_model: AskedModel, take: Stack) -> Use:
    count = asked_model.num_token_frames
    longer = joined(take, asked_model.take(PROMPTS, seed=6, given=opening(take, count)), count)
    seam = [len(take.full_TCHW) - 1]
    return Use(
        "extend", "Every layer continued in time",
        f"The end of all streams of the first take ({_frames(count)}) is given as the start of the "
        f"next shot. Together they have {len(longer.full_TCHW)} frames.",
        rows_of(longer),
        {
            **_jumps(longer.full_TCHW, seam, "full video"),
            **_jumps(longer.layers[2].alpha_T1HW, seam, "second matte"),
        },
    )  # fmt: skip


def _longer(asked_model: AskedModel, num_frames: int) -> Use:
    take = replace(asked_model, num_frames=num_frames).take(PROMPTS, seed=1)
    done = finish(take)
    return Use(
        "longer", f"{num_frames} frames at once",
        f"This is the first shot with {num_frames} frames instead of {asked_model.num_frames}.",
        rows_of(done.stack), _recomposition(done),
    )  # fmt: skip


def _looped(asked_model: AskedModel) -> Use:
    layers = ("full", "background", "foreground_1")
    plain, made = asked_model.take(ONE, seed=8), asked_model.take(ONE, seed=8, looped=layers)
    figures = {}
    for name, frames_TCHW in streams_of(made).items():
        before_TCHW = streams_of(plain)[name]
        figures[f"{name}: first against last frame, mean /255"] = (
            f"{_change(frames_TCHW[0], frames_TCHW[-1]):.2f} "
            f"(not looped {_change(before_TCHW[0], before_TCHW[-1]):.2f})"
        )
    return Use(
        "loop", "A layer that loops",
        f"All layers loop, because first and last latent frame are one. {_words(ONE)}",
        rows_of(made), figures,
    )  # fmt: skip


def _painted(asked_model: AskedModel, clip: LayeredClip) -> Use:
    plate_TCHW = tensor_of(clip.background_THWC)
    kept_T1HW = torch.ones(1, 1, asked_model.height, asked_model.width, dtype=torch.bool)
    side = 2 * asked_model.grid.spatial_factor
    top, left = asked_model.height // side // 2 * side, asked_model.width // side // 2 * side
    kept_T1HW[..., top : top + side, left - side : left + side] = False
    given = {"background": Given(plate_TCHW, region_T1HW=kept_T1HW)}
    prompts = ShotPrompts("", clip.background_caption, ONE.foregrounds)
    made = asked_model.take(prompts, seed=9, given=given)
    hole = _decibel((made.background.rgb_TCHW - plate_TCHW).square(), ~kept_T1HW)
    return Use(
        "region", "A region of a plate repainted",
        "The plate is given except for a rectangle (grey in the first row). A region has no "
        "timestep of its own, so it is clamped.",
        [("given region", torch.where(kept_T1HW, plate_TCHW, 0.5)), *rows_of(made)],
        {**_exact(made, given), "the painted part against the true plate": hole},
    )  # fmt: skip


def _reordered(take: Stack) -> Use:
    finished = finish(take).stack
    changed, dropped = finished.reordered((2, 1)), finished.without(1)
    return Use(
        "reorder", "Layers reordered and dropped",
        "The rows show the finished first take, the take with its foregrounds in the other order, "
        "and the take without its first foreground.",
        [
            ("full", finished.full_TCHW),
            ("order 2, 1", changed.full_TCHW),
            ("without 1", dropped.full_TCHW),
        ],
        {
            "recomposition reordered, 8-bit layers":
                f"{measure(changed, changed).recomposition_after:.1f} dB",
            "recomposition without 1, 8-bit layers":
                f"{measure(dropped, dropped).recomposition_after:.1f} dB",
        },
    )  # fmt: skip


def _words(prompts: ShotPrompts) -> str:
    return f"The prompts are {' and '.join(prompts.foregrounds)}, before {prompts.background}."


def _frames(count: int) -> str:
    return f"{count} frame" if count == 1 else f"{count} frames"


def _recomposition(done: Finished) -> dict[str, str]:
    report = done.report
    return {
        "recomposition as made": f"{report.recomposition_before:.1f} dB",
        "recomposition finished": f"{report.recomposition_after:.1f} dB",
    }


def _exact(made: Stack, given: Mapping[str, StreamGiven]) -> dict[str, str]:
    """Give the largest difference between given streams and the result."""
    largest, streams = 0.0, streams_of(made)
    for name, value in given.items():
        parts = (value,) if isinstance(value, Given | Tensor) else value
        for part in parts:
            part = Given(part) if isinstance(part, Tensor) else part
            assert part.frames_TCHW is not None
            span = slice(part.first_frame, part.first_frame + len(part.frames_TCHW))
            away_TCHW = (streams[name][span] - part.frames_TCHW).abs()
            if part.region_T1HW is not None:
                away_TCHW = away_TCHW * part.region_T1HW
            largest = max(largest, float(away_TCHW.max()))
    return {"largest change of a given pixel": f"{largest:g}"}


def _jumps(frames_TCHW: Tensor, seams: Collection[int], what: str) -> dict[str, str]:
    """Give the mean change over the seams after the named frames, and over all other frames."""
    changes = [_change(frames_TCHW[t], frames_TCHW[t + 1]) for t in range(len(frames_TCHW) - 1)]
    at = [changes[t] for t in seams]
    rest = [change for t, change in enumerate(changes) if t not in seams]
    return {
        f"{what}: change over a seam, mean /255": f"{sum(at) / len(at):.2f} "
        f"(elsewhere {sum(rest) / len(rest):.2f})"
    }


def _change(first_CHW: Tensor, second_CHW: Tensor) -> float:
    return float((first_CHW - second_CHW).abs().mean()) * 255


def _decibel(squared_TCHW: Tensor, region_T1HW: Tensor) -> str:
    inside = squared_TCHW[region_T1HW.expand_as(squared_TCHW)]
    return f"{-10 * float(inside.mean().clamp_min(1e-10).log10()):.1f} dB" if len(inside) else "-"
