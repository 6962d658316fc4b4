"""The cost of a shot on a device, before anything heavy is loaded: tokens, memory, seconds.

Formulas over the parts' configs. No torch is imported, so a front door may ask.
Checked against measured peaks in `tests/model/cost/test_estimate.py`.
Shape letters as in `transformer.py`: S streams, N tokens of all of them, F frames of tokens, D
width.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layert2v_model.at_once import FEED_FORWARD_BYTES, PIXELS_PER_DECODE
from layert2v_model.cost.device import Device
from layert2v_model.shot import ShotFormat

FLOAT32_BYTES = 4
"""The VAEs, the text encoder, latents and modulation are float32 even if the transformer is not."""

STEP_SHARE, DECODE_SHARE = 0.85, 0.6
"""Share of a device's matrix rate that steps and decoding reach. Measured on one CPU core in
float32, November 2026: steps of width 384 at 11 520 tokens 0.93, within a window 0.79; decoding
0.64. No GPU was measured."""

NUM_TEXT_TOKENS = 128
"""Tokens of the longest text that one stream reads, where nothing else is known."""


@dataclass(frozen=True)
class ModelSize:
    """The facts of a model that decide its cost."""

    transformer: Mapping[str, Any]
    """Its config."""
    vae: Mapping[str, Any]
    """Its config. The alpha VAE's is the same."""
    weights_bytes: Mapping[str, int]
    """Bytes of every part as loaded: `transformer`, `vae`, `alpha_vae`, `text_encoder`."""
    transformer_bytes: int = FLOAT32_BYTES
    """Bytes of one number inside the transformer: 2 or 4."""

    @classmethod
    def read(cls, folder: Path, transformer_bytes: int) -> "ModelSize":
        """Read the configs and the tensor lists of a diffusers folder, no tensor.

        A text encoder that comes from a package and not from the folder is counted as nothing.
        """
        sizes = {
            "transformer": transformer_bytes,
            "vae": FLOAT32_BYTES,
            "alpha_vae": FLOAT32_BYTES,
            "text_encoder": FLOAT32_BYTES,
        }
        weights = {part: size * _num_parameters(folder / part) for part, size in sizes.items()}
        transformer, vae = (
            json.loads((folder / part / "config.json").read_text())
            for part in ("transformer", "vae")
        )
        return cls(transformer, vae, weights, transformer_bytes)

    @property
    def dim(self) -> int:
        """Width of the transformer, D."""
        return int(self.transformer["num_attention_heads"] * self.transformer["attention_head_dim"])

    @property
    def spatial_factor(self) -> int:
        """Pixels along one side of a latent pixel."""
        return int(2 ** (len(self.vae["dim_mult"]) - 1) * (self.vae.get("patch_size") or 1))

    @property
    def temporal_factor(self) -> int:
        """Frames that one latent frame after the first stands for."""
        return int(2 ** sum(bool(halves) for halves in self.vae["temperal_downsample"]))

    def grid(self, shot: ShotFormat) -> tuple[int, int]:
        """Return frames of tokens, F, and tokens of one frame."""
        frames, *patch = self.transformer["patch_size"]
        latent_frames = 1 + (shot.num_frames - 1) // self.temporal_factor
        height, width = (
            n // self.spatial_factor // p
            for n, p in zip((shot.height, shot.width), patch, strict=True)
        )
        return latent_frames // frames, height * width

    @property
    def can_tile(self) -> bool:
        """Whether its VAE decodes in tiles: the library's need levels, and no patches."""
        return len(self.vae["dim_mult"]) > 1 and not self.vae.get("patch_size")


@dataclass(frozen=True)
class Estimate:
    """The cost of a shot. All figures but the seconds are independent of the device."""

    tokens: int
    """Tokens of all streams, for one prompt."""
    weights_bytes: int
    """Bytes of all parts."""
    denoise_bytes: int
    """Most that a step holds beyond weights: latents, text, and the activations of one block."""
    decode_bytes: int
    """Most that decoding one batch of streams holds beyond weights."""
    peak_bytes: int
    """Most at any time with all parts on the device, without the program's own libraries."""
    seconds: float
    """Denoising and decoding. The rest is small. NaN where the device was not measured."""


def estimate(shot: ShotFormat, model: ModelSize, device: Device) -> Estimate:
    """Estimate what a shot costs with all parts on the device."""
    frames, tokens_per_frame = model.grid(shot)
    denoise, decode = denoise_bytes(shot, model), decode_bytes(shot, model)
    weights = sum(model.weights_bytes.values())
    steps = shot.num_inference_steps * step_flops(shot, model)
    flops = steps / STEP_SHARE + decode_flops(shot, model) / DECODE_SHARE
    return Estimate(
        tokens=shot.num_streams * frames * tokens_per_frame,
        weights_bytes=weights,
        denoise_bytes=denoise,
        decode_bytes=decode,
        peak_bytes=weights + max(denoise, decode),
        seconds=flops / device.flops_per_s,
    )


# -------------------------------------------------------------------------------------------------
# Memory


def denoise_bytes(
    shot: ShotFormat, model: ModelSize, num_text_tokens: int = NUM_TEXT_TOKENS
) -> int:
    """Latents, what is kept of the text, rotary tables, and one block at its fullest."""
    frames, tokens_per_frame = model.grid(shot)
    tokens = shot.num_streams * frames * tokens_per_frame
    patch_numbers = math.prod(model.transformer["patch_size"]) * model.transformer["in_channels"]
    # Noise, clean, latents, velocity per prompt and its combination, each float32.
    latents = (5 + shot.batch_size) * tokens * patch_numbers * FLOAT32_BYTES
    texts = 2 + shot.num_foregrounds + (shot.batch_size - 1)
    text = 2 * model.transformer["num_layers"] * texts * num_text_tokens * model.dim
    rotary = 2 * tokens * model.transformer["attention_head_dim"] * FLOAT32_BYTES
    block = _block_bytes(shot.batch_size * tokens, model, is_windowed=is_windowed(shot, model))
    return latents + text * model.transformer_bytes + rotary + block


def _block_bytes(tokens: int, model: ModelSize, *, is_windowed: bool) -> int:
    """The fullest moment of a block: in its modulation, its attention or its feed-forward."""
    size = model.transformer_bytes
    # Tokens, normed and modulated in float32, and rounded.
    modulation = 2 * size + 2 * FLOAT32_BYTES
    # Residual, normed, query, key, value, output; a window also keeps query and key before their
    # rotation, key and value by frames, and three outputs.
    attention = (13 if is_windowed else 6) * size
    hidden = min(tokens * model.transformer["ffn_dim"] * size, FEED_FORWARD_BYTES)
    # Residual, the block's input, normed.
    feed_forward = 3 * size * tokens * model.dim + 2 * hidden
    return int(max(tokens * model.dim * max(modulation, attention), feed_forward))


def is_windowed(shot: ShotFormat, model: ModelSize) -> bool:
    """Say whether the window leaves out any frame of this shot."""
    reach = model.transformer.get("cross_stream_window")
    return reach is not None and reach < model.grid(shot)[0] - 1


def decode_bytes(shot: ShotFormat, model: ModelSize, tile_pixels: int | None = None) -> int:
    """One chunk of one batch of streams in the decoder, its caches, and all frames made.

    A causal convolution keeps two frames of its input. A residual block holds its input, its
    normed input, the same with two cached frames in front, that once more padded, and its output.

    Args:
        shot: Its size.
        model: Its VAE.
        tile_pixels: Pixels of a tile; None: whole frames.
    """
    frame = shot.width * shot.height
    together = PIXELS_PER_DECODE // frame
    # All streams in turns where they fit, else the colours or the alphas.
    fits = shot.num_streams <= together
    batch = shot.num_streams if fits else max(1, min(2 + shot.num_foregrounds, together))
    at_once = batch * min(frame, tile_pixels or frame)
    levels = _decoder_levels(model)
    caches = sum(2 * convs * channels * share for channels, convs, share, _ in levels)
    live = max((5 * chunk + 4) * channels * share for channels, _, share, chunk in levels)
    # As the decoder leaves them and joined, for this batch; three colours of every stream at most.
    pictures = 3 * (2 * batch + shot.num_streams) * shot.num_frames * frame
    return int(FLOAT32_BYTES * (at_once * (caches + live) + pictures))


def _decoder_levels(model: ModelSize) -> list[tuple[int, int, float, int]]:
    """List the decoder's levels: channels, convolutions, area against a pixel's, frames of a chunk.

    Source: diffusers 0.42, `WanDecoder3d`: the middle and the first level share their channels;
    each level has `num_res_blocks` + 1 residual blocks of two convolutions.
    """
    config = model.vae
    width = config.get("decoder_base_dim") or config["base_dim"]
    multiples = list(reversed(config["dim_mult"]))
    doublings = [bool(d) for d in reversed(config["temperal_downsample"])]
    blocks = config["num_res_blocks"] + 1
    chunk = 1 if any(doublings) else 4
    levels = [(width * multiples[0], 4, model.spatial_factor**-2.0, chunk)]
    for index, multiple in enumerate(multiples):
        share = (model.spatial_factor / 2**index) ** -2.0
        levels.append((width * multiple, 2 * blocks, share, chunk))
        if index < len(doublings) and doublings[index]:
            chunk *= 2
    return levels


# -------------------------------------------------------------------------------------------------
# Time


def step_flops(shot: ShotFormat, model: ModelSize, num_text_tokens: int = NUM_TEXT_TOKENS) -> float:
    """Count the multiplications and additions of one step, twice under guidance.

    Per token and block: six square projections (two of cross-attention's four are made once), the
    feed-forward, and attention to the keys in sight.
    """
    frames, tokens_per_frame = model.grid(shot)
    streams, dim = shot.num_streams, model.dim
    tokens = streams * frames * tokens_per_frame
    seen = streams * frames
    if is_windowed(shot, model):
        seen = frames + (streams - 1) * min(
            frames, 2 * model.transformer["cross_stream_window"] + 1
        )
    linear = 2 * (6 * dim**2 + 2 * dim * model.transformer["ffn_dim"])
    attention = 4 * dim * (seen * tokens_per_frame + num_text_tokens)
    return float(shot.batch_size * tokens * model.transformer["num_layers"] * (linear + attention))


def decode_flops(shot: ShotFormat, model: ModelSize) -> float:
    """Count those of decoding all streams: 3 x 3 x 3 convolutions."""
    chunks = math.ceil(shot.num_frames / max(level[3] for level in _decoder_levels(model)))
    per_pixel = sum(
        54 * channels**2 * convs * share * chunk
        for channels, convs, share, chunk in _decoder_levels(model)
    )
    return float(shot.num_streams * shot.width * shot.height * chunks * per_pixel)


def _num_parameters(folder: Path) -> int:
    """Count the numbers in a folder's safetensors files from their headers alone."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError(f"{path} is cut short")
            header = json.loads(file.read(length))
        total += sum(math.prod(t["shape"]) for key, t in header.items() if key != "__metadata__")
    return total
