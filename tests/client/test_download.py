import asyncio
import errno
import hashlib
import uuid
from pathlib import Path

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from layert2v.v1 import artifact_pb2
from layert2v_client import (
    BackendUnreachable,
    Client,
    DamagedArtifact,
    LayerRole,
    LayerSpec,
    LocalDiskFull,
    Shot,
)
from layert2v_client import crc32c as crc32c_module
from layert2v_client import download as download_module
from layert2v_client.status import StatusDetails
from support.fake_backend import CHUNK_BYTES, FakeBackend

SHOT = Shot(
    layers=(
        LayerSpec(LayerRole.BACKGROUND, "a beach"),
        LayerSpec(LayerRole.FOREGROUND, "a red ball"),
    ),
    num_frames=1,
    width=480,
    height=320,
)


@pytest.fixture
def backend(monkeypatch):
    monkeypatch.setattr(download_module, "RETRY_DELAY_S", 0.001)
    with FakeBackend() as running:
        yield running


def fetch(backend, folder, prepare=lambda artifact, path: None, on_bytes=None):
    """Download the largest file of a take; give its artifact and where it was written."""

    async def session():
        async with Client.connect(backend.address) as client:
            job = await client.create_job(SHOT, str(uuid.uuid4()))
            artifacts = await client.list_artifacts(job.name)
            artifact = max(artifacts, key=lambda item: item.size_bytes)
            assert artifact.size_bytes > 3 * CHUNK_BYTES
            path = folder / artifact.path
            prepare(artifact, path)
            await client.download(artifact, path, on_bytes=on_bytes)
            return artifact, path

    return asyncio.run(session())


def content_of(backend, artifact):
    for job in backend.jobs.values():
        if artifact.path in job.files:
            return job.files[artifact.path].data
    raise AssertionError(artifact.path)


def assert_whole(artifact, path):
    assert hashlib.sha256(path.read_bytes()).hexdigest() == artifact.sha256
    assert not list(path.parent.glob("*.part"))


def test_a_file_arrives_whole(backend, tmp_path):
    assert_whole(*fetch(backend, tmp_path))


def test_the_bytes_that_have_come_are_told(backend, tmp_path):
    lengths = []

    artifact, path = fetch(backend, tmp_path, on_bytes=lengths.append)

    assert_whole(artifact, path)
    assert sum(lengths) == artifact.size_bytes
    assert max(lengths) == CHUNK_BYTES


@pytest.mark.parametrize("size", [-1, 3])
def test_a_stream_that_ends_too_early_is_damaged(size):
    async def replies():
        yield artifact_pb2.ReadArtifactResponse()  # a part that only a newer backend has
        if size >= 0:
            trailer = artifact_pb2.ReadArtifactResponse()
            trailer.trailer.size_bytes = size
            yield trailer

    async def read():
        return [data async for data in download_module.checked_chunks("a file", replies(), 0)]

    with pytest.raises(DamagedArtifact, match=f"ended at byte 0 of {max(size, 0)}") as refused:
        asyncio.run(read())
    assert "a file" in str(refused.value)


def test_a_broken_stream_is_resumed_where_it_broke(backend, tmp_path):
    backend.script.break_reads_after.extend([2, 1, 0])
    backend.script.break_status = Status.UNAVAILABLE

    assert_whole(*fetch(backend, tmp_path))

    offsets = backend.script.read_offsets
    assert len(offsets) == 4
    assert offsets == sorted(offsets)
    assert offsets[-1] == 3 * CHUNK_BYTES


def test_a_read_that_is_refused_for_load_is_repeated(backend, tmp_path):
    details = StatusDetails((), reason="TOO_MANY_CALLS")
    busy = GRPCError(Status.RESOURCE_EXHAUSTED, "128 calls are open", details)
    backend.script.refusals["ReadArtifact"].extend([busy, busy])

    assert_whole(*fetch(backend, tmp_path))


def test_what_an_earlier_attempt_left_is_used(backend, tmp_path):
    def leave_half(artifact, path):
        path.parent.mkdir(parents=True)
        half = content_of(backend, artifact)[:5000]
        Path(f"{path}.part").write_bytes(half)

    assert_whole(*fetch(backend, tmp_path, leave_half))

    assert backend.script.read_offsets == [5000]


def test_damaged_bytes_of_an_earlier_attempt_are_fetched_anew(backend, tmp_path):
    def leave_garbage(artifact, path):
        path.parent.mkdir(parents=True)
        Path(f"{path}.part").write_bytes(b"x" * 5000)

    assert_whole(*fetch(backend, tmp_path, leave_garbage))

    assert backend.script.read_offsets == [5000, 0]


def test_a_part_longer_than_the_file_is_dropped(backend, tmp_path):
    def leave_too_much(artifact, path):
        path.parent.mkdir(parents=True)
        Path(f"{path}.part").write_bytes(bytes(artifact.size_bytes + 1))

    assert_whole(*fetch(backend, tmp_path, leave_too_much))


def refuse_numpy(data):
    raise AssertionError("slow")


def test_without_the_compiled_crc_zlibs_is_compared(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(crc32c_module, "google_crc32c", None)
    monkeypatch.setattr(crc32c_module, "crc32c_numpy", refuse_numpy)

    assert_whole(*fetch(backend, tmp_path))


def test_a_backend_without_zlibs_crc_is_read_by_the_slow_one(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(crc32c_module, "google_crc32c", None)
    backend.script.has_crc32 = False

    assert_whole(*fetch(backend, tmp_path))


@pytest.mark.parametrize("is_compiled", [True, False])
def test_a_chunk_that_does_not_match_its_crc_is_refused_and_nothing_stays(
    backend, tmp_path, monkeypatch, is_compiled
):
    if not is_compiled:
        monkeypatch.setattr(crc32c_module, "google_crc32c", None)
    backend.script.damage_reads = 1

    with pytest.raises(DamagedArtifact, match="damaged at byte 0"):
        fetch(backend, tmp_path)

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_that_does_not_match_its_sha256_is_refused_and_nothing_stays(backend, tmp_path):
    backend.script.wrong_files = 1

    with pytest.raises(DamagedArtifact, match="SHA-256"):
        fetch(backend, tmp_path)

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_backend_that_stays_away_is_unreachable_and_the_part_is_kept(backend, tmp_path):
    backend.script.break_reads_after.append(2)
    backend.script.break_status = Status.UNAVAILABLE
    away = GRPCError(Status.UNAVAILABLE, "gone")
    backend.script.refusals["ReadArtifact"].clear()

    def go_away_later(artifact, path):
        backend.script.break_reads_after.extend([0] * 10)

    with pytest.raises(BackendUnreachable):
        fetch(backend, tmp_path, go_away_later)

    assert away.status is Status.UNAVAILABLE
    (part,) = tmp_path.rglob("*.part")
    assert part.stat().st_size == 2 * CHUNK_BYTES


def test_a_full_disk_says_so_and_keeps_nothing(backend, tmp_path, monkeypatch):
    def no_space(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download_module.os, "fsync", no_space)

    with pytest.raises(LocalDiskFull, match=r"no space left for \d+ bytes"):
        fetch(backend, tmp_path)

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
