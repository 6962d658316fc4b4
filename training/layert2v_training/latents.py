"""Latents of clips, encoded once and kept on disk in shards.

A shard's file name holds a digest of everything that decides its content (source, sizes, encoder
weights), so that a change of any of them makes new shards instead of wrong ones.

Shape letters: S streams in the joint order, C channels, T latent frames, H, W.
"""

import hashlib
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


def encode_clip(vae: AutoencoderKLWan, clip: LayeredClip) -> LatentClip:
    """Encode the streams of a clip; foregrounds are premultiplied on black."""
    videos: list[Pixels] = [clip.full_THWC, clip.background_THWC]
    for layer in clip.foregrounds:
        alpha_THWC = layer.alpha_THW[..., None]
        videos += [layer.rgb_THWC * alpha_THWC, alpha_THWC.repeat(3, -1)]
    pixels = torch.stack(
        [rearrange(torch.from_numpy(video), "t h w c -> c t h w") for video in videos]
    )
    with torch.no_grad():
        latents = encode_pixels(vae, pixels.to(vae.device)).to("cpu", torch.float16)
    captions = tuple(layer.caption for layer in clip.foregrounds)
    return LatentClip(latents, clip.background_caption, captions, clip.full_caption)


def cache_key(vae: AutoencoderKLWan, source: ClipSource) -> str:
    """Digest of the encoder's weights and the source's key."""
    digest = hashlib.sha256(source.key.encode())
    for name, value in sorted(vae.encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def load_latents(
    folder: Path, vae: AutoencoderKLWan, source: ClipSource, num_clips: int
) -> list[LatentClip]:
    """Read the latents of clips 0 to `num_clips` - 1, encoding the shards that are missing.

    Several processes share the shards to encode.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = cache_key(vae, source)
    shards = {
        _shard_path(folder, key, first, num_clips): range(
            first, min(first + SHARD_CLIPS, num_clips)
        )
        for first in range(0, num_clips, SHARD_CLIPS)
    }
    processes = PartialState()
    missing = [path for path in shards if not path.is_file()]
    processes.wait_for_everyone()
    own = missing[processes.process_index :: processes.num_processes]
    for path in tqdm(own, desc="latents", mininterval=10, ascii=True, disable=not own):
        _write_shard(path, vae, source, shards[path])
    processes.wait_for_everyone()
    stored = [clip for path in shards for clip in torch.load(path, weights_only=True)]
    return [LatentClip(latents, *captions) for latents, captions in stored]


def _shard_path(folder: Path, key: str, first: int, num_clips: int) -> Path:
    """Name a shard; a last one that is not full has a name of its own."""
    count = min(SHARD_CLIPS, num_clips - first)
    size = "" if count == SHARD_CLIPS else f"-{count}"
    return folder / f"{key}-{first // SHARD_CLIPS:04d}{size}.pt"


def _captions(clip: LatentClip) -> tuple[str, tuple[str, ...], str]:
    return clip.background_caption, clip.foreground_captions, clip.full_caption


def _write_shard(path: Path, vae: AutoencoderKLWan, source: ClipSource, clips: range) -> None:
    encoded = [encode_clip(vae, source.clip(i)) for i in clips]
    stored = [(c.latents_SCTHW, _captions(c)) for c in encoded]
    partial = path.with_suffix(".part")
    torch.save(stored, partial)
    partial.replace(path)
