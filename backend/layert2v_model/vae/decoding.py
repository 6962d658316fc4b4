"""Latents of a take's streams to pixels, with progress, stoppable between chunks.

Shape letters: B streams decoded together, C channels, T frames, H, W.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping

import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from layert2v_model.at_once import PIXELS_PER_DECODE
from layert2v_model.vae import codec
from layert2v_model.vae.alpha_vae import rgb_to_alpha
from layert2v_model.vae.not_finite import check_streams

OnProgress = Callable[[str, int, int], None]
"""Called with the stage (encoding, denoising, decoding), steps done and steps in all. It may raise
to stop."""


def decode_frames(
    vae: AutoencoderKLWan,
    alpha_vae: AutoencoderKLWan,
    latents: Mapping[str, Tensor],
    tell: OnProgress,
    *,
    tile: bool = False,
) -> Iterator[tuple[slice, dict[str, Tensor]]]:
    """Decode streams together, a few frames at a time, so that others can work on them meanwhile.

    Streams that do not fit into memory together are decoded batch after batch. The frames then
    come with the last batch. Frames decoded together are the same whichever way they come.

    Args:
        vae: Decodes the colour streams.
        alpha_vae: Decodes the alpha streams.
        latents: Normalised latents (1, C, T, H, W) by stream name, at least one.
        tell: Called between chunks as stage `decoding`.
        tile: Decode one batch after the other in tiles, all frames at once; the VAEs `can_tile`.

    Yields: The numbers of the next frames, and the pixels of every stream in these frames. Pixels
    are in [0, 1] as the network made them (not made straight), float32 on the CPU: (T, 3, H, W), or
    (T, 1, H, W) for an alpha.

    Raises:
        NotFinite: A stream's pixels are not.
    """
    first, together = _batches(vae, latents, in_turns=not tile)
    lengths = [codec.num_decode_steps(vae, latents[names[0]]) for names in first + together]
    num_steps = len(lengths) if tile else sum(lengths)
    tell("decoding", 0, num_steps)
    steps = itertools.count(1)

    def decode(names: tuple[str, ...]) -> Iterator[dict[str, Tensor]]:
        is_alpha = names[0].startswith("alpha_")
        latents_BCTHW = torch.cat([latents[name] for name in names])
        decoder = alpha_vae if is_alpha else vae
        chunks = (
            iter([codec.decode_tiled(decoder, latents_BCTHW)])
            if tile
            else codec.decode_chunks(decoder, latents_BCTHW)
        )
        for raw in chunks:
            # Before it is clipped, for infinity clips to white.
            check_streams(dict(zip(names, raw, strict=True)), "decoding")
            pixels_BCTHW = rgb_to_alpha(raw) if is_alpha else codec.to_unit(raw)
            frames_BTCHW = pixels_BCTHW.transpose(1, 2).cpu()
            tell("decoding", next(steps), num_steps)
            yield dict(zip(names, frames_BTCHW, strict=True))

    whole: dict[str, Tensor] = {}
    for names in first:
        made = list(decode(names))
        whole |= {name: torch.cat([part[name] for part in made]) for name in names}
    begin = 0
    for parts in zip(*map(decode, together), strict=True):
        pixels = {name: made_TCHW for part in parts for name, made_TCHW in part.items()}
        frames = slice(begin, begin + len(next(iter(pixels.values()))))
        yield frames, pixels | {name: stream[frames] for name, stream in whole.items()}
        begin = frames.stop


Batch = tuple[str, ...]


def _batches(
    vae: AutoencoderKLWan, latents: Mapping[str, Tensor], *, in_turns: bool
) -> tuple[list[Batch], list[Batch]]:
    """Group streams that share a decoder, as many at once as memory allows.

    Returns:
        The batches to decode one after the other, and then those to decode in turns.
    """
    *_, height, width = next(iter(latents.values())).shape
    size = max(1, PIXELS_PER_DECODE // (height * width * codec.spatial_factor(vae) ** 2))
    alphas = [name for name in latents if name.startswith("alpha_")]
    colours = [name for name in latents if name not in alphas]
    batches = [
        tuple(group[start : start + size])
        for group in (colours, alphas)
        for start in range(0, len(group), size)
    ]
    num_first = 0 if in_turns and len(latents) <= size else len(batches) - 1
    return batches[:num_first], batches[num_first:]
