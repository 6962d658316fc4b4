"""Stages 2 and 3: the joint transformer on cached latents.

    layert2v-train joint --assets cache/assets --out runs/tiny
    layert2v-train multi-foreground --assets cache/assets --out runs/tiny

Stage 2 learns layers with one foreground at one noise level. Stage 3 goes on from it with one and
several foregrounds, given layers, and a noise level per layer. It is the same loop with another
recipe.

Shape letters: B batch, S streams, C channels, T latent frames, H, W, N text tokens.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor, nn

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.shot import compose_full_prompt
from layert2v_model.streams import batch_stream_text, num_foregrounds_of, stream_layout, stream_text
from layert2v_training.cache.captions import CaptionStates, TokenTable
from layert2v_training.cache.latents import LatentClip, at_home
from layert2v_training.cache.placement import expected_bytes_of, onto
from layert2v_training.learning.loop import Losses, train
from layert2v_training.learning.optimizers import Ema, LoopRecipe
from layert2v_training.learning.run_log import Figures
from layert2v_training.number_kinds import Count, Share, WholeNumber
from layert2v_training.stages.decoded import DecodedLosses, DecodedRecipe, picture_of
from layert2v_training.stages.lora import LoraRecipe
from layert2v_training.stages.losses import add_noise, flow_matching_loss
from layert2v_training.stages.noise import Grid, NoiseMixture, draw_timesteps


@dataclass(frozen=True)
class JointRecipe:
    """A recipe of stage 2 or 3."""

    loop: LoopRecipe
    batch_size: Count = 8
    windowed_share: Share = 0.0
    """Share of steps that see one frame of tokens of each clip instead of all. One frame shows the
    look of layers, and more subjects and scenes pass by."""
    windowed_batch_size: Count = 32
    """Clips in such a step."""
    caption_dropout: Share = 0.1
    """Share of clips seen without any caption, for guidance."""
    noise: NoiseMixture = field(default_factory=NoiseMixture)
    decoded: DecodedRecipe = field(default_factory=DecodedRecipe)
    """Losses of pixels; none by default."""
    lora: LoraRecipe | None = None
    """Adapters to train instead of all parameters. The model must start from another."""
    sheet_every: WholeNumber = 500
    """Steps between sheets of takes by the averaged parameters; 0: none."""
    gradient_checkpointing: bool = False
    """Whether to forget what is inside blocks and compute it again: about a third slower, and
    memory for one block instead of all."""


TINY_TRANSFORMER: Mapping[str, Any] = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 3,
    "attention_head_dim": 128,
    "in_channels": 48,
    "out_channels": 48,
    "text_dim": 384,
    "freq_dim": 256,
    "ffn_dim": 1024,
    "num_layers": 7,
    "prompt_visibility": "isolated",
    "max_foregrounds": 3,
    "foreground_fill": "black",
    "per_stream_timesteps": True,
    "prediction_type": "preconditioned",
}
"""The shipped model's network: 15 M parameters; a token is 16x16 pixels of a frame."""


def make_transformer(config: Mapping[str, Any]) -> LayerT2VTransformer3DModel:
    """Make a network whose head first says 0 everywhere, so that training starts calmly."""
    model = LayerT2VTransformer3DModel(**config)
    nn.init.zeros_(model.proj_out.weight)
    nn.init.zeros_(model.proj_out.bias)
    return model


class JointLoss:
    """Flow-matching loss of a random batch of clips of one size and equally many foregrounds."""

    def __init__(
        self,
        model: LayerT2VTransformer3DModel,
        clips: Sequence[LatentClip],
        captions: CaptionStates,
        recipe: JointRecipe,
        channel_weights_C: Tensor | None = None,
        decoded: DecodedLosses | None = None,
    ) -> None:
        self.recipe, self.decoded = recipe, decoded
        self.visibility, self.patch = model.config.prompt_visibility, model.config.patch_size[0]
        self.groups: dict[torch.Size, list[LatentClip]] = {}
        heard: set[str] = set()
        for clip in clips:
            self.groups.setdefault(clip.latents_SCTHW.shape, []).append(clip)
            heard |= {clip.background_caption, full_caption(clip), *clip.foreground_captions}
        pictures = Counter(clip.latents_SCTHW.shape[2:] for clip in clips)
        self._main_shape = max(pictures, key=lambda shape: pictures[shape])
        captions.encode(heard)
        # Matrix products round it to this anyway.
        dtype_on = recipe.loop.compute_dtype
        self._make_table = cache(
            lambda device: TokenTable(captions, heard, device, dtype_on(device))
        )
        self.channel_weights_C = channel_weights_C

    def __call__(self, model: nn.Module, step: int) -> Losses:
        """Draw a batch, levels and noise from PyTorch's generator, and compare velocities."""
        clips, latents = self._draw()
        device = next(model.parameters()).device
        text, mask = self._text(clips, self._make_table(device))
        layout = stream_layout(num_foregrounds_of(latents.shape[1]))
        grid = Grid(latents.shape[3] // self.patch, self.patch, *latents.shape[4:])
        t_BSF, given_BSTHW = draw_timesteps(len(clips), layout, grid, self.recipe.noise)
        # Where the model is, wherever the clips are: devices draw different numbers.
        noise = torch.randn(latents.shape, device=device)
        latents, text, t_BSF, given_BSTHW, mask = (
            onto(device, x) for x in (latents, text, t_BSF, given_BSTHW, mask)
        )
        t_BST = t_BSF.repeat_interleave(self.patch, dim=2)
        noisy = add_noise(latents, noise, t_BST)
        velocity = model(noisy, 1000 * t_BSF, text.float(), mask, return_dict=False)[0]
        weights = None if self.channel_weights_C is None else self.channel_weights_C.to(device)
        losses = {"flow": flow_matching_loss(velocity, latents, noise, given_BSTHW, weights)}
        if self.decoded is not None:
            t_BSCTHW = t_BST[:, :, None, :, None, None]
            losses |= self.decoded(picture_of(noisy, velocity, t_BSCTHW), latents, t_BST)
        return losses

    def _draw(self) -> tuple[list[LatentClip], Tensor]:
        """Draw clips of one shape, and their latents or a window of them.

        The size and length of most clips decide the work of a batch. Batches of smaller or shorter
        clips have more of them, and batches of larger or longer clips have fewer.
        """
        shapes = sorted(self.groups)
        weights = torch.tensor([float(len(self.groups[shape])) for shape in shapes])
        shape = shapes[int(torch.multinomial(weights, 1))]
        group = self.groups[shape]
        is_windowed = float(torch.rand(())) < self.recipe.windowed_share
        size = self.recipe.windowed_batch_size if is_windowed else self.recipe.batch_size
        axes = slice(-2, None) if is_windowed else slice(-3, None)
        size = size * math.prod(self._main_shape[axes]) // math.prod(shape[axes])
        clips = [group[i] for i in torch.randint(len(group), (max(size, 1),)).tolist()]
        frames = slice(None)
        if is_windowed:
            first = self.patch * int(torch.randint(shape[2] // self.patch, ()))
            frames = slice(first, first + self.patch)
        return clips, torch.stack([clip.streams(frames) for clip in clips])

    def _text(self, clips: Sequence[LatentClip], table: TokenTable) -> tuple[Tensor, Tensor]:
        texts = []
        for clip in clips:
            is_dropped = float(torch.rand(())) < self.recipe.caption_dropout
            texts.append(clip_text(clip, table.rows, self.visibility, is_dropped=is_dropped))
        rows_BSN1, mask_BSN = pad_text(*batch_stream_text(texts))
        return table[rows_BSN1], mask_BSN


TEXT_PER_STREAM = 14
"""Text is padded to multiples of this for each stream, so that a compiled network sees one length
for each number of foregrounds. Scenes' captions have up to 50, 65 and 84 tokens for 4, 6 and 8
streams."""


def pad_text(text_BSND: Tensor, mask_BSN: Tensor | None) -> tuple[Tensor, Tensor]:
    """Pad text (B, S, N, D) to a multiple of `TEXT_PER_STREAM` S. Make its mask explicit."""
    if mask_BSN is None:
        mask_BSN = torch.ones(text_BSND.shape[:3], dtype=torch.bool)
    missing = -text_BSND.shape[2] % (TEXT_PER_STREAM * text_BSND.shape[1])
    return nn.functional.pad(text_BSND, (0, 0, 0, missing)), nn.functional.pad(
        mask_BSN, (0, missing)
    )


def full_caption(clip: LatentClip) -> str:
    """Caption the whole picture in the clip's words, or from its layers' captions."""
    return clip.full_caption or compose_full_prompt(
        clip.background_caption, clip.foreground_captions
    )


def clip_text(
    clip: LatentClip,
    states: Mapping[str, Tensor] | CaptionStates,
    visibility: str,
    *,
    is_dropped: bool,
) -> tuple[Tensor, ...]:
    """Join for each stream what `states` holds of its captions (N, ...); of none if dropped."""
    words = {"full": full_caption(clip), "background": clip.background_caption}
    for number, caption in enumerate(clip.foreground_captions, start=1):
        words[f"foreground_{number}"] = caption
    heard = {name: states["" if is_dropped else text] for name, text in words.items()}
    return stream_text(heard, visibility, len(clip.foreground_captions))  # type: ignore[arg-type]


def train_joint(
    out: Path,
    model: LayerT2VTransformer3DModel,
    clips: Sequence[LatentClip],
    captions: CaptionStates,
    recipe: JointRecipe,
    run: str,
    channel_weights_C: Tensor | None = None,
    decoded: DecodedLosses | None = None,
    sheet: Callable[[int], Figures] | None = None,
) -> Ema:
    """Train `model` in place on `clips`. The run's folder is `out/run`, `sheet` makes pictures."""
    if recipe.gradient_checkpointing:
        model.enable_gradient_checkpointing()
    device = PartialState().device
    clips = at_home(clips, device, expected_bytes_of(model, device))
    loss = JointLoss(model, clips, captions, recipe, channel_weights_C, decoded)
    every = recipe.sheet_every
    return train(
        out / run, model, loss, recipe.loop,
        evaluate=sheet if every else None, evaluate_every=every,
    )  # fmt: skip
