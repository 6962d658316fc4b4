"""Time from the last denoising step to the last file, at once and one after the other.

Both ways decode the same latents with the shipped model's VAEs, finish them, and store the same
files.
"""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import repeat
from torch import Tensor
from torch.nn import functional

from benchmarks.machine import precision_of
from benchmarks.pairs import NUM_PAIRS, Pairs, alternate
from benchmarks.rows import Row
from benchmarks.shipped import PROMPTS, load_shipped, shot
from layert2v_backend.artifacts import SYNCS_AT_ONCE, ArtifactStore
from layert2v_backend.worker.assembly import Assembly
from layert2v_backend.worker.manifest import ManifestFacts
from layert2v_backend.worker.writing import TakeWriter
from layert2v_backend.worker_protocol import Task
from layert2v_domain.shot import LayerRole, LayerSpec, Shot
from layert2v_model.files import media
from layert2v_model.finishing.finish import finish
from layert2v_model.pipeline import LayerT2VPipeline
from layert2v_model.sampling.canvas import Canvas
from layert2v_model.sampling.grid import LatentGrid, latent_grid
from layert2v_model.sampling.reuse import streams_of
from layert2v_model.stack import Stack
from layert2v_model.vae.decoding import decode_frames

NUM_FOREGROUNDS = 2
_FACTS = ManifestFacts(PROMPTS.background, "", None, is_clamped=False)


@dataclass(frozen=True)
class Case:
    """A denoised shot as latents."""

    pipeline: LayerT2VPipeline
    grid: LatentGrid
    latents: dict[str, Tensor]
    """Normalised latents (1, C, T, H, W) by stream."""

    @property
    def task(self) -> Task:
        """The same shot for the backend."""
        layers = (
            LayerSpec(LayerRole.BACKGROUND, PROMPTS.background, 1),
            *(LayerSpec(LayerRole.FOREGROUND, prompt, 1) for prompt in PROMPTS.foregrounds),
        )
        width, height, num_frames = self.grid.width, self.grid.height, self.grid.num_frames
        shot = Shot(
            layers, model="tiny", width=width, height=height, num_frames=num_frames,
            num_inference_steps=1, guidance_scale=3.0,
        )  # fmt: skip
        return Task("a", 1, shot, "", "")


@dataclass(frozen=True)
class Run:
    """One way from latents to files."""

    decode_s: float
    """Seconds until the last frame was decoded."""
    whole_s: float
    """Seconds until the last file was in the store."""
    hashes: list[str]
    """SHA-256 of the pictures, sorted."""


def rows(*, toy: bool) -> list[Row]:
    """Compare at one size. If a GPU decodes, nearly all of the time comes after decoding."""
    scale, num_frames = (1, 9) if toy else (3, 9)
    case = _case(scale, num_frames, steps=1 if toy else 8)
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder))
        ways = {"ours": lambda: overlapped(case, store), "apart": lambda: apart(case, store)}
        runs = alternate(ways, 1 if toy else NUM_PAIRS)
    grid = case.grid
    label = f"{grid.width}x{grid.height}, {num_frames} frames, two foregrounds, against in sequence"
    whole = {name: [run.whole_s for run in runs[name]] for name in runs}
    tail = {name: [run.whole_s - run.decode_s for run in runs[name]] for name in runs}
    precision = precision_of(case.pipeline.vae)
    return [
        Row.paired("overlap", label, "last step to last file, s", precision,
                   Pairs.of(whole, "ours", "apart"), 0.6),
        Row.paired("overlap", label, "last decoded frame to last file, s", precision,
                   Pairs.of(tail, "ours", "apart")),
    ]  # fmt: skip


@torch.inference_mode()
def _case(scale: int, num_frames: int, steps: int) -> Case:
    """Encode a take of the shipped model, enlarged and repeated in time."""
    pipeline = load_shipped()
    streams = {
        name: _enlarged(frames_TCHW, scale, num_frames)
        for name, frames_TCHW in streams_of(pipeline(**shot(steps))).items()
    }
    *_, height, width = streams["full"].shape
    grid = latent_grid(width, height, num_frames, pipeline.transformer, pipeline.vae)
    latents = {name: pipeline.encode_stream(name, x)[None] for name, x in streams.items()}
    return Case(pipeline, grid, latents)


def _enlarged(frames_TCHW: Tensor, scale: int, num_frames: int) -> Tensor:
    times = -(-num_frames // len(frames_TCHW))
    frames_TCHW = repeat(frames_TCHW, "t c h w -> (n t) c h w", n=times)[:num_frames]
    return functional.interpolate(frames_TCHW, scale_factor=scale, mode="bilinear").clamp(0, 1)


@torch.inference_mode()
def overlapped(case: Case, store: ArtifactStore) -> Run:
    """Decode, finish and write at once, as the worker does."""
    task, begun = case.task, time.perf_counter()
    with TakeWriter(task, store) as writer, Assembly(task.shot, writer) as assembly:
        for stack, frames in _decode(case):
            assembly.take(stack, frames)
        decode_s = time.perf_counter() - begun
        assembly.finish()
        published = writer.publish(_FACTS, lambda done, count: None)
    hashes = sorted(artifact.sha256 for artifact in published if artifact.frame_index >= 0)
    return Run(decode_s, time.perf_counter() - begun, hashes)


@torch.inference_mode()
def apart(case: Case, store: ArtifactStore) -> Run:
    """Decode all, finish all, write all one by one, then hash and sync."""
    begun = time.perf_counter()
    *_, (stack, _) = _decode(case)
    decode_s = time.perf_counter() - begun
    paths = _write_one_by_one(finish(stack).stack, store.draft_folder("apart", 1))
    with ThreadPoolExecutor(SYNCS_AT_ONCE) as pool:
        sealed = list(pool.map(store.seal, paths))
    store.adopt(sealed)
    hashes = sorted(draft.sha256 for draft in sealed)
    return Run(decode_s, time.perf_counter() - begun, hashes)


def _decode(case: Case) -> Iterator[tuple[Stack, slice]]:
    """Yield the stack with the numbers of its finished frames."""
    fills_black = case.pipeline.transformer.config.foreground_fill == "black"
    canvas = Canvas({}, case.grid, NUM_FOREGROUNDS, fills_black=fills_black)
    parts = decode_frames(
        case.pipeline.vae, case.pipeline.alpha_vae, case.latents, lambda stage, step, steps: None
    )
    for frames, made in parts:
        canvas.draw(frames, made)
        yield canvas.stack, frames


def _write_one_by_one(stack: Stack, folder: Path) -> list[Path]:
    paths: list[Path] = []

    def path(name: str) -> Path:
        paths.append(folder / name)
        return paths[-1]

    pictures = [(stack.flatten(), None), (stack.background.rgb_TCHW, None)]
    pictures += [(layer.rgb_TCHW, layer.alpha_T1HW) for layer in stack.foregrounds]
    for index, (rgb_TCHW, alpha_T1HW) in enumerate(pictures):
        rgb_THWC = rgb_TCHW.clamp(0, 1).permute(0, 2, 3, 1).contiguous().numpy()
        for frame, rgb_HWC in enumerate(rgb_THWC):
            alpha_HW = None if alpha_T1HW is None else alpha_T1HW[frame, 0].numpy()
            media.write_exr(path(f"{index}_{frame}.exr"), rgb_HWC, alpha_HW)
            media.write_png(path(f"{index}_{frame}.png"), rgb_HWC, alpha_HW)
            if alpha_HW is not None:
                media.write_matte_png(path(f"{index}_{frame}_matte.png"), alpha_HW)
    return paths
