import pickle
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from layert2v_training.data.problems import BadClip, BadClips, mixed_rates
from layert2v_training.data.sources import clips_from
from layert2v_training.latents import cache_key, encode_clip, load_latents, videos_of
from layert2v_training.linear_vae import LinearVaeSize, make_vae
from layert2v_training.scenes import SceneRecipe, SceneSource
from layert2v_training.workers import make_in_workers
from support import toy_clips
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


def test_a_bad_clip_comes_out_of_a_worker_with_its_file(tmp_path: Path) -> None:
    broken = toy_clips.write_renders(tmp_path / "broken") / "render.0005.exr"
    broken.write_bytes(b"not a picture")
    source = clips_from(tmp_path, (16, 12), 6)

    with pytest.raises(BadClip, match=r"render\.0005\.exr: cannot be read as EXR") as caught:
        list(make_in_workers(source.clip, range(2), 1))

    assert caught.value.path == broken


@pytest.mark.parametrize(
    "problem",
    [
        BadClip(Path("a"), "is missing"),
        BadClips([BadClip(Path("a"), "is missing"), BadClip(Path("b"), "is empty")]),
        mixed_rates(Path("clips"), {Fraction(24): Path("a"), Fraction(30): Path("b")}),
    ],
)
def test_problems_of_clips_survive_the_way_between_processes(problem: ValueError) -> None:
    again = pickle.loads(pickle.dumps(problem))

    assert type(again) is type(problem)
    assert str(again) == str(problem)


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
