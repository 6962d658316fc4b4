"""Look at every frame of every clip of a source, and name the faults with their place."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from layert2v_training.data.clip_files import ClipFiles
from layert2v_training.data.clip_footage import (
    AlphaForm,
    Footage,
    FootageFacts,
    probe,
    stream,
    stream_mattes,
)
from layert2v_training.data.finding import find_clips
from layert2v_training.data.multiplied import LooksMultiplied
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
    """The files of a good clip."""
    notes: tuple[str, ...] = ()
    """Notes on what may not be as it was meant, though it is no fault."""


def check_source(
    source: Path, target: ClipFormat | None = None, fps: Fraction | None = None
) -> Iterator[CheckedClip]:
    """Decode all of a source, clip by clip. Bad ones come with their problem.

    Clips of several frame rates are `MixedRates`, a problem of the source, reported last, unless
    `fps` is chosen. Without it one recipe would show the same motion at several speeds.
    """
    clips, bad = find_clips(source)
    yield from (CheckedClip(problem.path, None, problem) for problem in bad)
    rates: dict[Fraction, Path] = {}
    for clip in clips:
        try:
            facts, notes = check_clip(clip, target)
        except BadClip as problem:
            yield CheckedClip(clip.path, None, problem)
            continue
        if facts.fps is not None:
            rates.setdefault(facts.fps, clip.path)
        yield CheckedClip(clip.path, facts, clip=clip, notes=notes)
    if len(rates) > 1 and fps is None:
        yield CheckedClip(source, None, mixed_rates(source, rates))


def check_clip(
    clip: ClipFiles, target: ClipFormat | None = None
) -> tuple[FootageFacts, tuple[str, ...]]:
    """Decode every frame of a clip, one at a time: its facts, and notes.

    Raises:
        BadClip: The first thing that is wrong with it.
    """
    facts = probe_clip(clip, target)
    mattes = {layer.matte for layer in clip.layers}
    own_alpha = {layer.colour for layer in clip.layers if layer.matte is None}
    notes = []
    for footage in clip.footage():
        multiplied = LooksMultiplied()
        decode = stream_mattes if footage in mattes else stream
        for frame in decode(footage, range(facts.num_frames)):
            if footage in own_alpha and frame.shape[-1] < 4:
                raise BadClip(footage.path, "has no alpha: render it with alpha, or name a `matte`")
            if footage in own_alpha:
                multiplied.look(frame)
        if multiplied.so and not footage.is_premultiplied and not _says_form(footage):
            notes.append(
                f"{footage.label} has no colour above its alpha, as if colours were multiplied by "
                f"it. It is read as straight. If that is wrong, write `premultiplied: true` "
                f"beside its caption (clip.yaml)"
            )
    return facts, tuple(notes)


def _says_form(footage: Footage) -> bool:
    return probe(footage).alpha_form is AlphaForm.SAID


def lossy_fit(facts: FootageFacts, target: ClipFormat | None, fps: Fraction | None) -> str:
    """Say where training must invent pixels or frames of a good clip, or return an empty text.

    Args:
        facts: Facts of the clip.
        target: Format that it is made to; None: its own size.
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
