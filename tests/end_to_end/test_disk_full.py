"""A disk that fills up while the real worker writes: the limit on file sizes stands for it."""

import sys
from pathlib import Path

import pytest

from layert2v.v1 import artifact_pb2, job_pb2
from layert2v_backend.process_engine import ProcessEngine, ProcessOptions
from support.running_backend import running_backend, sketch_settings
from support.toy_model import make_toy_model_folder
from support.wire_shots import make_shot

LIMITED_WORKER = (
    "import resource, runpy; "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500)); "
    "runpy.run_module('layert2v_backend.worker', run_name='__main__')"
)


@pytest.mark.slow
def test_a_disk_that_fills_up_fails_the_job_and_publishes_nothing(tmp_path: Path) -> None:
    make_toy_model_folder(tmp_path / "models" / "toy")
    settings = sketch_settings(tmp_path)
    command = (sys.executable, "-c", LIMITED_WORKER)
    engine = ProcessEngine(ProcessOptions(tmp_path / "worker.log", threads=1, command=command))

    with running_backend(settings, engine) as client:
        job = client.wait(client.create(make_shot(1, model="toy")).name)
        listed = client.artifacts.ListArtifacts(artifact_pb2.ListArtifactsRequest(parent=job.name))

    assert job.state == job_pb2.JOB_STATE_FAILED
    assert job.error.reason == "DISK_FULL"
    assert "free some space" in job.error.message
    assert not listed.artifacts
    store = settings.state / "artifacts"
    assert list((store / "tmp").iterdir()) == []
    assert list((store / "sha256").glob("*/*")) == []
