"""One evaluation from what is asked to what is written: checks first, then takes, then files."""

import hashlib
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from layert2v_model.errors import InvalidShot
from layert2v_model.folder import CARD_FILE, read_card
from layert2v_model.shot import check_num_foregrounds
from layert2v_model.stack import Stack
from layert2v_training.assets import fetch_assets
from layert2v_training.evaluation.alignment import Alignment
from layert2v_training.evaluation.baselines import TRUTH
from layert2v_training.evaluation.evaluating import (
    Judges,
    OnShot,
    Section,
    Shot,
    decompose,
    generate,
    measure_shots,
)
from layert2v_training.evaluation.folders import read_shots, shot_folders
from layert2v_training.evaluation.held_out import held_out_clips, line_of, stack_of
from layert2v_training.evaluation.oracle import Oracle
from layert2v_training.evaluation.page import draw_page
from layert2v_training.evaluation.pictures import write_sheet
from layert2v_training.evaluation.prompts import BadInput, ShotLine, read_prompts
from layert2v_training.evaluation.studio import Studio
from layert2v_training.evaluation.vbench_scores import check_vbench, vbench_scores, write_movies

_PACKAGES = ("layert2v", "torch", "diffusers", "numpy", "opencv-python-headless", "scikit-image")
_AGAINST_DATA = ("temporal_flicker", "temporal_flicker_background", "temporal_flicker_foreground")
_NO_LPIPS = "LPIPS: its network's weights come from a hub, and none is reached here"


@dataclass(frozen=True)
class Request:
    """The command's inputs, as its options say them."""

    source: Path
    out: Path
    prompts: Path | None = None
    held_out: int = 0
    assets: Path = Path("cache/assets")
    truth: Path | None = None
    steps: int | None = None
    guidance: float | None = None
    frames: int | None = None
    regenerate: int = 1
    decompose: int | None = None
    vbench: tuple[str, ...] = ()
    has_alignment: bool = True


@dataclass(frozen=True, eq=False)
class _Measured:
    """What a run found."""

    section: Section
    form: str
    """Size and number of frames, in words."""
    decomposition: Section | None = None
    speed: dict[str, float] | None = None


def run(request: Request, on_shot: OnShot) -> Path:
    """Evaluate, write the report, the page and the sheet, and return the page's path.

    Raises:
        BadInput: The inputs do not fit each other, or a file cannot be written.
        DamagedModel, InvalidShot, InvalidLayers, UnreadableMedia, AssetsUnavailable: As the parts
            that read them say.
    """
    is_model = _check(request)
    left_out = [_NO_LPIPS]
    if is_model:
        measured = _run_model(request, left_out, on_shot)
    else:
        measured = _run_folder(request, left_out, on_shot)
    scores = vbench_scores(request.vbench, request.out) if request.vbench else {}
    report = _report(request, measured, left_out)
    return _write(request.out, report | ({"vbench": scores} if scores else {}), measured)


def _check(request: Request) -> bool:
    """Check what can be checked without reading layers or weights; tell whether it is a model."""
    source = request.source
    if not source.is_dir():
        raise BadInput(f"{source} is no folder: name a model folder or a folder of shots")
    if request.out.exists() and not request.out.is_dir():
        raise BadInput(f"{request.out} is a file: name a folder with --out")
    is_model = any((source / name).is_file() for name in (CARD_FILE, "model_index.json"))
    if is_model and (request.prompts is None) == (request.held_out == 0):
        raise BadInput("a model is asked by --prompts or by --held-out: give one of them")
    if is_model and request.truth:
        raise BadInput("--truth is for folders of shots: leave it out, or use --held-out")
    if not is_model and request.held_out:
        raise BadInput(f"{source} holds no model, which --held-out asks: name a model folder")
    if not is_model and request.frames:
        raise BadInput("--frames is what a model is asked for: leave it out for a folder of shots")
    if request.truth and not request.truth.is_dir():
        raise BadInput(f"{request.truth} is no folder: name that of the true layers as --truth")
    check_vbench(request.vbench)
    return is_model


# ---------------------------------------------------------------------------------------------
# A model


def _run_model(request: Request, left_out: list[str], on_shot: OnShot) -> _Measured:
    lines = read_prompts(request.prompts) if request.prompts else []
    studio = Studio.load(request.source, request.steps, request.guidance, request.frames)
    truths: list[Stack] | None = None
    if request.held_out:
        size = (studio.width, studio.height, studio.num_frames)
        clips = held_out_clips(fetch_assets(request.assets), *size, request.held_out)
        lines = [line_of(clip, seed) for seed, clip in enumerate(clips, start=1)]
        truths = [stack_of(clip) for clip in clips]
    _check_lines(lines, studio)
    judges = _judges(request, lines, left_out)
    section, speed = generate(
        studio, lines, truths, judges, on_shot, request.regenerate, partial(_pass, request)
    )
    apart = truths[: request.decompose] if truths else []
    decomposition = decompose(studio, lines[: len(apart)], apart, on_shot) if apart else None
    form = (
        f"{studio.width}x{studio.height}, {studio.num_frames} frames, "
        f"{studio.num_inference_steps} steps, guidance {studio.guidance_scale:g}"
    )
    return _Measured(section, form, decomposition, speed)


def _check_lines(lines: Sequence[ShotLine], studio: Studio) -> None:
    """Refuse a shot that the model cannot make before any is made."""
    most = studio.pipeline.transformer.config.max_foregrounds
    for number, line in enumerate(lines, start=1):
        try:
            check_num_foregrounds(line.prompts(), most)
        except InvalidShot as problem:
            raise BadInput(f"shot {number}: {problem}") from None


def _judges(request: Request, lines: Sequence[ShotLine], left_out: list[str]) -> Judges:
    """Bring the oracle and the alignment model where words and pictures are at hand."""
    if not lines:
        left_out.append("alignment and routing: no prompts are known; give them as --prompts")
        return Judges()
    if not (request.assets / "manifest.json").is_file():
        left_out.append(f"alignment and routing: {request.assets} holds no pictures; see --assets")
        return Judges()
    if not request.has_alignment:
        left_out.append("alignment: left out by --no-alignment")
        return Judges(Oracle(request.assets, lines))
    return Judges(Oracle(request.assets, lines), Alignment(request.assets))


# ---------------------------------------------------------------------------------------------
# Shots in folders


def _run_folder(request: Request, left_out: list[str], on_shot: OnShot) -> _Measured:
    folders = shot_folders(request.source)
    lines = read_prompts(request.prompts) if request.prompts else []
    shots = read_shots(folders, lines or None, request.truth, on_shot)
    judges = _judges(request, lines, left_out)
    sizes: set[str] = set()

    def passing() -> Iterator[Shot]:
        for shot in shots:
            num_frames, _, height, width = shot.take.full_TCHW.shape
            sizes.add(f"{width}x{height}, {num_frames} frames")
            _pass(request, shot)
            yield shot

    section = measure_shots(passing(), lines, judges, on_shot)
    return _Measured(section, "; ".join(sorted(sizes)))


def _pass(request: Request, shot: Shot) -> None:
    """Keep of a passing take what VBench needs."""
    if request.vbench:
        write_movies(shot, request.out)


# ---------------------------------------------------------------------------------------------
# The report


def _report(request: Request, measured: _Measured, left_out: list[str]) -> dict[str, Any]:
    command = {
        name: value.as_posix() if isinstance(value, Path) else value
        for name, value in asdict(request).items()
    }
    if request.prompts is not None:
        command["prompts_sha256"] = hashlib.sha256(request.prompts.read_bytes()).hexdigest()
    if (request.source / CARD_FILE).is_file():
        command["model_files"] = read_card(request.source).get("files", {})
    summary = measured.section.summary()
    apart = measured.decomposition.summary() if measured.decomposition else None
    return {
        "command": command,
        "versions": {"python": platform.python_version(), **_versions()},
        "format": measured.form,
        "soft_iou_reference": "true mattes"
        if request.truth
        else "where full and background differ by more than 12/255",
        "left_out": left_out,
        **summary,
        "against_data": _against_data(summary),
        "decomposition": apart,
        "speed": measured.speed,
    }


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _PACKAGES}


def _against_data(summary: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Flicker beside that of the composed scenes of the same words."""
    data = summary["baselines"].get(TRUTH, {})
    return {
        name: {"measured": summary["metrics"][name]["mean"], "data": data[name]["mean"]}
        for name in _AGAINST_DATA
        if name in data and name in summary["metrics"]
    }


def _write(out: Path, report: dict[str, Any], measured: _Measured) -> Path:
    pictures = dict(measured.section.pictures)
    if measured.decomposition:
        pictures |= measured.decomposition.pictures
    page = out / "index.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        page.write_text(draw_page(report, pictures), encoding="utf-8")
        write_sheet(measured.section.rows, out / "sheet.png")
    except OSError as failure:
        raise BadInput(
            f"{out} cannot be written: {failure.strerror}; free space there or choose another "
            f"folder with --out"
        ) from failure
    return page
