"""Raw video to a folder of clips, `clips.jsonl` and `report.html`. It goes on where it stopped.

A shot's outcome is kept in `shots/`, under a digest of the video and the recipe. A shot that has
one is not worked on again. Clips of other videos, built by earlier calls, stay. Redundancy is
judged at the end, over all. Repeats go to `repeats/`.
"""

import glob
import hashlib
import json
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
from tqdm import tqdm

from layert2v_model.files.durable import publish_file
from layert2v_training.data.problems import BadClip, BadClips
from layert2v_training.engine.build_report import Outcome, write_report, write_strip
from layert2v_training.engine.cuts import CameraShot, name_of, read_camera_shots
from layert2v_training.engine.earlier import (
    digest_of,
    order_of,
    read_outcomes,
    shot_files,
    video_of,
)
from layert2v_training.engine.layers import candidates, reasons_against
from layert2v_training.engine.reasons import Reason, ShotRejected
from layert2v_training.engine.recipe import EngineRecipe
from layert2v_training.engine.redundancy import REPEATS, without_repeats
from layert2v_training.engine.sidecars import read_sidecar
from layert2v_training.engine.tools import (
    check_tools,
    load_captioner,
    load_matter,
    load_painter,
)
from layert2v_training.engine.videos import find_videos, reason_against
from layert2v_training.engine.writing import write_clip


@dataclass(frozen=True)
class BuildResult:
    """The result of a build."""

    num_accepted: int
    num_rejected: int
    report: Path
    reasons: dict[str, int]
    """How many were rejected for each kind of reason. One may have several."""


def build_clips(
    places: list[Path],
    out: Path,
    recipe: EngineRecipe,
    processes: int = 1,
    *,
    skip_bad: bool = False,
) -> BuildResult:
    """Build clips from movies, `processes` shots at once.

    Args:
        places: Movies and folders of movies.
        out: Folder to fill. Clips of earlier calls stay, and are not made again.
        recipe: Recipe of the clips.
        processes: Number of processes that work.
        skip_bad: Leave movies out that cannot be used. The report names them.

    Raises:
        FileNotFoundError: A place holds no movie; whatever `skip_bad` says.
        BadClips: Movies are cut short or damaged, and may not be left out or are all there are.
        ToolUnavailable, AssetsUnavailable: A chosen tool cannot be loaded.
    """
    videos = find_videos(places)
    check_tools(recipe)
    with _workers(processes) as workers:
        bad = _check(videos, workers, skip_bad=skip_bad)
        outcomes = [
            Outcome(name_of(video), (Reason("bad movie", reason),)) for video, reason in bad.items()
        ]
        (out / "shots").mkdir(parents=True, exist_ok=True)
        good = [video for video in videos if video not in bad]
        shots = _shots_of(good, recipe)
        outcomes += _build_shots(shots, out, recipe, workers, 2 * processes)
    _forget_old_shots(out, {name_of(video): _digest(video, recipe) for video in good})
    outcomes = _with_earlier(out, [name_of(video) for video in videos], outcomes)
    outcomes, not_judged = without_repeats(outcomes, recipe.most_similar)
    _put_repeats_aside(out, outcomes)
    accepted = [outcome for outcome in outcomes if not outcome.reasons]
    lines = [json.dumps({"clip": f"clips/{outcome.name}"}) + "\n" for outcome in accepted]
    (out / "clips.jsonl").write_text("".join(lines))
    write_report(out / "report.html", outcomes, not_judged)
    reasons = Counter(reason.kind for outcome in outcomes for reason in outcome.reasons)
    num_rejected = len(outcomes) - len(accepted)
    return BuildResult(len(accepted), num_rejected, out / "report.html", dict(reasons))


@contextmanager
def _workers(processes: int) -> Iterator[Executor | None]:
    """Start one pool for all videos; None where this process does the work."""
    if processes == 1:
        yield None
        return
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawned) as pool:
        yield pool


def _check(videos: list[Path], workers: Executor | None, *, skip_bad: bool) -> dict[Path, str]:
    """Map the movies that cannot be used to the reason."""
    reasons = (workers.map if workers else map)(reason_against, videos)
    bad = {video: why for video, why in zip(videos, reasons, strict=True) if why is not None}
    if bad and (not skip_bad or len(bad) == len(videos)):
        raise BadClips([BadClip(video, reason) for video, reason in bad.items()])
    return bad


def _shots_of(videos: list[Path], recipe: EngineRecipe) -> Iterator[tuple[Path, CameraShot]]:
    for video in tqdm(videos, desc="videos", mininterval=5, ascii=True):
        for shot in read_camera_shots(video, recipe.fps, recipe.height, recipe.most_frames):
            yield video, shot


def _build_shots(
    shots: Iterator[tuple[Path, CameraShot]],
    out: Path,
    recipe: EngineRecipe,
    workers: Executor | None,
    most_held: int,
) -> list[Outcome]:
    """Work on shots of any video at once; `most_held` bounds the shots whose frames are held."""
    if workers is None:
        return [o for video, shot in shots for o in _outcomes(shot, video, out, recipe)]
    futures: list[Future[list[Outcome]]] = []
    pending: set[Future[list[Outcome]]] = set()
    for video, shot in shots:
        if len(pending) >= most_held:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()  # a failure ends the build now, not after the last video
        futures.append(workers.submit(_outcomes, shot, video, out, recipe))
        pending.add(futures[-1])
    return [outcome for future in futures for outcome in future.result()]


def _outcomes(shot: CameraShot, video: Path, out: Path, recipe: EngineRecipe) -> list[Outcome]:
    """Give a shot's outcomes, from disk where they are there."""
    path = out / "shots" / f"{shot.name}-{_digest(video, recipe)}.json"
    if path.is_file():
        outcomes = read_outcomes(path)
        if all(outcome.reasons or _find_clip(out, outcome.name) for outcome in outcomes):
            return outcomes
    _forget(shot.name, out)
    outcomes = _work(shot, video, out, recipe)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps([asdict(outcome) for outcome in outcomes]))
    publish_file(partial, path)
    return outcomes


def _digest(video: Path, recipe: EngineRecipe) -> str:
    """Tell a video, its names and a recipe from others."""
    stat = video.stat()
    names = repr(read_sidecar(video))
    judged_later = replace(recipe, most_similar=None)
    facts = repr((str(video.resolve()), stat.st_size, stat.st_mtime_ns, names, judged_later))
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _forget_old_shots(out: Path, digests: Mapping[str, str]) -> None:
    """Remove shots of this call's videos that its recipe does not cut out of them."""
    for path in shot_files(out):
        if digests.get(video_of(path), digest_of(path)) != digest_of(path):
            _forget(path.stem.rsplit("-", 1)[0], out)


def _with_earlier(out: Path, videos: list[str], outcomes: list[Outcome]) -> list[Outcome]:
    """Add the outcomes of other videos, from earlier calls, in the order in which all came."""
    by_video: dict[str, list[Outcome]] = {video: [] for video in order_of(out, videos)}
    for path in shot_files(out):
        if video_of(path) not in videos:
            kept = (o for o in read_outcomes(path) if o.reasons or _find_clip(out, o.name))
            by_video[video_of(path)].extend(kept)
    for outcome in outcomes:
        of = max((v for v in videos if f"{outcome.name}-".startswith(f"{v}-")), key=len)
        by_video[of].append(outcome)
    return [outcome for ours in by_video.values() for outcome in ours]


def _find_clip(out: Path, name: str) -> Path | None:
    """Give an accepted clip's folder, among the clips or put aside as a repeat."""
    places = (out / "clips" / name, out / "repeats" / name)
    return next((place for place in places if place.is_dir()), None)


def _forget(shot: str, out: Path) -> None:
    """Remove what another recipe, or a call that was stopped, made of a shot, by its name."""
    pattern = f"{glob.escape(shot)}-*"
    for path in (*(out / "clips").glob(pattern), *(out / "repeats").glob(pattern)):
        shutil.rmtree(path)
    for folder in ("shots", "pictures"):
        for path in (out / folder).glob(pattern):
            path.unlink()


def _put_repeats_aside(out: Path, outcomes: list[Outcome]) -> None:
    """Keep repeats in `repeats/`, and what is no repeat any more in `clips/`."""
    for outcome in outcomes:
        is_repeat = REPEATS in [reason.kind for reason in outcome.reasons]
        right = out / ("repeats" if is_repeat else "clips") / outcome.name
        there = _find_clip(out, outcome.name)
        if there is not None and there != right:
            right.parent.mkdir(exist_ok=True)
            there.replace(right)


def _work(shot: CameraShot, video: Path, out: Path, recipe: EngineRecipe) -> list[Outcome]:
    cv2.setNumThreads(1)
    outcomes = []
    try:
        matter, captioner = load_matter(recipe), load_captioner(recipe, video)
        painter = load_painter(recipe)
        for made in candidates(shot, recipe, matter, captioner, painter):
            captions = (made.clip.background_caption, *(f.caption for f in made.clip.foregrounds))
            reasons = tuple(reasons_against(made.figures, recipe))
            write_strip(out / "pictures" / f"{made.name}.jpg", made.clip)
            if not reasons:
                clip = replace(made.clip, full_caption=read_sidecar(video).caption)
                write_clip(out / "clips" / made.name, clip, shot.fps)
            telling = captioner.telling(captions)
            of = name_of(video) if telling.of_video else ""
            outcomes.append(Outcome(made.name, reasons, captions, made.figures, telling.text, of))
    except ShotRejected as rejection:
        outcomes.append(Outcome(shot.name, (rejection.reason,)))
    return outcomes
