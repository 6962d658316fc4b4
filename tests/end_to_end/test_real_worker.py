"""The real front door, the real worker, the real model code with random weights."""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from layert2v.v1 import artifact_pb2, job_pb2
from layert2v_backend.worker_protocol import STAGE_SHARES
from layert2v_media.footage import Footage, read, read_matte
from support.backend_process import BackendProcess, backend_process
from support.toy_model import (
    TOY_CARD,
    TOY_HEIGHT,
    TOY_NUM_FRAMES,
    TOY_WIDTH,
    make_toy_model_folder,
)
from support.wire_shots import keep_layer, make_shot

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backend")
    make_toy_model_folder(folder / "models" / "toy")
    damaged = make_toy_model_folder(folder / "models" / "damaged")
    (damaged / "layert2v.json").write_text(json.dumps(TOY_CARD | {"id": "damaged"}))
    weights = next((damaged / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    return folder


@pytest.fixture(scope="module")
def backend(folder: Path) -> Iterator[BackendProcess]:
    with backend_process(folder) as running:
        yield running


@pytest.fixture(scope="module")
def take(backend: BackendProcess) -> job_pb2.Job:
    return finished(backend, make_shot(2, model="toy", seed=11))


def finished(backend: BackendProcess, shot: Any) -> job_pb2.Job:
    job = backend.client.wait(backend.client.create(shot).name)
    assert job.state == job_pb2.JOB_STATE_SUCCEEDED, job.error.message
    return job


def files(backend: BackendProcess, job: job_pb2.Job) -> dict[str, Any]:
    request = artifact_pb2.ListArtifactsRequest(parent=job.name)
    listed = backend.client.artifacts.ListArtifacts(request).artifacts
    return {artifact.path: artifact for artifact in listed}


def download(backend: BackendProcess, job: job_pb2.Job, folder: Path) -> Path:
    for artifact in files(backend, job).values():
        request = artifact_pb2.ReadArtifactRequest(name=artifact.name)
        parts = backend.client.artifacts.ReadArtifact(request)
        path = folder / artifact.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(part.chunk.data for part in parts))
    return folder


def test_a_take_holds_every_layer_as_master_picture_and_matte(
    backend: BackendProcess, take: job_pb2.Job, tmp_path: Path
) -> None:
    folder = download(backend, take, tmp_path)

    assert take.report.recomposition_after >= take.report.recomposition_before
    assert set(take.seconds) == {stage.value for stage in STAGE_SHARES}
    for layer in ["full", "background", "foreground_1", "foreground_2"]:
        channels = 4 if layer.startswith("foreground") else 3
        shape = (TOY_NUM_FRAMES, TOY_HEIGHT, TOY_WIDTH, channels)
        assert read(Footage(folder / layer / "exr")).shape == shape
        assert read(Footage(folder / layer / "png")).shape == shape
    for matte in ["matte_1", "matte_2"]:
        assert read_matte(Footage(folder / matte / "png")).max() > 0


def test_the_pictures_flatten_to_the_full_video(
    backend: BackendProcess, take: job_pb2.Job, tmp_path: Path
) -> None:
    folder = download(backend, take, tmp_path)
    flat = read(Footage(folder / "background" / "png"))
    for number in (1, 2):
        rgba = read(Footage(folder / f"foreground_{number}" / "png"))
        flat = rgba[..., :3] * rgba[..., 3:] + flat * (1 - rgba[..., 3:])

    difference = abs(flat - read(Footage(folder / "full" / "png"))).max()

    assert difference <= 2 / 255


def test_the_manifest_says_how_the_take_was_made(
    backend: BackendProcess, take: job_pb2.Job, tmp_path: Path
) -> None:
    folder = download(backend, take, tmp_path)

    manifest = json.loads((folder / "manifest.json").read_text())

    assert manifest["job"] == take.name
    assert manifest["model"]["id"] == "toy"
    assert len(manifest["model"]["sha256"]) == 64
    assert manifest["prompt"] == "animal 1 and animal 2, in front of a meadow"
    assert [layer["role"] for layer in manifest["layers"]] == [
        "background",
        "foreground",
        "foreground",
    ]
    assert [it["seed"] for it in manifest["layers"]] == [it.seed for it in take.shot.layers]
    listed = {path: it.sha256 for path, it in files(backend, take).items()}
    del listed["manifest.json"]
    assert {it["path"]: it["sha256"] for it in manifest["files"]} == listed
    assert manifest["contract"]["exr"].startswith("half float")
    assert manifest["finishing"]["worst_frame"] == take.report.worst_frame


def test_equal_shots_give_equal_takes(backend: BackendProcess, take: job_pb2.Job) -> None:
    again = finished(backend, take.shot)

    before, after = files(backend, take), files(backend, again)
    assert before.keys() == after.keys()
    for path in before.keys() - {"manifest.json"}:
        assert after[path].sha256 == before[path].sha256


def test_a_regenerated_foreground_leaves_the_kept_layers_bit_for_bit(
    backend: BackendProcess, take: job_pb2.Job, folder: Path
) -> None:
    before = files(backend, take)
    shot = make_shot(2, model="toy", seed=11)
    shot.layers[1].prompt = "a red ball"
    shot.layers[1].seed = 5
    keep_layer(keep_layer(shot, 0, take.name, 0), 2, take.name, 2)

    job = finished(backend, shot)

    after = files(backend, job)
    assert after.keys() == before.keys()
    for path, artifact in after.items():
        is_kept = path.startswith(("background/", "foreground_2/", "matte_2/"))
        if is_kept:
            assert artifact.sha256 == before[path].sha256
    changed = "foreground_1/exr/foreground_1_0003.exr"
    assert after[changed].sha256 != before[changed].sha256
    assert job.report.recomposition_after > 0


def test_a_take_can_be_left_as_generated(backend: BackendProcess) -> None:
    job = finished(backend, make_shot(1, model="toy", skip_finishing=True))

    assert not job.HasField("report")
    assert files(backend, job).keys() >= {"full/png/full_0005.png", "matte_1/png/matte_1_0001.png"}


def test_a_running_generation_is_cancelled_at_its_next_step(backend: BackendProcess) -> None:
    client = backend.client
    job = client.create(make_shot(1, model="toy", num_inference_steps=200))
    neighbour = client.create(make_shot(1, model="toy"))
    for response in client.watch(job.name):
        if response.event.progress.stage == job_pb2.JOB_STAGE_DENOISING:
            client.cancel(job.name)
            break

    assert client.wait(job.name).state == job_pb2.JOB_STATE_CANCELLED
    assert client.wait(neighbour.name).state == job_pb2.JOB_STATE_SUCCEEDED


def worker_of(backend: BackendProcess) -> int:
    children = Path(f"/proc/{backend.process.pid}/task/{backend.process.pid}/children")
    pids = children.read_text().split()
    return int(pids[0])


def test_a_killed_worker_costs_an_attempt_and_not_the_job(backend: BackendProcess) -> None:
    client = backend.client
    job = client.create(make_shot(1, model="toy", num_inference_steps=24))
    for response in client.watch(job.name):
        if response.event.progress.stage == job_pb2.JOB_STAGE_DENOISING:
            os.kill(worker_of(backend), signal.SIGKILL)
            break

    ended = client.wait(job.name)

    assert ended.state == job_pb2.JOB_STATE_SUCCEEDED
    assert ended.attempt == 2
    sequences = [event.sequence for event in client.events(job.name)]
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_killed_front_door_completes_its_jobs_after_a_restart(folder: Path) -> None:
    with backend_process(folder, "--state", str(folder / "killed"), "--listen",
                         f"unix:{folder / 'k' / 'b.sock'}") as backend:  # fmt: skip
        running = backend.client.create(make_shot(1, model="toy", num_inference_steps=24))
        waiting = backend.client.create(make_shot(1, model="toy"))
        for response in backend.client.watch(running.name):
            if response.event.progress.step >= 3:
                break
        seen = response.event.sequence
        backend.kill()

    with backend_process(folder, "--state", str(folder / "killed"), "--listen",
                         f"unix:{folder / 'k' / 'b.sock'}") as backend:  # fmt: skip
        ended = backend.client.wait(running.name)
        assert ended.state == job_pb2.JOB_STATE_SUCCEEDED
        assert ended.attempt == 2
        assert backend.client.wait(waiting.name).state == job_pb2.JOB_STATE_SUCCEEDED
        rest = backend.client.events(running.name, seen)
        assert [it.sequence for it in rest] == list(range(seen + 1, ended.last_sequence + 1))


def test_damaged_weights_fail_the_job_with_file_and_remedy(backend: BackendProcess) -> None:
    client = backend.client

    job = client.wait(client.create(make_shot(1, model="damaged")).name)

    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.error.reason == "MODEL_DAMAGED"
    assert "transformer" in job.error.message
    assert "again" in job.error.message


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process's files: prlimit")
def test_a_disk_that_fills_up_fails_the_job_and_publishes_nothing(
    backend: BackendProcess, folder: Path
) -> None:
    client, store = backend.client, folder / "state" / "artifacts"
    finished(backend, make_shot(1, model="toy"))  # the worker lives
    before = set((store / "sha256").glob("*/*"))
    limits = resource.prlimit(worker_of(backend), resource.RLIMIT_FSIZE)

    # A limit on file sizes stands for a full disk.
    resource.prlimit(worker_of(backend), resource.RLIMIT_FSIZE, (2500, limits[1]))
    try:
        job = client.wait(client.create(make_shot(1, model="toy", seed=99)).name)
    finally:
        resource.prlimit(worker_of(backend), resource.RLIMIT_FSIZE, limits)

    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.error.reason == "DISK_FULL"
    assert "free some space" in job.error.message
    assert not files(backend, job)
    assert list((store / "tmp").iterdir()) == []
    assert set((store / "sha256").glob("*/*")) == before
