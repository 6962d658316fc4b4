import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from layert2v_training.latents import cache_key, encode_clip, load_latents, videos_of
from layert2v_training.linear_vae import LinearVaeSize, make_vae
from layert2v_training.scenes import SceneRecipe, SceneSource
from layert2v_training.stopping import program
from layert2v_training.workers import make_in_workers
from support.toy_assets import make_toy_assets


@dataclass(frozen=True)
class Doubler:
    """Doubles, and fails at a number."""

    bad: int = -1

    def __call__(self, number: int) -> int:
        if number == self.bad:
            raise ValueError(f"clip {number} is bad")
        return 2 * number


@pytest.mark.parametrize("num_workers", [0, 2])
def test_results_come_in_order_and_failures_come_out(num_workers: int) -> None:
    assert list(make_in_workers(Doubler(), range(5), num_workers)) == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="clip 3 is bad"):
        list(make_in_workers(Doubler(bad=3), range(5), num_workers))


@dataclass(frozen=True)
class Sleeper:
    """Writes the process it is in to a folder and sleeps for long."""

    folder: Path

    def __call__(self, number: int) -> int:
        (self.folder / str(os.getpid())).touch()
        time.sleep(100)
        return number


def compose(folder: Path) -> None:
    with program():
        list(make_in_workers(Sleeper(folder), range(4), 2))


def await_that(is_so: Callable[[], bool], deadline_s: float = 60) -> None:
    end = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end, f"not so within {deadline_s} s"
        time.sleep(0.01)


def is_running(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_workers_end_at_once_with_the_process_that_started_them(
    tmp_path: Path, number: int, status: int
) -> None:
    # Not a daemon, which may have no children.
    process = multiprocessing.get_context("spawn").Process(target=compose, args=(tmp_path,))
    process.start()
    assert process.pid is not None
    await_that(lambda: len(list(tmp_path.iterdir())) == 2)
    workers = [path.name for path in tmp_path.iterdir()]

    os.kill(process.pid, number)
    process.join(60)

    assert process.exitcode == status
    await_that(lambda: not any(is_running(worker) for worker in workers), 10)


def test_workers_encode_the_clips_that_one_process_encodes(tmp_path: Path) -> None:
    source = SceneSource(make_toy_assets(tmp_path / "assets"), SceneRecipe(16, 16, 2, (1, 2)))
    vae = make_vae(LinearVaeSize(z_dim=4, encoder_dim=16, decoder_dim=16))

    alone, shared = (
        load_latents(tmp_path / str(workers), vae, source, 6, workers) for workers in (0, 2)
    )

    assert [clip.foreground_captions for clip in alone] == [
        clip.foreground_captions for clip in shared
    ]
    for one, other in zip(alone, shared, strict=True):
        torch.testing.assert_close(one.latents_SCTHW, other.latents_SCTHW, rtol=0, atol=1e-2)


def test_latents_hold_the_fill_that_the_model_says(tmp_path: Path) -> None:
    source = SceneSource(make_toy_assets(tmp_path), SceneRecipe(16, 16, 2, (1,)))
    clip, vae = source.clip(0), make_vae(LinearVaeSize(z_dim=4, encoder_dim=16, decoder_dim=16))

    black, bleed = encode_clip(vae, clip), encode_clip(vae, clip, "bleed")

    layer = clip.foregrounds[0]
    assert (videos_of(clip, "bleed")[2] == layer.rgb_THWC).all()
    assert (videos_of(clip)[2] == layer.rgb_THWC * layer.alpha_THW[..., None]).all()
    assert torch.equal(black.latents_SCTHW[[0, 1, 3]], bleed.latents_SCTHW[[0, 1, 3]])
    assert not torch.equal(black.latents_SCTHW[2], bleed.latents_SCTHW[2])
    assert cache_key(vae, source) != cache_key(vae, source, "bleed")
