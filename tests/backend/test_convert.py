import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layert2v_backend.checks.shots import fill_shot
from layert2v_backend.convert import requests
from layert2v_backend.errors import InvalidRequest, InvalidShot, UnknownJob
from layert2v_backend.models import find_models
from layert2v_wire.shots import shot_from_proto
from support.wire_shots import keep_layer, make_shot, write_sketch_model


@given(st.text())
def test_a_page_token_gives_its_position_back(position: str) -> None:
    token = requests.page_token_to_proto(position)

    assert requests.page_token_from_proto(token) == position


@given(st.text(min_size=1))
def test_any_other_token_is_refused_or_harmless(token: str) -> None:
    try:
        position = requests.page_token_from_proto(token)
    except InvalidRequest:
        return
    assert requests.page_token_to_proto(position) == token


def test_a_token_of_another_version_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="use next_page_token"):
        requests.page_token_from_proto(base64.urlsafe_b64encode(b"2:abc").decode())


@given(st.text())
def test_only_clean_names_are_jobs(name: str) -> None:
    for text in (name, f"jobs/{name}"):
        try:
            job_id = requests.job_id_from_name(text)
        except InvalidRequest:
            continue
        assert set(job_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_faults_of_one_kind_keep_it_and_mixed_ones_are_an_invalid_shot(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    catalogue = find_models([write_sketch_model(tmp_path_factory.mktemp("models"))])
    unknown = keep_layer(make_shot(1), 1, "jobs/none", 1)
    mixed = keep_layer(make_shot(1, num_frames=3), 1, "jobs/none", 1)

    with pytest.raises(UnknownJob, match="jobs/none"):
        fill_shot(shot_from_proto(unknown), catalogue, {})
    with pytest.raises(InvalidShot, match="and 1 more"):
        fill_shot(shot_from_proto(mixed), catalogue, {})
