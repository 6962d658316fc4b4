"""One evaluation from its options to its report: checks first, then takes, then files."""

import hashlib
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from layert2v_model.errors import InvalidShot
from layert2v_model.folders.model_folder import CARD_FILE, read_card
from layert2v_model.sampling.shot_checks import check_num_foregrounds
from layert2v_model.stack import Stack
from layert2v_training.evaluation.asked_model import AskedModel, evaluation_precision
from layert2v_training.evaluation.baselines import TRUTH
from layert2v_training.evaluation.comparisons import Comparison, measure_comparison, takes_for
from layert2v_training.evaluation.generated_shots import generate
from layert2v_training.evaluation.given_scenes import beside_generated, make_given
from layert2v_training.evaluation.held_out import held_out_clips, line_of, stack_of_clip
from layert2v_training.evaluation.measured_shots import (
    Judges,
    OnShot,
    Section,
    Shot,
    measure_shots,
)
from layert2v_training.evaluation.metrics.alignment import Alignment
from layert2v_training.evaluation.metrics.oracle import Oracle
from layert2v_training.evaluation.metrics.vbench_scores import (
    clear_movies,
    vbench_scores,
    write_movies,
)
from layert2v_training.evaluation.options import Options, check_evaluation, unwritable
from layert2v_training.evaluation.page import draw_page
from layert2v_training.evaluation.prompts import BadInput, ShotLine, read_prompts
from layert2v_training.evaluation.shots_on_disk import read_shots, shape_of, shot_folders
from layert2v_training.evaluation.take_pictures import write_sheet
from layert2v_training.evaluation.takes import TakeStore
from layert2v_training.scenes.assets import fetch_assets

Shape = tuple[int, int, int]
"""Width, height and number of frames."""
_PACKAGES = ("layert2v", "torch", "diffusers", "numpy", "opencv-python-headless", "scikit-image")
_AGAINST_DATA = ("temporal_flicker", "temporal_flicker_background", "temporal_flicker_foreground")
_NO_LPIPS = "LPIPS: its network's weights come from a hub, and none is reached here"


@dataclass(frozen=True, eq=False)
class _Measured:
    """The findings of a run."""

    section: Section
    form: str
    """Size and number of frames, in words."""
    given: dict[str, Section] = field(default_factory=dict)
    """Sections by the streams that were given, joined by +."""
    speed: dict[str, float] | None = None


def evaluate(options: Options, on_shot: OnShot) -> Path:
    """Evaluate, write the report, the page and the sheet, and return the page's path.

    Raises:
        BadInput: The inputs do not fit each other, or a file cannot be written.
        DamagedModel, InvalidShot, InvalidLayers, UnreadableMedia, AssetsUnavailable: As the parts
            that read them say.
    """
    check_evaluation(options)
    options = options.with_defaults()
    if options.asks_a_model:
        on_shot(evaluation_precision(options.precision).sentence)
    left_out = [_NO_LPIPS]
    if options.vbench:
        clear_movies(options.out)
    measure = _run_model if options.is_model else _run_folder
    measured = measure(options, left_out, on_shot)
    report = _report(options, measured, left_out)
    page = _write(options.out, report, measured)
    if options.vbench:
        scores = vbench_scores(options.vbench, options.out)
        page = _write(options.out, report | {"vbench": scores}, measured)
    return page


# ---------------------------------------------------------------------------------------------
# A model


def _run_model(options: Options, left_out: list[str], on_shot: OnShot) -> _Measured:
    lines = read_prompts(options.prompts) if options.prompts else []
    on_shot(f"loading the model in {options.source}")
    asked_model = _load_model(options, options.source)
    truths: list[Stack] | None = None
    if options.held_out:
        size = (asked_model.width, asked_model.height, asked_model.num_frames)
        on_shot(f"composing {options.held_out} held-out scenes")
        clips = held_out_clips(fetch_assets(options.assets), *size, options.held_out)
        lines = [line_of(clip, seed) for seed, clip in enumerate(clips, start=1)]
        truths = [stack_of_clip(clip) for clip in clips]
    _check_lines(lines, asked_model)
    shape = (asked_model.width, asked_model.height, asked_model.num_frames)
    others = _others(options, lines, shape, on_shot)
    on_shot("loading the models that judge the takes")
    judges = _judges(options, lines, left_out)
    section, speed = generate(
        asked_model,
        lines,
        truths,
        judges,
        on_shot,
        options.regenerate or 0,
        partial(_pass, options),
    )
    for name, shots in others:
        measure_comparison(section, name, shots, lines, judges, on_shot)
    scenes = truths[: options.given_scenes] if truths else []
    given = {
        "+".join(subset): make_given(asked_model, lines[: len(scenes)], scenes, subset, on_shot)
        for subset in (options.given if scenes and options.given else ())
    }
    form = (
        f"{asked_model.width}x{asked_model.height}, {asked_model.num_frames} frames, "
        f"{asked_model.num_inference_steps} steps, guidance {asked_model.guidance_scale:g}"
    )
    return _Measured(section, form, given, speed)


def _load_model(options: Options, folder: Path, shape: Shape | None = None) -> AskedModel:
    """Load a model, to be asked for shots of a shape; None: of its card's first size."""
    takes = TakeStore(options.takes) if options.takes else None
    size, frames = (shape[:2], shape[2]) if shape else (None, options.frames)
    return AskedModel.load(
        folder, options.steps, options.guidance, frames, takes, size, options.precision
    )


def _others(
    options: Options, lines: Sequence[ShotLine], shape: Shape, on_shot: OnShot
) -> list[tuple[str, Iterator[Shot]]]:
    """Open what stands beside the run: before the first take, so that bad folders are told then."""
    return [
        (other.name, _shots_of(options, other, lines, shape, on_shot)) for other in options.beside
    ]


def _shots_of(
    options: Options, other: Comparison, lines: Sequence[ShotLine], shape: Shape, on_shot: OnShot
) -> Iterator[Shot]:
    if other.is_model:
        asked_model = _compared_model(options, other, shape)
        _check_lines(lines, asked_model)
        return takes_for(asked_model, lines)
    folders = shot_folders(other.source)
    found = _first_shape(folders)
    if found != shape:
        raise BadInput(
            f"--beside {other.name} shows other shots than the run's: they are {_in_words(found)}, "
            f"the run's are {_in_words(shape)}; give layers of the same shots"
        )
    return read_shots(folders, lines or None, options.truth, on_shot)


def _first_shape(folders: Sequence[Path]) -> Shape:
    """Read the first shot that can be read for its shape. What is wrong with others is told later.

    Raises:
        BadInput: None can be read.
    """
    for folder in folders[:-1]:
        try:
            return shape_of(folder)
        except BadInput:
            continue
    return shape_of(folders[-1])


def _in_words(shape: Shape) -> str:
    width, height, num_frames = shape
    return f"{width}x{height} with {num_frames} frames"


def _compared_model(options: Options, other: Comparison, shape: Shape) -> AskedModel:
    """Load a model that stands beside the run, to be asked for the run's own size and frames."""
    try:
        return _load_model(options, other.source, shape)
    except InvalidShot as problem:
        raise BadInput(
            f"--beside {other.name} makes other shots than the run's: {problem}"
        ) from None


def _check_lines(lines: Sequence[ShotLine], asked_model: AskedModel) -> None:
    """Refuse a shot that the model cannot make before any is made."""
    most = asked_model.pipeline.transformer.config.max_foregrounds
    for number, line in enumerate(lines, start=1):
        try:
            check_num_foregrounds(line.prompts(), most)
        except InvalidShot as problem:
            raise BadInput(f"shot {number}: {problem}") from None


def _judges(options: Options, lines: Sequence[ShotLine], left_out: list[str]) -> Judges:
    """Bring the oracle and the alignment model where words and pictures are at hand."""
    if not lines:
        left_out.append("alignment and routing: no prompts are known; give them as --prompts")
        return Judges()
    if not (options.assets / "manifest.json").is_file():
        left_out.append(f"alignment and routing: {options.assets} holds no pictures; see --assets")
        return Judges()
    if not options.has_alignment:
        left_out.append("alignment: left out by --no-alignment")
        return Judges(Oracle(options.assets, lines))
    return Judges(Oracle(options.assets, lines), Alignment(options.assets))


# ---------------------------------------------------------------------------------------------
# Shots in folders


def _run_folder(options: Options, left_out: list[str], on_shot: OnShot) -> _Measured:
    folders = shot_folders(options.source)
    lines = read_prompts(options.prompts) if options.prompts else []
    bad = left_out if options.skip_bad else None
    shots = read_shots(folders, lines or None, options.truth, on_shot, bad)
    first = _first_shape(folders) if options.beside else (0, 0, 0)
    others = _others(options, lines, first, on_shot)
    judges = _judges(options, lines, left_out)
    sizes: set[str] = set()

    def passing() -> Iterator[Shot]:
        for shot in shots:
            num_frames, _, height, width = shot.take.full_TCHW.shape
            form = f"{width}x{height}, {num_frames} frames"
            if options.beside and (width, height, num_frames) != first:
                raise BadInput(
                    f"{shot.name} is {form} and {folders[0].name} is {first[0]}x{first[1]}, "
                    f"{first[2]} frames: a model beside is asked for one form, export all alike"
                )
            sizes.add(form)
            _pass(options, shot)
            yield shot

    section = measure_shots(passing(), lines, judges, on_shot)
    for name, beside in others:
        measure_comparison(section, name, beside, lines, judges, on_shot)
    return _Measured(section, "; ".join(sorted(sizes)))


def _pass(options: Options, shot: Shot) -> None:
    """Keep of a passing take what VBench needs."""
    if options.vbench:
        write_movies(shot.name, shot.take, options.out)


# ---------------------------------------------------------------------------------------------
# The report


def _report(options: Options, measured: _Measured, left_out: list[str]) -> dict[str, Any]:
    command = {name: _plain(value) for name, value in asdict(options).items()}
    if options.prompts is not None:
        command["prompts_sha256"] = hashlib.sha256(options.prompts.read_bytes()).hexdigest()
    if (options.source / CARD_FILE).is_file():
        command["model_files"] = read_card(options.source).get("files", {})
    summary = measured.section.summary()
    given = {
        words: section.summary()
        | {"beside_generated": beside_generated(section, measured.section.shots)}
        for words, section in measured.given.items()
    }
    return {
        "command": command,
        "versions": {"python": platform.python_version(), **_versions()},
        "precision": evaluation_precision(options.precision).name if options.asks_a_model else None,
        "format": measured.form,
        "soft_iou_reference": "true mattes"
        if options.truth
        else "where full and background differ by more than 12/255; true mattes where streams are "
        "given that show the subject",
        "left_out": left_out,
        **summary,
        "against_data": _against_data(summary),
        "given": given,
        "speed": measured.speed,
    }


def _plain(value: Any) -> Any:
    """Make an option's value one that JSON holds, paths as POSIX has them."""
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


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
    for section in measured.given.values():
        pictures |= section.pictures
    page = out / "index.html"
    try:
        (out / "report.json").write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
        page.write_text(draw_page(report, pictures), encoding="utf-8")
        write_sheet(measured.section.rows, out / "sheet.png")
    except OSError as failure:
        raise unwritable(out, failure) from failure
    return page
