"""Faults underneath a call are told to its caller without a path and without Python's words."""

import errno
import os
from pathlib import Path
from typing import Any

import grpc
import pytest

from layert2v.v1 import artifact_pb2, job_pb2
from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.errors import words_of
from layert2v_backend.scheduler import Scheduler
from layert2v_backend.settings import Settings
from support.running_backend import Client
from support.waiting import HANG_S
from support.wire_shots import make_shot
from support.wire_status import Refusal, refusal_of


def leaks_nothing(refused: Refusal, settings: Settings) -> None:
    for leak in (str(settings.state), "Errno", "Error", "pydantic", "Traceback", "object at"):
        assert leak not in refused.message


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files", "/srv/x"), "RESOURCE_EXHAUSTED", "too many"),
        (OSError(errno.ENOSPC, "No space left", "/srv/x"), "RESOURCE_EXHAUSTED", "free some"),
        (OSError(errno.EIO, "Input/output error", "/srv/x"), "INTERNAL", "reports an error"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/srv/x"), "INTERNAL", "a folder"),
        (ValueError("1 validation error for pydantic Shot /srv/x"), "INTERNAL", "see its log"),
        (KeyError("/srv/x"), "INTERNAL", "see its log"),
    ],
)
@pytest.mark.parametrize("method", ["GetJob", "WatchJob"])
def test_a_status_never_carries_what_python_says(
    client: Client,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    failure: Exception,
    code: str,
    words: str,
) -> None:
    job = client.create(make_shot())

    async def fail(self: Scheduler, job_id: str) -> None:
        raise failure

    monkeypatch.setattr(Scheduler, "get", fail)
    refused = refusal_of(client.get if method == "GetJob" else client.watch, job.name)

    assert refused.code is grpc.StatusCode[code]
    assert words in refused.message
    assert "/srv/x" not in refused.message
    leaks_nothing(refused, settings)


def stored_file(client: Client, settings: Settings) -> tuple[str, Path]:
    """Name and place of one file of a finished take."""
    job = client.wait(client.create(make_shot(1)).name)
    listed = client.artifacts.ListArtifacts(artifact_pb2.ListArtifactsRequest(parent=job.name))
    artifact = listed.artifacts[0]
    return artifact.name, ArtifactStore(settings.state / "artifacts").path(artifact.sha256)


def test_a_folder_in_the_place_of_a_file_is_data_loss_without_its_path(
    client: Client, settings: Settings
) -> None:
    name, path = stored_file(client, settings)
    path.unlink()
    path.mkdir()

    refused = refusal_of(
        client.artifacts.ReadArtifact, artifact_pb2.ReadArtifactRequest(name=name), timeout=HANG_S
    )

    assert refused.code is grpc.StatusCode.DATA_LOSS
    assert "generate the take again" in refused.message
    leaks_nothing(refused, settings)


def test_a_file_that_cannot_be_opened_for_lack_of_handles_is_told_as_passing(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = stored_file(client, settings)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/srv/x")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        refused = refusal_of(
            client.artifacts.ReadArtifact,
            artifact_pb2.ReadArtifactRequest(name=name),
            timeout=HANG_S,
        )

    assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    leaks_nothing(refused, settings)


@pytest.mark.parametrize(
    "ask",
    [
        lambda client, name: client.create(make_shot(model=name)),
        lambda client, name: client.get(name),
        lambda client, name: client.create(make_shot(), name),
        lambda client, name: client.jobs.ListJobs(job_pb2.ListJobsRequest(page_token=name)),
    ],
)
def test_a_name_is_repeated_cut_to_80_characters(client: Client, ask: Any) -> None:
    refused = refusal_of(ask, client, "\u202ename" * 200)

    assert refused.message.count("name") <= 20
    assert "\u202e" not in refused.message


def test_every_fault_of_the_system_is_worded_without_a_path() -> None:
    for code in errno.errorcode:
        words = words_of(OSError(code, os.strerror(code), "/srv/x"))
        assert words
        assert "/srv/x" not in words
    assert words_of(OSError("no number")) == "the system reports an error"
