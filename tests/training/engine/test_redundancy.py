import pytest

from layert2v_training.engine.build_report import Outcome
from layert2v_training.engine.redundancy import redundant, without_repeats

FOX, FRUIT = "a red fox running through snow", "an orange fruit on a table"
AGAIN = "a red fox runs through the snow"


@pytest.mark.slow
def test_captions_that_say_the_same_are_redundant() -> None:
    repeats = redundant([FOX, FRUIT, AGAIN], 0.85)

    assert list(repeats) == [2]
    assert repeats[2][0] == 0


def kept_of(outcomes: list[Outcome], most_similar: float | None = 0.85) -> list[str]:
    return [o.name for o in without_repeats(outcomes, most_similar)[0] if not o.reasons]


@pytest.mark.slow
def test_a_captioners_repeat_is_rejected_with_what_it_repeats() -> None:
    outcomes = [Outcome(name, told=told) for name, told in (("a", FOX), ("b", FRUIT), ("c", AGAIN))]

    judged, not_judged = without_repeats(outcomes, 0.85)

    assert [bool(outcome.reasons) for outcome in judged] == [False, False, True]
    assert judged[2].reasons[0].said.startswith("repeats a: cosine of captions")
    assert not_judged == []


def test_templates_are_not_judged_and_the_report_says_so() -> None:
    outcomes = [Outcome(f"clip-{k}", captions=("a bright place", "moving")) for k in range(20)]

    judged, not_judged = without_repeats(outcomes, 0.85)

    assert judged == outcomes
    assert len(not_judged) == 1
    assert not_judged[0].startswith("20 clips: templates alone")


@pytest.mark.slow
def test_names_of_a_video_are_held_against_those_of_other_videos_only() -> None:
    first = [Outcome(f"fox-{k}", told=FOX, told_of="fox") for k in range(3)]
    other = [Outcome(f"snow-{k}", told=AGAIN, told_of="snow") for k in range(2)]

    assert kept_of([*first, *other]) == ["fox-0", "fox-1", "fox-2"]
    assert without_repeats(first, 0.85)[1] == [
        "3 clips against others of their own video, as its text names them all"
    ]


def test_repeats_are_kept_when_asked_for() -> None:
    assert kept_of([Outcome("a", told=FOX), Outcome("b", told=FOX)], None) == ["a", "b"]


@pytest.mark.slow
def test_equal_texts_are_repeats_at_a_cosine_of_one() -> None:
    assert kept_of([Outcome("a", told=FOX), Outcome("b", told=FOX)], 1.0) == ["a"]
