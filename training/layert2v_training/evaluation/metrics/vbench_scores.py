"""VBench on each stream, where its package is installed. Its weights come from hubs."""

import importlib
import importlib.util
import json
import shutil
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from layert2v_model.files import media
from layert2v_model.stack import Stack
from layert2v_training.evaluation.metrics.take_planes import Planes
from layert2v_training.evaluation.prompts import BadInput

DIMENSIONS = (
    "subject_consistency", "background_consistency", "motion_smoothness", "dynamic_degree",
    "aesthetic_quality", "imaging_quality",
)  # fmt: skip
"""Those that need no prompts of VBench's own. Source: VBench 0.1.5, mode `custom_input`."""
_FPS = Fraction(8)
_STREAMS = ("full", "background", "foreground")


def check_vbench(dimensions: Sequence[str]) -> None:
    """Check that VBench is there and knows these dimensions.

    Raises:
        BadInput: It is not, or does not.
    """
    unknown = [name for name in dimensions if name not in DIMENSIONS]
    if unknown:
        raise BadInput(
            f"--vbench {unknown[0]} is none of {', '.join(DIMENSIONS)}: choose among these"
        )
    if dimensions and importlib.util.find_spec("vbench") is None:
        raise BadInput(
            "--vbench needs the package vbench, which is not installed: run "
            "`pip install vbench==0.1.5`, or leave the option out"
        )


def vbench_scores(dimensions: Sequence[str], out: Path) -> dict[str, dict[str, float]]:
    """Score the movies that `write_movies` wrote.

    Args:
        dimensions: Some of `DIMENSIONS`.
        out: Folder of the movies; gets VBench's own results in `vbench/results`.

    Returns:
        By stream, by dimension, the mean over shots.

    Raises:
        BadInput: VBench fails, as it does where its weights are not at hand.
    """
    try:
        return _scores(dimensions, out)
    except (OSError, RuntimeError, ImportError, KeyError, subprocess.SubprocessError) as failure:
        raise BadInput(
            f"VBench failed on {', '.join(dimensions)} ({type(failure).__name__}: {failure}): put "
            f"its weights into its cache folder, or leave --vbench out; all other figures are in "
            f"{out / 'report.json'}"
        ) from failure


def _scores(dimensions: Sequence[str], out: Path) -> dict[str, dict[str, float]]:
    vbench = importlib.import_module("vbench")
    info = Path(str(vbench.__file__)).parent / "VBench_full_info.json"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scores: dict[str, dict[str, float]] = {}
    results = out / "vbench" / "results"
    for stream in _STREAMS:
        judge = vbench.VBench(device, str(info), str(results))
        judge.evaluate(
            videos_path=str(out / "vbench" / stream),
            name=stream,
            dimension_list=list(dimensions),
            mode="custom_input",
        )
        found = json.loads((results / f"{stream}_eval_results.json").read_text())
        # Each entry is the mean and a list with every movie's score.
        scores[stream] = {name: float(found[name][0]) for name in dimensions}
    return scores


def clear_movies(out: Path) -> None:
    """Remove an earlier run's movies and results, which would be scored too."""
    shutil.rmtree(out / "vbench", ignore_errors=True)


def write_movies(shot: str, take: Stack, out: Path) -> None:
    """Write the streams of a shot's take as movies into OUT/vbench, foregrounds over grey."""
    planes = Planes.of(take)
    over_grey_TCHW = np.full_like(planes.full_TCHW, 0.5)
    for rgb_TCHW, alpha_THW in zip(planes.colours, planes.alphas, strict=True):
        over_grey_TCHW += alpha_THW[:, None] * (rgb_TCHW - over_grey_TCHW)
    streams = (planes.full_TCHW, planes.background_TCHW, over_grey_TCHW)
    for name, frames_TCHW in zip(_STREAMS, streams, strict=True):
        folder = out / "vbench" / name
        folder.mkdir(parents=True, exist_ok=True)
        frames_THWC = np.ascontiguousarray(np.moveaxis(frames_TCHW, 1, -1))
        media.write_movie(folder / f"{shot}.mp4", frames_THWC, _FPS)
