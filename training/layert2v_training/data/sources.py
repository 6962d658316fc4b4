"""Clips from files at a recipe's size and frame count.

Deterministic for (seed, index). Index i takes clip i modulo their number, at a start in time drawn
for i. So a source gives as many clips as are asked for.
"""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

from layert2v_media.kinds import listed
from layert2v_training.data.clip_files import ClipFiles, ClipLayer
from layert2v_training.data.clip_footage import Footage, FootageFacts, probe, read, read_matte
from layert2v_training.data.clips import ClipForeground, LayeredClip, Pixels, flatten, straight
from layert2v_training.data.finding import find_clips
from layert2v_training.data.fit import FrameTimes, choose_frames, cover, frames_needed
from layert2v_training.data.flat_fill import straight_over_fill
from layert2v_training.data.problems import MISSING, BadClip, BadClips, mixed_rates, reading

_LOGGER = logging.getLogger(__name__)
_NEXT = "`layert2v-data check` decodes all clips and names the bad, --skip-bad leaves them out"


@dataclass(frozen=True)
class ClipFormat:
    """The size, length and rate to which clips are made."""

    width: int
    height: int
    """Pixels."""
    num_frames: int
    fps: Fraction | None = None
    """Frames per second; None: each clip's own rate. Clips without one are used frame by frame."""


class FileClips:
    """Clips of a folder or JSONL file, read when asked for."""

    def __init__(
        self, clips: Sequence[ClipFiles], target: ClipFormat, seed: int, *, skip_bad: bool
    ) -> None:
        self.clips, self.target, self.seed, self.skip_bad = tuple(clips), target, seed, skip_bad

    @property
    def key(self) -> str:
        """Changes with the files (path, bytes, time of change), the captions and the format."""
        lines = [repr((astuple(self.target), self.seed))]
        for clip in self.clips:
            lines.append(repr(clip))
            for footage in clip.footage():
                with reading(footage.path):
                    files = listed(footage.path) if footage.path.is_dir() else [footage.path]
                stats = [(file.name, file.stat()) for file in files]
                lines += [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def clip(self, index: int) -> LayeredClip:
        """Read clip `index`, any integer from 0. A bad one gives way to the next if so chosen.

        Raises:
            BadClip: It cannot be read, and bad clips are not skipped, or all are bad.
        """
        for attempt in range(len(self.clips)):
            chosen = self.clips[(index + attempt) % len(self.clips)]
            try:
                return read_clip(chosen, self.target, (self.seed, index))
            except BadClip as problem:
                if not self.skip_bad or attempt + 1 == len(self.clips):
                    raise BadClip(problem.path, f"{problem.reason}; {_NEXT}") from problem
                _LOGGER.warning("skipping %s", problem)
        raise AssertionError("a source has at least one clip")


def clips_from(
    source: Path,
    size: tuple[int, int],
    num_frames: int,
    *,
    fps: Fraction | None = None,
    seed: int = 0,
    skip_bad: bool = False,
) -> FileClips:
    """Open a folder or JSONL file of clips for training.

    Sizes, lengths and rates of all clips are checked here. Pixels are checked when they are read,
    because checking them here would take as long as reading them. Bad clips are then left out, or
    refused with the file's name.

    Args:
        source: As `finding.find_clips` takes it.
        size: Width and height in pixels.
        num_frames: Frames of each clip.
        fps: Rate to choose frames at; None: each clip's own, which must be one. Clips that do not
            say their rate are used frame by frame, with a warning.
        seed: Seed of the starts in time.
        skip_bad: Leave bad clips out, with a warning, instead of refusing the source.

    Raises:
        BadClip: The source is missing.
        BadClips: Clips are bad and may not be skipped, or none is good. Rates differ without `fps`.
    """
    target = ClipFormat(*size, num_frames, fps)
    if not source.exists():
        raise BadClip(source, MISSING)
    clips, bad = find_clips(source)
    good: list[tuple[ClipFiles, Fraction | None]] = []
    for clip in clips:
        try:
            good.append((clip, probe_clip(clip, target).fps))
        except BadClip as problem:
            bad.append(problem)
    if bad and (not skip_bad or not good):
        raise BadClips(bad)
    _check_rates(source, good, fps)
    for skipped in bad:
        _LOGGER.warning("skipping %s", skipped)
    return FileClips([clip for clip, _ in good], target, seed, skip_bad=skip_bad)


def _check_rates(
    source: Path, rates: Sequence[tuple[ClipFiles, Fraction | None]], fps: Fraction | None
) -> None:
    files = {rate: clip.path for clip, rate in rates if rate is not None}
    if len(files) > 1 and fps is None:
        raise BadClips([mixed_rates(source, files)])
    silent = [clip.path.name for clip, rate in rates if rate is None]
    if silent and fps is not None:
        _tell_silent(source, len(silent), silent[0], fps)


@cache  # a run opens its clips once for each shape
def _tell_silent(source: Path, count: int, first: str, fps: Fraction) -> None:
    _LOGGER.warning(
        "%d of the clips in %s, such as %s, do not say their frame rate. They are used frame by "
        "frame, at %.5g fps. If that is wrong, add a line such as `fps: 24` to their text",
        count, source, first, float(fps),
    )  # fmt: skip


def probe_clip(clip: ClipFiles, target: ClipFormat | None = None) -> FootageFacts:
    """Compare the layers of a clip with each other, and its length with a format.

    Raises:
        BadClip: Layers differ in size, length or rate, the clip is too short, or a foreground has
            no colour.
    """
    if clip.full is None and any(layer.colour is None for layer in clip.layers):
        raise BadClip(clip.path, "has a matte without colour, and no full video to take it from; "
                                 "name one of them")  # fmt: skip
    facts = [(footage, probe(footage)) for footage in clip.footage()]
    first, agreed = facts[0]
    for footage, found in facts[1:]:
        for what in ("width", "height", "num_frames"):
            one, other = getattr(found, what), getattr(agreed, what)
            if one != other:
                raise BadClip(footage.path, f"{what} is {one}, but {other} in {first.label}")
    rates = {found.fps for _, found in facts if found.fps}
    times = _agreed_times(facts)
    if len(rates) > 1 and times is None:
        said = " and ".join(f"{float(rate):.5g}" for rate in sorted(rates))
        raise BadClip(clip.path, f"its layers have several frame rates: {said}")
    fps = next((found.fps for _, found in facts if found.times), next(iter(rates), clip.fps))
    if target is not None:
        _check_length(clip, FrameTimes(agreed.num_frames, fps, times), target)
    return FootageFacts(agreed.width, agreed.height, agreed.num_frames, fps, times)


def _agreed_times(facts: Sequence[tuple[Footage, FootageFacts]]) -> tuple[Fraction, ...] | None:
    """Give the times of a clip whose rate varies. Its movies show each frame at about one time.

    Raises:
        BadClip: One shows a frame at another time, by over half the mean distance of frames.
    """
    varying = next(((footage, found) for footage, found in facts if found.times), None)
    if varying is None:
        return None
    footage, first = varying
    assert first.times is not None
    assert first.fps is not None
    for other, found in facts:
        if found.fps is None:
            continue
        times = found.times or [k / found.fps for k in range(found.num_frames)]
        for k, (one, two) in enumerate(zip(first.times, times, strict=True)):
            if abs(one - two) > 1 / first.fps / 2:
                raise BadClip(
                    other.path,
                    f"shows frame {k} at {float(two):.3f} s, but {footage.label} at "
                    f"{float(one):.3f} s: export all layers with the same times",
                )
    return first.times


def _check_length(clip: ClipFiles, timing: FrameTimes, target: ClipFormat) -> None:
    if timing.num_starts(target.num_frames, target.fps) > 0:
        return
    found, fps = timing.num_frames, timing.fps
    at = wanted = ""
    needed = frames_needed(target.num_frames, fps, target.fps)
    if fps and target.fps:
        at = f" at {float(fps):.5g} fps" + (" on average" if timing.times else "")
        wanted = f" for {target.num_frames} at {float(target.fps):.5g} fps"
    raise BadClip(
        clip.path,
        f"is too short: {found} frames{at}, {needed} are needed{wanted}; "
        f"use longer footage or fewer frames",
    )


def read_clip(clip: ClipFiles, target: ClipFormat, seed: tuple[int, ...]) -> LayeredClip:
    """Read a clip's frames from a start drawn with `seed`, at the target's size.

    Raises:
        BadClip: Something of it cannot be read or does not fit.
    """
    facts = probe_clip(clip, target)
    rng = np.random.default_rng(seed)
    timing = FrameTimes(facts.num_frames, facts.fps, facts.times)
    indices = choose_frames(rng, timing, target.num_frames, target.fps)
    return read_frames(clip, indices, (target.width, target.height))


def read_frames(clip: ClipFiles, indices: Sequence[int], size: tuple[int, int]) -> LayeredClip:
    """Read some frames of a clip that was probed, at a width and height.

    Raises:
        BadClip: Something of it cannot be read or does not fit.
    """

    def fitted(pixels: Pixels) -> Pixels:
        return cover(pixels, *size)

    background = fitted(_rgb(clip.background, indices))
    full = None if clip.full is None else _rgb(clip.full, indices)
    layers = []
    for files in clip.layers:
        colour, alpha_THW = _colour_and_matte(files, full, indices)
        alpha_THWC = alpha_THW[..., None]
        premultiplied = fitted(np.concatenate([colour * alpha_THWC, alpha_THWC], -1))
        layers.append(_foreground(premultiplied, files.caption))
    whole = flatten(background, layers) if full is None else fitted(full)
    return LayeredClip(whole, background, clip.background_caption, tuple(layers), clip.full_caption)


def _rgb(footage: Footage, indices: Sequence[int]) -> Pixels:
    return read(footage, indices)[..., :3]


def _colour_and_matte(
    files: ClipLayer, full: Pixels | None, indices: Sequence[int]
) -> tuple[Pixels, Pixels]:
    """Colour (T, H, W, 3), straight, and alpha (T, H, W) of a foreground at its own size."""
    colour = full if files.colour is None else read(files.colour, indices)
    assert colour is not None, "probe_clip asks for a full video"
    if files.matte is not None:
        rgb, alpha = colour[..., :3], read_matte(files.matte, indices)
        is_over_fill = files.is_over_fill and colour.shape[-1] < 4
        return (straight_over_fill(rgb, alpha) if is_over_fill else rgb), alpha
    if colour.shape[-1] < 4:
        assert files.colour is not None
        raise BadClip(files.colour.path, "has no alpha: render it with alpha, or name a `matte`")
    return colour[..., :3], colour[..., 3]


def _foreground(premultiplied_THWC: Pixels, caption: str) -> ClipForeground:
    rgb_THWC = np.stack([straight(frame) for frame in premultiplied_THWC])
    return ClipForeground(rgb_THWC, premultiplied_THWC[..., 3], caption)
