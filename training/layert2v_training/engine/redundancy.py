"""Clips whose text repeats another's, by the cosine of their MiniLM vectors.

Only text with content is judged. Templates say the same of every clip: two of twenty clips without
names were kept when they were judged too.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from layert2v_training.engine.build_report import Outcome
from layert2v_training.engine.reasons import Reason

REPEATS = "repeats another"
"""Kind of the reason against a repeat."""


@dataclass(frozen=True)
class Telling:
    """The part of a clip's captions that tells it from others."""

    text: str = ""
    """Empty: nothing does."""
    of_video: bool = False
    """It was said of the whole video, so that its clips are not held against each other."""


def without_repeats(
    outcomes: Sequence[Outcome], most_similar: float | None
) -> tuple[list[Outcome], list[str]]:
    """Reject accepted clips whose text repeats an earlier one's.

    Args:
        outcomes: Outcomes in order: the first of its kind stays.
        most_similar: Cosine from which a text is redundant; None: nothing is judged.

    Returns:
        The outcomes, and what was not judged and why.
    """
    judged = list(outcomes)
    accepted = [index for index, outcome in enumerate(outcomes) if not outcome.reasons]
    if most_similar is None:
        return judged, [f"{len(accepted)} clips: all repeats are kept, as asked"] * bool(accepted)
    telling = [index for index in accepted if outcomes[index].told]
    units: dict[tuple[str, str], int] = {}
    """Texts judged as one, to the first clip of each."""
    for index in telling:
        units.setdefault(_unit(outcomes[index]), index)
    firsts = list(units.values())
    repeats = redundant([outcomes[index].told for index in firsts], most_similar) if firsts else {}
    reasons = {
        _unit(outcomes[firsts[repeat]]):
            Reason(
                REPEATS, f"repeats {outcomes[firsts[first]].name}: cosine of captions {cosine:.2f}"
            )
        for repeat, (first, cosine) in repeats.items()
    }  # fmt: skip
    for index in telling:
        reason = reasons.get(_unit(outcomes[index]))
        if reason is not None:
            judged[index] = replace(outcomes[index], reasons=(reason,))
    return judged, _not_judged([outcomes[index] for index in accepted])


def redundant(captions: Sequence[str], most_similar: float) -> dict[int, tuple[int, float]]:
    """Map each redundant caption to the earlier kept one it repeats, and their cosine.

    Captions are looked at in order: the first of its kind stays. A caption is redundant from
    `most_similar` on. At 1 only exact repeats are.
    """
    import torch  # no worker needs what is imported here

    from layert2v_training.cache.captions import CaptionStates
    from layert2v_training.runs.model_export import text_encoder_folder

    states = CaptionStates.read(text_encoder_folder())
    states.encode(captions)
    kept: list[int] = []
    repeats: dict[int, tuple[int, float]] = {}
    vectors = [torch.nn.functional.normalize(states[c].mean(0), dim=0) for c in captions]
    for index, vector in enumerate(vectors):
        cosines = [float(vectors[other] @ vector) for other in kept]
        nearest = max(range(len(kept)), key=cosines.__getitem__, default=None)
        if nearest is not None and cosines[nearest] >= most_similar - 1e-5:
            repeats[index] = kept[nearest], cosines[nearest]
        else:
            kept.append(index)
    return repeats


def _unit(outcome: Outcome) -> tuple[str, str]:
    """Give what is judged as one: a clip, or all clips of a video whose text is the video's."""
    return outcome.told_of or outcome.name, outcome.told


def _not_judged(accepted: Sequence[Outcome]) -> list[str]:
    silent = sum(not outcome.told for outcome in accepted)
    videos = Counter(outcome.told_of for outcome in accepted if outcome.told and outcome.told_of)
    alike = sum(count for count in videos.values() if count > 1)
    said = {
        f"{silent} clips: templates alone caption them; name what is seen in a text beside the "
        "video, or choose a captioner": silent,
        f"{alike} clips against others of their own video, as its text names them all": alike,
    }
    return [reason for reason, count in said.items() if count]
