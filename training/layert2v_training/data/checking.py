"""Look at every frame of every clip of a source, and say what is wrong where."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from layert2v_training.data.clip_files import ClipFiles
from layert2v_training.data.finding import find_clips
from layert2v_training.data.footage import FootageFacts, stream, stream_mattes
from layert2v_training.data.problems import BadClip, mixed_rates
from layert2v_training.data.sources import ClipFormat, probe_clip


@dataclass(frozen=True)
class CheckedClip:
    """A clip and what was found."""

    path: Path
    facts: FootageFacts | None
    """None for a bad clip."""
    problem: BadClip | None = None
    clip: ClipFiles | None = None
    """Where the layers of a good clip are."""


def check_source(
    source: Path, target: ClipFormat | None = None, fps: Fraction | None = None
) -> Iterator[CheckedClip]:
    """Decode all of a source, clip by clip; bad ones come with their problem.

    Clips of several frame rates are `MixedRates`, a problem of the source, reported last, unless
    `fps` is chosen: without it one recipe would show the same motion at several speeds.
    """
    clips, bad = find_clips(source)
    yield from (CheckedClip(problem.path, None, problem) for problem in bad)
    rates: dict[Fraction, Path] = {}
    for clip in clips:
        try:
            facts = check_clip(clip, target)
        except BadClip as problem:
            yield CheckedClip(clip.path, None, problem)
            continue
        if facts.fps is not None:
            rates.setdefault(facts.fps, clip.path)
        yield CheckedClip(clip.path, facts, clip=clip)
    if len(rates) > 1 and fps is None:
        yield CheckedClip(source, None, mixed_rates(source, rates))


def check_clip(clip: ClipFiles, target: ClipFormat | None = None) -> FootageFacts:
    """Decode every frame of a clip, one at a time.

    Raises:
        BadClip: The first thing that is wrong with it.
    """
    facts = probe_clip(clip, target)
    mattes = {layer.matte for layer in clip.layers}
    own_alpha = {layer.colour for layer in clip.layers if layer.matte is None}
    for footage in clip.footage():
        decode = stream_mattes if footage in mattes else stream
        for frame in decode(footage, range(facts.num_frames)):
            if footage in own_alpha and frame.shape[-1] < 4:
                raise BadClip(footage.path, "has no alpha: render it with alpha, or name a `matte`")
    return facts


def lossy_fit(facts: FootageFacts, target: ClipFormat | None, fps: Fraction | None) -> str:
    """Say where training has to make up pixels or frames of a good clip; empty: nowhere.

    Args:
        facts: Of the clip.
        target: What it is made to; None: its own size.
        fps: Frames per second that it is made to; None: its own.
    """
    said = []
    if target and (facts.width < target.width or facts.height < target.height):
        said.append(
            f"is enlarged, {facts.width}x{facts.height} footage covers "
            f"{target.width}x{target.height}"
        )
    if fps and facts.fps and facts.fps < fps:
        said.append(f"repeats frames, {float(facts.fps):.5g} fps footage gives {float(fps):.5g}")
    return "; ".join(said)
