"""Takes are written while they are made; what is on disk is as if they had not been."""

import errno
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch._dynamo.utils import counters

from layert2v_backend.artifacts import ArtifactStore
from layert2v_backend.jobs import take_path
from layert2v_backend.server.serving import has_compiler
from layert2v_backend.worker.assembly import Assembly
from layert2v_backend.worker.generate import Worker
from layert2v_backend.worker.manifest import ManifestFacts
from layert2v_backend.worker.model_shot import prompts_of, seeds_of
from layert2v_backend.worker.writing import TakeWriter
from layert2v_backend.worker_protocol import Failed, Finished, Task, Warmed, WorkerOptions
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_domain.shot import Shot
from layert2v_media.footage import read_picture
from layert2v_model.cost.precision import decide_precision
from layert2v_model.errors import NotFinite
from layert2v_model.files import media
from layert2v_model.finishing.finish import finish
from layert2v_model.folders.export import write_card
from layert2v_model.folders.model_folder import CARD_FILE
from layert2v_model.loading import load_pipeline
from layert2v_model.stack import Stack
from support.journal_entries import SHOT
from support.layered_scenes import faded, make_scene
from support.toy_model import TOY_HEIGHT, TOY_NUM_FRAMES, TOY_WIDTH, make_toy_model_folder
from support.waiting import HANG_S

TOY_SHOT = replace(
    SHOT, width=TOY_WIDTH, height=TOY_HEIGHT, num_frames=TOY_NUM_FRAMES, num_inference_steps=1
)
FACTS = ManifestFacts("a fox", "0" * 64, None, is_clamped=False)


@pytest.fixture
def scene() -> Stack:
    return faded(make_scene(1, 3, 48, 64))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


def task_of(store: ArtifactStore, shot: Shot = SHOT, model: Path = Path()) -> Task:
    return Task("a", 1, shot, str(model), str(store.root))


def written_in_sequence(stack: Stack, folder: Path) -> dict[str, str]:
    """The hashes of a take's pictures, by path, made one after the other."""
    hashes = {}
    for kind, form, index, frame, rgb_HWC, alpha_HW in _pictures(stack):
        path = folder / take_path(kind, form, index, frame)
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind is ArtifactKind.MATTE:
            assert alpha_HW is not None
            media.write_matte_png(path, alpha_HW)
        else:
            write = media.write_exr if form is ArtifactFormat.EXR else media.write_png
            write(path, rgb_HWC, alpha_HW)
        hashes[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes


Picture = tuple[
    ArtifactKind, ArtifactFormat, int, int, NDArray[np.float32], NDArray[np.float32] | None
]


def _pictures(stack: Stack) -> Iterator[Picture]:
    full_THWC = stack.flatten().clamp(0, 1).permute(0, 2, 3, 1).contiguous().numpy()
    for form in (ArtifactFormat.EXR, ArtifactFormat.PNG):
        for frame, full_HWC in enumerate(full_THWC):
            yield ArtifactKind.FULL, form, -1, frame, full_HWC, None
            for index, layer in enumerate(stack.layers):
                kind = ArtifactKind.FOREGROUND if index else ArtifactKind.BACKGROUND
                rgb_HWC = layer.rgb_TCHW[frame].permute(1, 2, 0).contiguous().numpy()
                alpha_HW = layer.alpha_T1HW[frame, 0].numpy() if index else None
                yield kind, form, index, frame, rgb_HWC, alpha_HW
                if index and form is ArtifactFormat.PNG:
                    yield ArtifactKind.MATTE, form, index, frame, rgb_HWC, alpha_HW


@pytest.mark.parametrize("skip_finishing", [False, True])
def test_files_are_those_of_decoding_finishing_and_writing_in_sequence(
    tmp_path: Path, store: ArtifactStore, skip_finishing: bool
) -> None:
    folder = make_toy_model_folder(tmp_path / "toy")
    shot = replace(TOY_SHOT, skip_finishing=skip_finishing)

    ended = Worker(lambda report: None, lambda job, attempt: False).run(
        task_of(store, shot, folder)
    )

    take = load_pipeline(folder, decide_precision().dtype)(
        prompts_of(shot),
        width=TOY_WIDTH,
        height=TOY_HEIGHT,
        num_frames=TOY_NUM_FRAMES,
        num_inference_steps=1,
        guidance_scale=shot.guidance_scale,
        stream_seeds=seeds_of(shot),
    )
    expected = written_in_sequence(take if skip_finishing else finish(take).stack, tmp_path / "x")
    assert isinstance(ended, Finished), ended
    *pictures, manifest = ended.artifacts
    assert manifest.path == "manifest.json"
    assert {artifact.path: artifact.sha256 for artifact in pictures} == expected
    assert list((store.root / "tmp").iterdir()) == []


def test_a_frame_is_on_disk_while_a_later_one_is_still_being_made(
    scene: Stack, store: ArtifactStore
) -> None:
    shot = replace(SHOT, num_frames=3, skip_finishing=True)

    with TakeWriter(task_of(store, shot), store) as writer, Assembly(shot, writer) as assembly:
        assembly.take(scene, slice(0, 2))
        for written in writer._drafts:
            written.result(timeout=HANG_S)
        early = sorted(path.name for path in (store.root / "tmp").rglob("full_*.exr"))
        assembly.take(scene, slice(2, 3))
        assembly.finish()
        artifacts = writer.publish(FACTS, lambda done, count: None)

    assert early == ["full_0001.exr", "full_0002.exr"]
    assert len([artifact for artifact in artifacts if artifact.path.startswith("full/exr")]) == 3


def test_a_disk_that_fills_up_half_way_leaves_nothing(
    scene: Stack, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_png = media.write_png

    def full(path: Path, *pixels: NDArray[np.float32] | None) -> None:
        if path.name == "background_0002.png":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_png(path, *pixels)  # type: ignore[arg-type]

    monkeypatch.setattr(media, "write_png", full)

    with TakeWriter(task_of(store), store) as writer:
        for frame in range(3):
            writer.write(scene, frame)
        with pytest.raises(OSError, match="No space left") as failure:
            writer.publish(FACTS, lambda done, count: None)

    assert failure.value.errno == errno.ENOSPC
    assert [path for path in store.root.rglob("*") if path.is_file()] == []
    assert list((store.root / "tmp").iterdir()) == []


def test_stopping_leaves_no_draft_and_no_thread(scene: Stack, store: ArtifactStore) -> None:
    class Stop(Exception):
        """Raised to stop."""

    def stop(done: int, count: int) -> None:
        raise Stop

    with TakeWriter(task_of(store), store) as writer:
        for frame in range(3):
            writer.write(scene, frame)
        with pytest.raises(Stop):
            writer.publish(FACTS, stop)

    assert list((store.root / "tmp").iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("write")]


def test_what_goes_wrong_while_finishing_is_raised_where_its_end_is_awaited(
    scene: Stack, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(shot: object, frame: int) -> None:
        raise MemoryError(f"frame {frame}")

    monkeypatch.setattr("layert2v_model.finishing.finish.correct_colours", fail)
    shot = replace(SHOT, num_frames=3)

    with TakeWriter(task_of(store, shot), store) as writer, Assembly(shot, writer) as assembly:
        assembly.take(scene, slice(0, 3))
        with pytest.raises(MemoryError, match="frame 0"):
            assembly.finish()


def test_a_take_says_what_in_it_is_approximate(tmp_path: Path, store: ArtifactStore) -> None:
    folder = make_toy_model_folder(tmp_path / "toy")
    shot = replace(TOY_SHOT, num_inference_steps=4, skip_finishing=True)
    options = WorkerOptions(weights="fp8", step_cache=1.0, offload="group")

    worker = Worker(lambda report: None, lambda job, attempt: False, options)
    takes = [worker.run(task_of(store, shot, folder)) for _ in range(2)]

    for ended in takes:
        assert isinstance(ended, Finished), ended
        manifest = json.loads(store.path(ended.artifacts[-1].sha256).read_text())
        assert manifest["approximations"] == {
            "weights": "fp8", "step_cache": 1.0, "num_skipped_steps": 3,
        }  # fmt: skip


def test_a_layer_made_anew_says_how_often_the_kept_ones_were_computed(
    tmp_path: Path, store: ArtifactStore
) -> None:
    folder = make_toy_model_folder(tmp_path / "toy")
    shot = replace(TOY_SHOT, num_inference_steps=4, skip_finishing=True)
    worker = Worker(
        lambda report: None, lambda job, attempt: False, WorkerOptions(refresh_kept_every=4)
    )

    first = worker.run(task_of(store, shot, folder))
    assert isinstance(first, Finished), first
    kept = tuple(
        artifact for artifact in first.artifacts
        if artifact.layer_index == 0 and artifact.kind is ArtifactKind.BACKGROUND
    )  # fmt: skip
    regenerated = worker.run(replace(task_of(store, shot, folder), kept_artifacts=kept))

    assert isinstance(regenerated, Finished), regenerated
    said = [
        json.loads(store.path(take.artifacts[-1].sha256).read_text())["approximations"]
        for take in (first, regenerated)
    ]
    assert said == [{}, {"refresh_kept_every": 4}]
    assert set(kept) <= set(regenerated.artifacts)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_compiled_blocks_make_the_same_take(
    tmp_path: Path, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Inductor does all that `aot_eager` does, and then compiles C++.
    backend = "inductor" if has_compiler() else "aot_eager"
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    folder = make_toy_model_folder(tmp_path / "toy")
    shot = replace(TOY_SHOT, num_inference_steps=2, skip_finishing=True)

    def pictures(options: WorkerOptions) -> list[NDArray[np.float32]]:
        worker = Worker(lambda report: None, lambda job, attempt: False, options)
        assert worker.warm(folder) == Warmed()
        ended = worker.run(task_of(store, shot, folder))
        assert isinstance(ended, Finished), ended
        manifest = json.loads(store.path(ended.artifacts[-1].sha256).read_text())
        assert manifest["approximations"] == {}
        pngs = (made for made in ended.artifacts if made.format is ArtifactFormat.PNG)
        return [read_picture(store.path(made.sha256))[..., :3] for made in pngs]

    torch.compiler.reset()
    counters.clear()
    eager = pictures(WorkerOptions(precision="float32"))
    assert not counters["stats"]["unique_graphs"]
    compiled = pictures(WorkerOptions(compile_blocks=True, precision="float32"))

    assert counters["stats"]["unique_graphs"]
    np.testing.assert_allclose(compiled, eager, atol=1.5 / 255)


def test_damaged_weights_are_named(tmp_path: Path, store: ArtifactStore) -> None:
    folder = make_toy_model_folder(tmp_path / "toy")
    weights = next((folder / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])

    ended = Worker(lambda report: None, lambda job, attempt: False).run(
        task_of(store, TOY_SHOT, folder)
    )

    assert isinstance(ended, Failed)
    assert ended.error.reason == "MODEL_DAMAGED"
    assert "transformer" in ended.error.message


def fill_weights(folder: Path, part: str, value: float) -> None:
    """Fill the tensors of a part of a model, but not of an encoder, and sign its card again."""
    for path in (folder / part).glob("diffusion_pytorch_model*.safetensors"):
        weights = load_file(path)
        filled = {
            name: weight if name.startswith("encoder") else torch.full_like(weight, value)
            for name, weight in weights.items()
        }
        save_file(filled, path, {"format": "pt"})
    write_card(folder, json.loads((folder / CARD_FILE).read_text()))


@pytest.mark.parametrize("part", ["transformer", "vae", "alpha_vae"])
def test_weights_that_are_not_numbers_are_damage(
    tmp_path: Path, store: ArtifactStore, part: str
) -> None:
    folder = make_toy_model_folder(tmp_path / "toy")
    fill_weights(folder, part, torch.nan)

    ended = Worker(lambda report: None, lambda job, attempt: False).run(
        task_of(store, TOY_SHOT, folder)
    )

    assert isinstance(ended, Failed)
    assert ended.error.reason == "MODEL_DAMAGED"
    assert "holds NaN or infinity" in ended.error.message


@pytest.mark.parametrize(
    ("part", "words"),
    [("transformer", "denoising made"), ("vae", "decoding made"), ("alpha_vae", "in alpha_1")],
)
def test_weights_that_make_no_numbers_fail_the_job_by_name(
    tmp_path: Path, store: ArtifactStore, part: str, words: str
) -> None:
    folder = make_toy_model_folder(tmp_path / "toy")
    fill_weights(folder, part, 1e38)

    ended = Worker(lambda report: None, lambda job, attempt: False).run(
        task_of(store, TOY_SHOT, folder)
    )

    assert isinstance(ended, Failed)
    assert ended.error.reason == "NOT_FINITE"
    assert words in ended.error.message
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_frame_that_is_not_finite_is_never_written(
    scene: Stack, store: ArtifactStore, value: float
) -> None:
    scene.layers[1].rgb_TCHW[2, 0, 5, 5] = value

    with TakeWriter(task_of(store), store) as writer:
        for frame in range(3):
            writer.write(scene, frame)
        with pytest.raises(NotFinite, match="frame 2 of f"):
            writer.publish(FACTS, lambda done, count: None)

    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_a_shot_that_does_not_fit_the_worker_fails_with_the_remedy(
    tmp_path: Path, store: ArtifactStore
) -> None:
    folder = make_toy_model_folder(tmp_path / "toy")
    options = WorkerOptions(memory_bytes=1 << 10)

    ended = Worker(lambda report: None, lambda job, attempt: False, options).run(
        task_of(store, TOY_SHOT, folder)
    )

    assert isinstance(ended, Failed)
    assert ended.error.reason == "INVALID_SHOT"
    assert "make the picture smaller" in ended.error.message
