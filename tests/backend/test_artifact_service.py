import zlib
from pathlib import Path
from typing import Any, BinaryIO

import google_crc32c
import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layert2v.v1 import artifact_pb2, job_pb2
from layert2v_backend import artifacts, checksums, reading
from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.settings import Settings
from support.running_backend import Client, running_backend
from support.scripted_engine import REPORT, ScriptedEngine
from support.waiting import HANG_S
from support.wire_shots import keep_layer, make_shot

MIB = 1 << 20


def artifacts_of(client: Client, job: job_pb2.Job, page_size: int = 0) -> list[Any]:
    found: list[Any] = []
    token = ""
    while True:
        page = client.artifacts.ListArtifacts(
            artifact_pb2.ListArtifactsRequest(
                parent=job.name, page_size=page_size, page_token=token
            )
        )
        found += page.artifacts
        token = page.next_page_token
        if not token:
            return found


def read(client: Client, name: str, offset: int = 0, if_sha256: str = "") -> list[Any]:
    request = artifact_pb2.ReadArtifactRequest(name=name, offset=offset, if_sha256=if_sha256)
    return list(client.artifacts.ReadArtifact(request, timeout=HANG_S))


def blob(settings: Settings, sha256: str) -> Path:
    return settings.state / "artifacts" / "sha256" / sha256[:2] / sha256


def written(settings: Settings, sha256: str) -> tuple[int, int]:
    """Which file holds the content, and when it was written."""
    status = blob(settings, sha256).stat()
    return status.st_ino, status.st_mtime_ns


def test_a_take_lists_its_files_in_path_order(client: Client) -> None:
    job = client.wait(client.create(make_shot(1, num_frames=5)).name)

    artifacts = artifacts_of(client, job, page_size=7)

    paths = [artifact.path for artifact in artifacts]
    assert paths == sorted(paths)
    assert len(paths) == len(set(paths)) == 4 * 5
    assert "foreground_1/png/foreground_1_0005.png" in paths
    matte = artifacts[paths.index("matte_1/png/matte_1_0001.png")]
    assert matte.name == f"{job.name}/artifacts/matte-1-png-0001"
    assert (matte.layer_index, matte.frame_index) == (1, 0)
    assert matte.kind == artifact_pb2.ARTIFACT_KIND_MATTE


def test_a_finished_job_has_its_report_and_seconds(client: Client) -> None:
    job = client.wait(client.create(make_shot()).name)

    assert job.report.recomposition_after == REPORT.recomposition_after
    assert list(job.report.empty_mattes) == [2]
    assert list(job.report.empty_frames) == [0, 9]
    assert dict(job.seconds) == {"denoising": 1.5, "writing": 0.5}


def test_a_take_without_finishing_has_no_report(client: Client) -> None:
    job = client.wait(client.create(make_shot(skip_finishing=True)).name)

    assert not job.HasField("report")


def test_an_artifact_comes_whole_with_its_checksums(client: Client, engine: ScriptedEngine) -> None:
    engine.full_bytes = (5 << 20) // 2
    job = client.wait(client.create(make_shot(1)).name)
    artifact = next(it for it in artifacts_of(client, job) if it.layer_index == -1)

    header, *chunks, trailer = read(client, artifact.name)

    assert header.header.artifact == artifact
    assert [len(part.chunk.data) for part in chunks] == [1 << 20, 1 << 20, 1 << 19]
    assert [part.chunk.offset for part in chunks] == [0, 1 << 20, 2 << 20]
    for part in chunks:
        assert part.chunk.crc32c == google_crc32c.value(part.chunk.data)
    assert trailer.trailer.sha256 == artifact.sha256
    assert trailer.trailer.size_bytes == artifact.size_bytes


@pytest.mark.parametrize("offset", [0, 1, 50, 99, 100])
def test_reading_begins_at_any_offset(client: Client, offset: int) -> None:
    job = client.wait(client.create(make_shot(1)).name)
    artifact = artifacts_of(client, job)[0]
    whole = b"".join(part.chunk.data for part in read(client, artifact.name))

    parts = read(client, artifact.name, offset)

    assert b"".join(part.chunk.data for part in parts) == whole[offset:]
    assert parts[-1].trailer.sha256 == artifact.sha256


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"offset": 101}, grpc.StatusCode.OUT_OF_RANGE),
        ({"offset": -1}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"if_sha256": "0" * 64}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"name": "jobs/x/artifacts/../../journal.sqlite3"}, grpc.StatusCode.INVALID_ARGUMENT),
        ({"name": "jobs/x/artifacts/y"}, grpc.StatusCode.NOT_FOUND),
    ],
)
def test_reading_what_is_not_there_is_refused(
    client: Client, change: dict[str, Any], code: grpc.StatusCode
) -> None:
    job = client.wait(client.create(make_shot(1)).name)
    artifact = artifacts_of(client, job)[0]

    with pytest.raises(grpc.RpcError) as caught:
        read(client, **({"name": artifact.name} | change))

    assert caught.value.code() is code


def large_artifact(client: Client, engine: ScriptedEngine, num_bytes: int) -> Any:
    engine.full_bytes = num_bytes
    job = client.wait(client.create(make_shot(1)).name)
    return next(it for it in artifacts_of(client, job) if it.layer_index == -1)


def test_reading_touches_the_blocks_that_it_sends_and_no_other(
    client: Client, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = large_artifact(client, engine, 5 << 19)
    whole = b"".join(part.chunk.data for part in read(client, artifact.name))
    touched: list[int] = []
    crc32_of = checksums.crc32_of

    def count(data: memoryview) -> int:
        touched.append(len(data))
        return crc32_of(data)

    monkeypatch.setattr(reading, "crc32_of", count)
    for offset in (0, 1, MIB - 1, MIB, MIB + 1, artifact.size_bytes - 1):
        touched.clear()
        _, *chunks, _ = read(client, artifact.name, offset)

        assert touched == [MIB, MIB, MIB // 2][offset // MIB :]
        assert b"".join(part.chunk.data for part in chunks) == whole[offset:]
        for part in chunks:
            assert part.chunk.crc32c == google_crc32c.value(part.chunk.data)
            assert part.chunk.crc32 == zlib.crc32(part.chunk.data)


def test_a_changed_block_is_data_loss_before_any_of_it_is_sent(
    client: Client, engine: ScriptedEngine, settings: Settings
) -> None:
    artifact = large_artifact(client, engine, 5 << 19)
    path = blob(settings, artifact.sha256)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek((2 << 20) - 5)
        file.write(b"x")
    parts: list[Any] = []

    with pytest.raises(grpc.RpcError) as caught:
        parts += client.artifacts.ReadArtifact(
            artifact_pb2.ReadArtifactRequest(name=artifact.name), timeout=HANG_S
        )

    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert not any(part.chunk.offset for part in parts)
    assert len(read(client, artifact.name, 2 << 20)) == 3


def test_a_take_that_was_published_without_checksums_is_read_all_the_same(
    client: Client, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "read_digests", without_checksums)
    artifact = large_artifact(client, engine, 3 << 19)

    _, *chunks, _ = read(client, artifact.name)

    assert [len(part.chunk.data) for part in chunks] == [1 << 20, 1 << 19]
    for part in chunks:
        assert part.chunk.crc32c == google_crc32c.value(part.chunk.data)


def without_checksums(file: BinaryIO) -> tuple[str, str]:
    return checksums.read_digests(file)[0], ""


@given(st.binary(max_size=300), st.integers(0, 2**40))
def test_ready_messages_are_those_that_protobuf_makes(data: bytes, offset: int) -> None:
    sums = checksums.sums_of(data)

    message = artifact_pb2.ReadArtifactResponse.FromString(
        reading.chunk_message(offset, data, sums)
    )

    assert message.chunk == artifact_pb2.ReadArtifactChunk(
        offset=offset, data=data, crc32c=sums.crc32c, crc32=sums.crc32
    )


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_file_is_data_loss_and_never_gets_a_trailer(
    client: Client, settings: Settings, damage: str
) -> None:
    job = client.wait(client.create(make_shot(1)).name)
    artifact = artifacts_of(client, job)[0]
    path = blob(settings, artifact.sha256)
    content = path.read_bytes()
    path.chmod(0o644)
    if damage == "remove":
        path.unlink()
    else:
        changed = {"flip": b"x" + content[1:], "cut": content[:-1]}
        path.write_bytes(changed[damage])
    request = artifact_pb2.ReadArtifactRequest(name=artifact.name)
    parts = []

    with pytest.raises(grpc.RpcError) as caught:
        parts += client.artifacts.ReadArtifact(request)

    assert caught.value.code() is grpc.StatusCode.DATA_LOSS
    assert not any(part.HasField("trailer") for part in parts)


def test_a_kept_layer_refers_to_the_same_files(client: Client, settings: Settings) -> None:
    source = client.wait(client.create(make_shot(2, seed=1)).name)
    before = {artifact.path: artifact for artifact in artifacts_of(client, source)}
    stored = written(settings, before["foreground_2/png/foreground_2_0001.png"].sha256)
    shot = keep_layer(keep_layer(make_shot(2, seed=2), 0, source.name, 0), 1, source.name, 2)

    take = client.wait(client.create(shot).name)

    after = {artifact.path: artifact for artifact in artifacts_of(client, take)}
    assert after.keys() == before.keys()
    for frame in range(1, 6):
        for old, new in [("background", "background"), ("matte_2", "matte_1")]:
            old_path, new_path = (f"{it}/png/{it}_{frame:04d}.png" for it in (old, new))
            assert after[new_path].sha256 == before[old_path].sha256
    moved = after["foreground_1/png/foreground_1_0001.png"]
    assert moved.sha256 == before["foreground_2/png/foreground_2_0001.png"].sha256
    assert moved.layer_index == 1
    assert written(settings, moved.sha256) == stored
    fresh = "foreground_2/png/foreground_2_0001.png"
    assert after[fresh].sha256 != before[fresh].sha256


def test_a_job_that_keeps_a_damaged_layer_fails_with_the_remedy(
    client: Client, settings: Settings
) -> None:
    source = client.wait(client.create(make_shot(1)).name)
    kept = next(it for it in artifacts_of(client, source) if it.layer_index == 0)
    blob(settings, kept.sha256).unlink()

    job = client.wait(client.create(keep_layer(make_shot(1), 0, source.name, 0)).name)

    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.error.reason == "DATA_LOSS"
    assert "generate the take again" in job.error.message


def test_listing_the_files_of_an_unknown_job_is_refused(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.artifacts.ListArtifacts(artifact_pb2.ListArtifactsRequest(parent="jobs/none"))

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_what_a_dead_publication_left_is_trashed_at_the_next_start(
    settings: Settings, engine: ScriptedEngine
) -> None:
    with running_backend(settings, engine) as client:
        job = client.wait(client.create(make_shot(1)).name)
        kept = blob(settings, artifacts_of(client, job)[0].sha256)
    store = ArtifactStore(settings.state / "artifacts")
    draft = store.draft_folder("dead", 1)
    (draft / "frame").write_bytes(b"left over")
    (draft / "half").write_bytes(b"half written")
    sealed = store.seal(draft / "frame")
    store.adopt([sealed])

    with running_backend(settings, ScriptedEngine()) as client:
        client.wait(client.create(make_shot(1)).name)

    assert not blob(settings, sealed.sha256).exists()
    assert not draft.exists()
    assert kept.exists()
    [trashed] = store.root.glob("trash/*/*")
    assert trashed.read_bytes() == b"left over"
