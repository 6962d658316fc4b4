"""Latents of clips, encoded once and kept on disk in shards.

A shard's file name holds a digest of everything that decides its content (source, sizes, encoder
weights), so that a change of any of them makes new shards instead of wrong ones.

Shape letters: S streams in the joint order, C channels, T latent frames, H, W.
"""

import hashlib
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState
from diffusers import AutoencoderKLWan
from einops import rearrange
from torch import Tensor
from tqdm import tqdm

from layert2v_training.clips import ClipSource, LayeredClip, Pixels
from layert2v_training.linear_vae import encode_pixels
from layert2v_training.workers import make_in_workers

SHARD_CLIPS = 250


@dataclass(frozen=True, eq=False)
class LatentClip:
    """A clip as the transformer sees it."""

    latents_SCTHW: Tensor
    """Half precision, normalised; alpha streams **not** yet through `project_in`."""
    background_caption: str
    foreground_captions: tuple[str, ...]
    full_caption: str = ""
    """Empty: made of the others."""


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
    """Encode the streams of a clip; `fill` as in `videos_of`."""
    videos = videos_of(clip, fill)
    pixels = torch.stack(
        [rearrange(torch.from_numpy(video), "t h w c -> c t h w") for video in videos]
    )
    with torch.no_grad():
        latents = encode_pixels(vae, pixels.to(vae.device)).to("cpu", torch.float16)
    captions = tuple(layer.caption for layer in clip.foregrounds)
    return LatentClip(latents, clip.background_caption, captions, clip.full_caption)


def cache_key(vae: AutoencoderKLWan, source: ClipSource, fill: str = "black") -> str:
    """Digest of the encoder's weights, the source's key and foregrounds' fill."""
    digest = hashlib.sha256(source.key.encode())
    digest.update(b"" if fill == "black" else fill.encode())
    for name, value in sorted(vae.encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def load_latents(
    folder: Path,
    vae: AutoencoderKLWan,
    source: ClipSource,
    num_clips: int,
    num_workers: int = 0,
    device: torch.device | None = None,
    fill: str = "black",
) -> list[LatentClip]:
    """Read the latents of clips 0 to `num_clips` - 1, encoding the shards that are missing.

    Several processes of a run share the shards to encode, each with workers of its own. Latents
    are read onto `device` if they take less than half of its free memory. `fill` as in `videos_of`.
    """
    shards = write_latents(folder, vae, source, num_clips, num_workers, fill)
    home, clips = _home(shards, device), list[LatentClip]()
    for path in shards:
        stored = torch.load(path, weights_only=True, map_location=home)
        clips += [LatentClip(latents, *captions) for latents, captions in stored]
    return clips


def _home(shards: list[Path], device: torch.device | None) -> torch.device:
    if device is None or device.type != "cuda":
        return torch.device("cpu")
    free, _ = torch.cuda.mem_get_info(device)
    is_fitting = sum(path.stat().st_size for path in shards) < free / 2
    return device if is_fitting else torch.device("cpu")


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
    processes = PartialState()
    missing = [path for path in shards if not path.is_file()]
    processes.wait_for_everyone()
    own = missing[processes.process_index :: processes.num_processes]
    encoder = vae if num_workers == 0 else deepcopy(vae).cpu()
    writer = _ShardWriter(folder, key, encoder, source, num_clips, fill)
    written = make_in_workers(writer, [shards[path] for path in own], num_workers)
    bar = tqdm(total=len(own), desc="latents", mininterval=10, ascii=True, disable=not own)
    for _ in written:
        bar.update()
    bar.close()
    processes.wait_for_everyone()
    return list(shards)


def _shard_path(folder: Path, key: str, first: int, num_clips: int) -> Path:
    """Name a shard; a last one that is not full has a name of its own."""
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
        path = _shard_path(self.folder, self.key, first, self.num_clips)
        partial = path.with_suffix(".part")
        torch.save(stored, partial)
        partial.replace(path)
