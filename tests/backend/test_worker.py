import errno
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.jobs import Artifact, take_path
from layert2v_backend.json_text import from_json, to_json
from layert2v_backend.worker import failures
from layert2v_backend.worker.failures import without_paths
from layert2v_backend.worker.generate import Worker
from layert2v_backend.worker.log import note
from layert2v_backend.worker.manifest import ManifestFacts, manifest_of, weights_sha256
from layert2v_backend.worker.model_shot import given_streams, prompts_of, seeds_of
from layert2v_backend.worker.stopwatch import Cancelled, Stopwatch
from layert2v_backend.worker_protocol import (
    DEVICE_FAILED,
    Failed,
    StageProgress,
    Stopped,
    Task,
    WorkerMessage,
    WorkerOptions,
)
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_domain.job import JobStage
from layert2v_media.errors import UnreadableMedia
from layert2v_model.cost import precision
from layert2v_model.cost.precision import Hardware
from layert2v_model.errors import DamagedModel, NotFinite
from layert2v_model.files import media
from layert2v_words import UnknownWords
from support.journal_entries import SHOT


def worker_that(failure: Exception) -> Worker:
    """A worker whose model raises when it is loaded."""
    worker = Worker(lambda report: None, lambda job, attempt: False)

    def fail(folder: Path, shot_or_offload: object = None) -> None:
        raise failure

    worker._model.warm = fail  # type: ignore[method-assign, assignment]
    worker._model.plan = fail  # type: ignore[method-assign, assignment]
    worker._model.load = fail  # type: ignore[method-assign, assignment]
    return worker


@pytest.mark.parametrize(
    ("hardware", "sentence"),
    [
        (Hardware(True, "it has bfloat16"), "computes in bfloat16: it has bfloat16"),
        (Hardware(False, "it has none"), "computes in float32: it has none"),
    ],
)
def test_the_first_line_of_a_workers_log_says_in_which_precision_it_computes_and_why(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    hardware: Hardware,
    sentence: str,
) -> None:
    monkeypatch.setattr(precision, "find_hardware", lambda device: hardware)

    Worker(lambda report: None, lambda job, attempt: False)
    Worker(lambda report: None, lambda job, attempt: False, WorkerOptions(precision="float32"))

    assert capsys.readouterr().err.splitlines() == [
        sentence, f"computes in float32 as asked; {hardware.words}"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "reason", "words"),
    [
        (DamagedModel("vae is cut; install it again"), "MODEL_DAMAGED", "install it again"),
        (OSError(errno.ENOSPC, "No space left"), "DISK_FULL", "free some space"),
        (OSError(errno.EDQUOT, "Quota"), "DISK_FULL", "free some space"),
        (torch.OutOfMemoryError("CUDA"), "OUT_OF_MEMORY", "64 x 48 pixels"),
        (MemoryError(), "OUT_OF_MEMORY", "make the shot smaller"),
        (UnreadableMedia(Path("a.exr"), "is damaged"), "DATA_LOSS", "a.exr"),
        (KeyError("surprise"), "INTERNAL", "a fault of its own"),
        (PermissionError(errno.EACCES, "no"), "DISK_NOT_WRITABLE", "give its user the right"),
        (OSError(errno.EROFS, "no"), "DISK_NOT_WRITABLE", "mounted read-only"),
        (OSError(errno.EIO, "no"), "DISK_FAILS", "check the disk"),
        (OSError(errno.EACCES, "no", "/models/x/config.json"), "DISK_NOT_WRITABLE", "config.json"),
        (NotFinite("frame 3 is not finite"), "NOT_FINITE", "frame 3"),
    ],
)
def test_a_failure_becomes_the_jobs_reason_and_remedy(
    tmp_path: Path, failure: Exception, reason: str, words: str
) -> None:
    task = Task("a", 1, SHOT, str(tmp_path), str(tmp_path / "store"))

    ended = worker_that(failure).run(task)

    assert isinstance(ended, Failed)
    assert ended.error.reason == reason
    assert words in ended.error.message


def test_a_device_that_fails_for_good_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nat line 3")

    monkeypatch.setattr(failures, "_is_device_used", lambda: True)
    monkeypatch.setattr(failures, "_compute_on_device", fail)
    task = Task("a", 1, SHOT, str(tmp_path), str(tmp_path / "store"))

    ended = worker_that(RuntimeError("CUDA error: unspecified launch failure")).run(task)

    assert isinstance(ended, Failed)
    assert ended.error.reason == DEVICE_FAILED
    assert "unspecified launch failure" in ended.error.message
    assert "illegal memory access" in ended.error.message


def test_a_device_that_still_computes_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_is_device_used", lambda: True)
    monkeypatch.setattr(failures, "_compute_on_device", lambda: None)
    task = Task("a", 1, SHOT, str(tmp_path), str(tmp_path / "store"))

    ended = worker_that(KeyError("surprise")).run(task)

    assert isinstance(ended, Failed)
    assert ended.error.reason == "INTERNAL"


def test_a_cancel_is_noticed_before_anything_is_loaded(tmp_path: Path) -> None:
    task = Task("a", 1, SHOT, str(tmp_path), str(tmp_path / "store"))
    worker = Worker(lambda report: None, lambda job, attempt: (job, attempt) == ("a", 1))

    assert worker.run(task) == Stopped()


def test_warming_with_a_damaged_model_is_left_to_the_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker_that(DamagedModel("vae is cut")).warm(tmp_path)

    assert "vae is cut" in capsys.readouterr().err


def test_the_stopwatch_counts_stages_and_spares_reports() -> None:
    reports: list[WorkerMessage] = []
    watch = Stopwatch(reports.append, lambda: False)

    watch.at(JobStage.LOADING)
    for step in range(101):
        watch.at(JobStage.DENOISING, step, 100)
    seconds = watch.stop()

    assert set(seconds) == {"loading", "denoising"}
    assert min(seconds.values()) >= 0
    assert reports[0] == StageProgress(JobStage.LOADING, 0, 0)
    assert reports[-1] == StageProgress(JobStage.DENOISING, 100, 100)
    assert len(reports) < 20


def test_the_stopwatch_raises_when_the_task_is_to_stop() -> None:
    with pytest.raises(Cancelled):
        Stopwatch(lambda report: None, lambda: True).at(JobStage.LOADING)


def test_an_empty_full_prompt_is_composed() -> None:
    assert prompts_of(SHOT).by_name()["full"] == "a fox, in front of a meadow"


def test_each_stream_has_the_seed_of_its_layer() -> None:
    assert seeds_of(SHOT) == {"full": 0, "background": 1, "foreground_1": 2**63 - 1}


def test_kept_masters_come_back_as_whole_streams(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    rng = np.random.default_rng(0)
    rgb = rng.uniform(0, 1, (3, 6, 4, 3)).astype(np.float32)
    alpha = rng.uniform(0.2, 1, (3, 6, 4)).astype(np.float32)
    kept = []
    for frame in (2, 0, 1):
        draft = store.draft_folder("source", 1) / "frame.exr"
        media.write_exr(draft, rgb[frame], alpha[frame])
        sealed = store.seal(draft)
        store.adopt([sealed])
        kind, form = ArtifactKind.FOREGROUND, ArtifactFormat.EXR
        path = take_path(kind, form, 2, frame)
        kept.append(Artifact(path, kind, form, 2, frame, sealed.size_bytes, sealed.sha256))

    streams = given_streams(kept, store)

    assert streams is not None
    assert set(streams) == {"foreground_2", "alpha_2"}
    colour_TCHW, alpha_T1HW = streams["foreground_2"], streams["alpha_2"]
    assert (colour_TCHW.dtype, alpha_T1HW.shape) == (torch.float32, (3, 1, 6, 4))
    assert abs(colour_TCHW.permute(0, 2, 3, 1).numpy() - rgb).max() < 0.01
    assert abs(alpha_T1HW[:, 0].numpy() - alpha).max() < 0.001


def test_no_kept_layer_gives_no_streams(tmp_path: Path) -> None:
    assert given_streams([], ArtifactStore(tmp_path)) is None


def test_the_digest_of_weights_depends_on_each_file(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "model.safetensors").write_bytes(b"one")
    before = weights_sha256(tmp_path)

    (tmp_path / "vae" / "model.safetensors").write_bytes(b"two")

    assert weights_sha256(tmp_path) != before


def test_the_manifest_repeats_what_the_model_was_not_taught() -> None:
    unknown = UnknownWords(1, "dragon", ("a fox",), 'sketch knows no "dragon"; nearest: a fox')
    task = Task("a", 1, SHOT, "model", "store", unknown_words=(unknown,))

    manifest = manifest_of(
        from_json(Task, to_json(task)), ManifestFacts("a fox", "0" * 64, None, is_clamped=False), ()
    )

    assert json.loads(json.dumps(manifest["unknown_words"])) == [
        {
            "layer_index": 1,
            "words": "dragon",
            "nearest": ["a fox"],
            "message": 'sketch knows no "dragon"; nearest: a fox',
        }
    ]


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("the model is damaged at /srv/my models/toy (cut)", "the model is damaged at toy (cut)"),
        ("/store/sha256/ab/abcd is cut; write it again", "sha256/ab/abcd is cut; write it again"),
        ("/opt/site-packages/x/m.safetensors is cut", "m.safetensors is cut"),
        (r"C:\Users\ann\toy is cut", "toy is cut"),
        ("a size of 16/9 and a share of 1 / 2", "a size of 16/9 and a share of 1 / 2"),
    ],
)
def test_what_clients_are_told_names_no_folder_of_the_server(message: str, wanted: str) -> None:
    told = Task("a", 1, SHOT, "/srv/my models/toy", "/store")

    assert without_paths(message, told) == wanted


class FullLog(io.StringIO):
    """A log on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, f"No space left for {len(text)} characters")


def test_a_log_that_cannot_be_written_costs_the_line_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stderr", FullLog())

    note("a line")
    warmed = Worker(lambda report: None, lambda job, attempt: False).warm(tmp_path / "missing")

    assert "missing" in warmed.error
