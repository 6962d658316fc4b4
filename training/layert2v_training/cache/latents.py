"""Latents of clips, encoded once and kept on disk in shards.

A shard's file name holds a digest of everything that decides its content: source, sizes, encoder
weights. A change of any of them makes new shards instead of wrong ones.

Shape letters: S streams in the joint order, C channels, T latent frames, H, W.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from diffusers import AutoencoderKLWan
from einops import rearrange
from torch import Tensor, nn
from tqdm import tqdm

from layert2v_model.files.durable import publish_file
from layert2v_model.vae.alpha_vae import ProjectIn
from layert2v_model.vae.not_finite import check_streams
from layert2v_training.cache.placement import home_of, num_bytes_of
from layert2v_training.cache.workers import make_in_workers
from layert2v_training.codecs.linear_vae import encode_pixels
from layert2v_training.data.clips import ClipSource, LayeredClip, Pixels

SHARD_CLIPS = 250


@dataclass(frozen=True, eq=False)
class LatentClip:
    """A clip as the transformer sees it."""

    latents_SCTHW: Tensor
    """Half precision, normalised; alpha streams as the encoder makes them."""
    background_caption: str
    foreground_captions: tuple[str, ...]
    full_caption: str = ""
    """Empty: made of the others."""
    projected_KCTHW: Tensor | None = None
    """Alpha streams through `project_in`; None: those in `latents_SCTHW` are what is learned."""

    def streams(self, frames: slice = slice(None)) -> Tensor:
        """Copy some latent frames of what is learned: (S, C, T, H, W), float32."""
        streams = self.latents_SCTHW[:, :, frames].to(torch.float32, copy=True)
        if self.projected_KCTHW is not None:
            streams[3::2] = self.projected_KCTHW[:, :, frames].float()
        return streams


def videos_of(clip: LayeredClip, fill: str = "black") -> list[Pixels]:
    """List a clip's streams in their joint order: (T, H, W, 3) each, sRGB in [0, 1].

    Foregrounds have what the model's `foreground_fill` says beyond their matte: `black` is colour
    premultiplied, `bleed` straight colour, extended. Alphas are three equal channels.
    """
    videos: list[Pixels] = [clip.full_THWC, clip.background_THWC]
    for layer in clip.foregrounds:
        alpha_THWC = layer.alpha_THW[..., None]
        rgb_THWC = layer.rgb_THWC * alpha_THWC if fill == "black" else layer.rgb_THWC
        videos += [rgb_THWC, alpha_THWC.repeat(3, -1)]
    return videos


def encode_clip(vae: AutoencoderKLWan, clip: LayeredClip, fill: str = "black") -> LatentClip:
    """Encode the streams of a clip; `fill` as in `videos_of`.

    Raises:
        NotFinite: Its latents are NaN, or too large for half precision.
    """
    videos = videos_of(clip, fill)
    pixels = torch.stack(
        [rearrange(torch.from_numpy(video), "t h w c -> c t h w") for video in videos]
    )
    with torch.no_grad():
        latents = encode_pixels(vae, pixels.to(vae.device)).to("cpu", torch.float16)
    check_streams({"its latents": latents}, f"encoding the clip '{clip.full_caption[:80]}'")
    captions = tuple(layer.caption for layer in clip.foregrounds)
    return LatentClip(latents, clip.background_caption, captions, clip.full_caption)


def cache_key(vae: AutoencoderKLWan, source: ClipSource, fill: str = "black") -> str:
    """Digest of the encoder, what normalises its latents, the source's key and the fill."""
    digest = hashlib.sha256(source.key.encode())
    digest.update(b"" if fill == "black" else fill.encode())
    digest.update(json.dumps([vae.config.latents_mean, vae.config.latents_std]).encode())
    for module in (vae.encoder, vae.quant_conv):
        digest.update(_weights_digest(module))
    return digest.hexdigest()[:12]


def _weights_digest(module: nn.Module) -> bytes:
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.float().cpu().numpy().tobytes())
    return digest.digest()


def load_latents(
    folder: Path,
    vae: AutoencoderKLWan,
    source: ClipSource,
    num_clips: int,
    num_workers: int = 0,
    fill: str = "black",
    project_in: ProjectIn | None = None,
) -> list[LatentClip]:
    """Map the latents of clips 0 to `num_clips` - 1, encoding the shards that are missing.

    Several processes of a run share the shards to encode, each with workers of its own, and the
    memory of what is mapped. `at_home` puts it where it is read faster.

    Args:
        folder: Folder of the shards.
        vae: Its encoder is used, where it is.
        source: Source of the clips.
        num_clips: Number of clips.
        num_workers: Processes that encode; 0: this one.
        fill: As in `videos_of`.
        project_in: Projector of alphas, kept in shards of their own; None: alphas stay as they are.
    """
    shards = write_latents(folder, vae, source, num_clips, num_workers, fill)
    clips = [
        LatentClip(latents, *captions) for path in shards for latents, captions in _mapped(path)
    ]
    if project_in is None:
        return clips
    projected = [
        alphas for path in _write_projected(shards, project_in) for alphas in _mapped(path)
    ]
    return [
        replace(clip, projected_KCTHW=alphas) for clip, alphas in zip(clips, projected, strict=True)
    ]


def _mapped(path: Path) -> list[Any]:
    """Read a shard without copying: its pages are shared by all processes that read it."""
    stored: list[Any] = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    return stored


def at_home(
    clips: Sequence[LatentClip], device: torch.device, expected_bytes: int = 0
) -> list[LatentClip]:
    """Move all clips onto a device, or none: as `home_of` says of all their latents together."""
    taken = num_bytes_of(clip.latents_SCTHW for clip in clips)
    if home_of(taken, device, expected_bytes).type == "cpu":
        return list(clips)
    return [_moved(clip, device) for clip in clips]


def _moved(clip: LatentClip, device: torch.device) -> LatentClip:
    latents = clip.latents_SCTHW.to(device)
    if clip.projected_KCTHW is not None:
        latents[3::2] = clip.projected_KCTHW.to(device)
    return replace(clip, latents_SCTHW=latents, projected_KCTHW=None)


@torch.no_grad()
def _projected(path: Path, project_in: ProjectIn, device: torch.device) -> list[Tensor]:
    """Put the alphas of a shard through `project_in`: half precision, on the CPU."""
    alphas = (latents[3::2].to(device, torch.float32) for latents, _ in _mapped(path))
    return [project_in(alpha).to("cpu", torch.float16) for alpha in alphas]


def _write_projected(shards: Sequence[Path], project_in: ProjectIn) -> list[Path]:
    """Write the shards of projected alphas that are missing, and name all of them."""
    device, key = PartialState().device, _weights_digest(project_in).hex()[:12]
    paths = {path.with_name(f"{path.stem}.alphas-{key}.pt"): path for path in shards}
    project_in = project_in.to(device)

    def make(missing: Sequence[Path]) -> Iterator[None]:
        for path in missing:
            _save(_projected(paths[path], project_in, device), path)
            yield

    _make_missing(list(paths), make, "projected alphas")
    return list(paths)


def _make_missing(
    paths: Sequence[Path], make: Callable[[Sequence[Path]], Iterator[None]], words: str
) -> None:
    """Share the files that are missing among a run's processes and wait for all of them."""
    processes = PartialState()
    missing = [path for path in paths if not path.is_file()]
    processes.wait_for_everyone()
    own = missing[processes.process_index :: processes.num_processes]
    bar = tqdm(total=len(own), desc=words, mininterval=10, ascii=True, disable=not own)
    for _ in make(own):
        bar.update()
    bar.close()
    processes.wait_for_everyone()


def _save(stored: list[Any], path: Path) -> None:
    """Write a shard whole or not at all. Programs that write the same do not disturb each other."""
    partial = path.with_suffix(f".{os.getpid()}.part")
    torch.save(stored, partial)
    publish_file(partial, path)


def write_latents(
    folder: Path,
    vae: AutoencoderKLWan,
    source: ClipSource,
    num_clips: int,
    num_workers: int = 0,
    fill: str = "black",
) -> list[Path]:
    """Encode the shards that are missing, as `load_latents` does, and name all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    key = cache_key(vae, source, fill)
    firsts = range(0, num_clips, SHARD_CLIPS)
    shards = {_shard_path(folder, key, first, num_clips): first for first in firsts}
    encoder = vae if num_workers == 0 else deepcopy(vae).cpu()
    writer = _ShardWriter(folder, key, encoder, source, num_clips, fill)

    def make(missing: Sequence[Path]) -> Iterator[None]:
        return make_in_workers(writer, [shards[path] for path in missing], num_workers)

    _make_missing(list(shards), make, "latents")
    return list(shards)


def _shard_path(folder: Path, key: str, first: int, num_clips: int) -> Path:
    """Name a shard. A last one that is not full has a name of its own."""
    count = min(SHARD_CLIPS, num_clips - first)
    size = "" if count == SHARD_CLIPS else f"-{count}"
    return folder / f"{key}-{first // SHARD_CLIPS:04d}{size}.pt"


def _captions(clip: LatentClip) -> tuple[str, tuple[str, ...], str]:
    return clip.background_caption, clip.foreground_captions, clip.full_caption


@dataclass(frozen=True, eq=False)
class _ShardWriter:
    """Writes the shard that begins with a clip."""

    folder: Path
    key: str
    vae: AutoencoderKLWan
    source: ClipSource
    num_clips: int
    fill: str

    def __call__(self, first: int) -> None:
        indices = range(first, min(first + SHARD_CLIPS, self.num_clips))
        encoded = [encode_clip(self.vae, self.source.clip(i), self.fill) for i in indices]
        stored = [(c.latents_SCTHW, _captions(c)) for c in encoded]
        _save(stored, _shard_path(self.folder, self.key, first, self.num_clips))
