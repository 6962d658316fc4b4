import os
import pickle
import signal
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from layert2v_model.errors import NotFinite
from layert2v_model.files import durable
from layert2v_model.vae.alpha_vae import ProjectIn
from layert2v_training.cache.latents import cache_key, encode_clip, load_latents, videos_of
from layert2v_training.cache.workers import make_in_workers
from layert2v_training.codecs.linear_vae import LinearVaeSize, make_vae
from layert2v_training.data.problems import BadClip, BadClips, mixed_rates
from layert2v_training.data.sources import clips_from
from layert2v_training.scenes.composing import SceneSource
from layert2v_training.scenes.scene_recipe import SceneRecipe
from support import toy_clips
from support.forked import forked
from support.making import Doubler, compose
from support.toy_assets import make_toy_assets
from support.toy_model import make_toy_vae
from support.waiting import HANG_S, await_ends, await_that


@pytest.mark.parametrize("num_workers", [0, 2])
def test_results_come_in_order_and_failures_come_out(num_workers: int) -> None:
    assert list(make_in_workers(Doubler(), range(5), num_workers)) == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match="clip 3 is bad"):
        list(make_in_workers(Doubler(bad=3), range(5), num_workers))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for another's child by pidfd")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_workers_end_at_once_with_the_process_that_started_them(
    tmp_path: Path, number: int, status: int
) -> None:
    # Not a daemon, which may have no children.
    process = forked().Process(target=compose, args=(tmp_path,))
    process.start()
    assert process.pid is not None
    await_that(lambda: len(list(tmp_path.iterdir())) == 2, "two workers")
    workers = [int(path.name) for path in tmp_path.iterdir()]

    os.kill(process.pid, number)
    process.join(HANG_S)

    assert process.exitcode == status
    await_ends(workers)


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


def test_latents_that_are_not_finite_are_never_kept(tmp_path: Path) -> None:
    source = SceneSource(make_toy_assets(tmp_path / "assets"), SceneRecipe(16, 16, 2, (1,)))
    vae = make_vae(LinearVaeSize(z_dim=4, encoder_dim=16, decoder_dim=16))
    with torch.no_grad():
        # Finite in float32, infinite in the half precision of the shards.
        vae.encoder.conv_in.weight.mul_(1e9)

    with pytest.raises(NotFinite, match="encoding the clip"):
        load_latents(tmp_path / "latents", vae, source, 1)

    assert list((tmp_path / "latents").iterdir()) == []


def test_a_shard_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SceneSource(make_toy_assets(tmp_path / "assets"), SceneRecipe(16, 16, 2, (1,)))
    vae = make_vae(LinearVaeSize(z_dim=4, encoder_dim=16, decoder_dim=16))

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "sync_file", fail)

    with pytest.raises(OSError, match="No space"):
        load_latents(tmp_path / "latents", vae, source, 1)

    assert not list((tmp_path / "latents").glob("*.pt"))


def test_projected_alphas_are_kept_on_disk_beside_what_the_encoder_made(tmp_path: Path) -> None:
    source = SceneSource(make_toy_assets(tmp_path / "assets"), SceneRecipe(16, 16, 2, (1, 2)))
    vae, project_in = make_vae(LinearVaeSize(z_dim=4, encoder_dim=16, decoder_dim=16)), doubling(4)

    first = load_latents(tmp_path, vae, source, 3, project_in=project_in)
    project_in.forward = never  # type: ignore[method-assign]
    again = load_latents(tmp_path, vae, source, 3, project_in=project_in)

    for clip, same in zip(first, again, strict=True):
        assert torch.equal(clip.streams(), same.streams())
        assert torch.equal(clip.streams()[3::2], 2 * clip.latents_SCTHW[3::2].float())
        assert torch.equal(clip.streams()[:3], clip.latents_SCTHW[:3].float())
    assert not list(tmp_path.glob("*.part"))


def doubling(channels: int) -> ProjectIn:
    project_in = ProjectIn(channels, 4, 0)
    project_in.forward = lambda latents: 2 * latents  # type: ignore[method-assign]
    return project_in


def never(latents: torch.Tensor) -> torch.Tensor:
    raise AssertionError("alphas were projected again")


def test_latents_belong_to_the_statistics_that_normalise_them_and_to_the_pictures(
    tmp_path: Path,
) -> None:
    assets = make_toy_assets(tmp_path)
    recipe, vae = SceneRecipe(16, 16, 2, (1,)), make_toy_vae()
    before = cache_key(vae, SceneSource(assets, recipe))

    vae.register_to_config(latents_std=[2.0] * vae.config.z_dim)
    other_statistics = cache_key(vae, SceneSource(assets, recipe))
    with torch.no_grad():
        vae.quant_conv.bias += 1
    other_convolution = cache_key(vae, SceneSource(assets, recipe))
    (assets / "manifest.json").write_text('[{"sha256": "1"}]')
    other_pictures = cache_key(vae, SceneSource(assets, recipe))

    assert len({before, other_statistics, other_convolution, other_pictures}) == 4
