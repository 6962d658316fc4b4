from hypothesis import given

from layert2v_backend.json_text import from_json, to_json
from layert2v_backend.worker_protocol import Finished
from layert2v_domain.job import FinishingReport
from layert2v_domain.shot import Shot
from support.any_shots import SHOTS


@given(SHOTS)
def test_a_shot_survives_the_trip_to_json(shot: Shot) -> None:
    text = to_json(shot)

    assert from_json(Shot, text) == shot
    assert "\n" not in text


def test_a_report_of_equal_pictures_survives_the_trip_to_json() -> None:
    report = FinishingReport(float("inf"), float("inf"), 1.0, 0, 1.0, 0.0, 0.0, 0.0, 0.0, ())
    finished = Finished((), report, {"loading": 0.25})

    assert from_json(Finished, to_json(finished)) == finished
