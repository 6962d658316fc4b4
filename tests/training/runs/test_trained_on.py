from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layert2v_training.runs.model_export import Training, model_card
from layert2v_training.runs.recipes import debug, wan2_1_1_3b
from layert2v_training.runs.run_binding import bind
from layert2v_training.runs.trained_on import trained_in, trained_on


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"--data": None}, "composed scenes of emoji over photographs"),
        (
            {"--data": "crabs (v2) (abc123)", "num_clips": 48, "--init": "tiny (def456)"},
            "48 clips from 'crabs (v2)', starting from tiny",
        ),
        (
            {"--data": "crabs (abc123) and 12 composed", "num_clips": 1},
            "1 clip from 'crabs' and 12 composed scenes of emoji over photographs",
        ),
    ],
)
def test_a_run_says_what_it_learned_from(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    bind(tmp_path / "run", values)

    assert trained_on(tmp_path / "run", tmp_path / "before") == said


def test_a_run_that_went_on_from_another_names_both(tmp_path: Path) -> None:
    bind(tmp_path / "before", {"--data": None, "--init": None})
    bind(
        tmp_path / "run",
        {"--data": "crabs (abc)", "num_clips": 9, "stage before": "run-joint (def)"},
    )

    assert trained_on(tmp_path / "run", tmp_path / "before") == (
        "composed scenes of emoji over photographs, then on 9 clips from 'crabs'"
    )
    assert trained_on(tmp_path / "nothing", tmp_path / "before") == ""


def test_the_card_says_what_the_model_was_trained_on() -> None:
    training = Training("9 clips of crabs", "bfloat16")
    small = model_card(debug(), training)
    wan = model_card(wan2_1_1_3b(), replace(training, precision=""))

    assert small["description"] == (
        "Small LayerT2V model, trained on 9 clips of crabs, computed in bfloat16"
    )
    assert small["trained_in"] == "bfloat16"
    assert "trained_in" not in wan
    assert wan["description"] == "LayerT2V on Wan2.1, trained on 9 clips of crabs"


def test_the_precisions_of_a_run_and_of_the_stage_before_it_are_said_once_each(
    tmp_path: Path,
) -> None:
    half = {"multi_foreground.loop.autocast": "bfloat16", "stage before": "run-joint (def)"}
    bind(tmp_path / "before", {"joint.loop.autocast": None})
    bind(tmp_path / "run", half)
    bind(tmp_path / "alone", {**half, "stage before": None})

    assert trained_in(tmp_path / "run", tmp_path / "before") == "float32, then bfloat16"
    assert trained_in(tmp_path / "run", tmp_path / "run") == "bfloat16"
    assert trained_in(tmp_path / "alone", tmp_path / "before") == "bfloat16"
    assert trained_in(tmp_path / "none", tmp_path / "before") == ""
