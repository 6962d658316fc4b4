"""Values of another version's backend, or of a broken one, become errors with a remedy."""

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from layert2v.v1 import artifact_pb2, job_pb2
from layert2v_client import VersionMismatch
from layert2v_client.convert import artifact_from_proto, event_from_proto, job_from_proto

ENDED: Any = 99
FAR = Timestamp(seconds=10**15)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (job_from_proto, job_pb2.Job(state=ENDED)),
        (job_from_proto, job_pb2.Job()),
        (job_from_proto, job_pb2.Job(state=job_pb2.JOB_STATE_QUEUED, create_time=FAR)),
        (event_from_proto, job_pb2.JobEvent(state=ENDED)),
        (event_from_proto, job_pb2.JobEvent(message="hello", time=FAR)),
    ],
)
def test_what_this_version_cannot_read_is_a_mismatch_of_versions(
    read: Callable[[Any], object], message: object
) -> None:
    with pytest.raises(VersionMismatch, match="Install the same version"):
        read(message)


@pytest.mark.parametrize("field", ["kind", "format"])
def test_files_that_only_a_newer_version_knows_are_left_out(field: str) -> None:
    known = artifact_pb2.Artifact(
        kind=artifact_pb2.ARTIFACT_KIND_FULL, format=artifact_pb2.ARTIFACT_FORMAT_PNG
    )
    assert artifact_from_proto(known) is not None
    setattr(known, field, 99)

    assert artifact_from_proto(known) is None
