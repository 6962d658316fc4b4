from dataclasses import replace
from pathlib import Path

import pytest

from layert2v_backend.checks.kept_layers import kept_job_ids
from layert2v_backend.checks.shots import fill_shot
from layert2v_backend.errors import InvalidShot, UnknownJob
from layert2v_backend.jobs import Job
from layert2v_backend.models import Catalogue, find_models
from layert2v_domain.job import JobState
from layert2v_domain.shot import KeptLayer, LayerRole, LayerSpec, Shot, derive_seed
from support.wire_shots import write_sketch_model

BACKGROUND = LayerSpec(LayerRole.BACKGROUND, "a meadow", seed=3)
ASKED = Shot((BACKGROUND, LayerSpec(LayerRole.FOREGROUND, "a fox")), model="sketch", seed=7)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return find_models([write_sketch_model(tmp_path)])


def keeping(job: str, shot: Shot = ASKED) -> Shot:
    fox = replace(shot.layers[1], kept=KeptLayer(job, 1))
    return replace(shot, layers=(shot.layers[0], fox))


def test_a_filled_shot_leaves_nothing_to_the_models_defaults(catalogue: Catalogue) -> None:
    filled = fill_shot(ASKED, catalogue, {})

    assert filled.is_filled
    assert (filled.width, filled.height, filled.num_frames) == (64, 48, 5)
    assert [layer.seed for layer in filled.layers] == [3, derive_seed(7, 1)]
    assert fill_shot(filled, catalogue, {}) == filled


def test_faults_of_one_kind_keep_it_and_mixed_ones_are_an_invalid_shot(
    catalogue: Catalogue,
) -> None:
    unknown = keeping("jobs/none")

    with pytest.raises(UnknownJob, match="jobs/none"):
        fill_shot(unknown, catalogue, {})
    with pytest.raises(InvalidShot, match="and 1 more"):
        fill_shot(replace(unknown, num_frames=3), catalogue, {})


def test_a_kept_layer_of_an_unknown_role_is_refused_for_its_role_alone(
    catalogue: Catalogue,
) -> None:
    made = Job("made", fill_shot(ASKED, catalogue, {}), JobState.SUCCEEDED, 1, 2, 0.0, 0.0)
    asked = keeping("jobs/made")
    odd = replace(asked.layers[1], role=LayerRole.UNKNOWN)

    with pytest.raises(InvalidShot) as refused:
        fill_shot(replace(asked, layers=(*asked.layers, odd)), catalogue, {"made": made})

    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["shot.layers[2].role"]


def test_only_jobs_of_clean_names_are_looked_up() -> None:
    assert kept_job_ids(keeping("jobs/4f2a")) == {"4f2a"}
    assert kept_job_ids(keeping("jobs/../x")) == kept_job_ids(keeping("4f2a")) == set()
