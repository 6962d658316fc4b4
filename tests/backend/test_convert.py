import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layert2v_backend.convert import requests
from layert2v_backend.errors import InvalidRequest


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
