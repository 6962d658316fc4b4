"""Noise levels of flow matching: t in [0, 1], 1 is noise and 0 the picture.

Given parts have the same forms in training as in a shot (`layert2v_model.sampling.conditioning`).
Whole streams and whole frames of tokens sit clean at t = 0. A region is as noisy as the rest, for a
frame of tokens has one timestep. Guidance that leads away from given parts hides them at t = 1.
"""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from layert2v_model.streams import Stream, StreamRole
from layert2v_training.stages.given_draws import (
    draw_layers,
    draw_range,
    draw_region,
    streams_of_layers,
)

DETAIL_SHIFT = 1.5
"""A third of its levels lie below one half, against a seventh with shift 3."""


FULL_ALONE, ANY_STREAMS = 0.3, 0.2
"""Shares of the ways in which `draw_given` chooses. The shipped weights were trained before there
was the second, when whole layers were given instead."""


@dataclass(frozen=True)
class NoiseMixture:
    """Shares of the ways to draw noise levels. What is left of 1 draws a level for each layer."""

    shift: float = 3.0
    """Shift of the sampler's schedule. Training draws from the same: t -> s t / (1 + (s - 1) t)."""
    synchronous: float = 1.0
    """All streams at one level, as released."""
    given_layers: float = 0.0
    """A random set of whole streams given (level 0), the rest at one level; see `draw_given`."""
    given_frames: float = 0.0
    """Some frames of tokens of some or all layers given, the other layers given or not."""
    given_regions: float = 0.0
    """A rectangle of some layers given, or all around it. It is at the level of the rest, as when a
    shot is made, and only the loss knows."""
    independent_frames: float = 0.0
    """A level for each stream and frame of tokens."""
    hidden: float = 0.0
    """Share, of the clips with given layers or frames, whose given parts are pure noise at level 1.
    Guidance compares with such shots."""
    detail: float = 0.0
    """Share of the clips whose levels are drawn with `DETAIL_SHIFT` instead: more of the low ones,
    where edges are decided."""

    def __post_init__(self) -> None:
        """Refuse shares that are none.

        Raises:
            ValueError: Names the field.
        """
        shares = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "shift"}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} is {share}; a share lies in [0, 1]")
        apart = ("hidden", "detail")
        total = sum(share for name, share in shares.items() if name not in apart)
        if total > 1 + 1e-9:
            named = ", ".join(f"{k} {v:g}" for k, v in shares.items() if v and k not in apart)
            raise ValueError(f"the shares {named} add up to {total:g}, at most is 1; lower one")
        if self.shift <= 0:
            raise ValueError(f"shift is {self.shift}; use a number above 0, 1 for no shift")


class Grid(NamedTuple):
    """Latents and tokens of one stream."""

    num_frames: int
    """Frames of tokens, F."""
    frames_per_token: int
    """Latent frames in one of them."""
    height: int
    """Latents."""
    width: int
    """Latents."""


class Levels(NamedTuple):
    """The noise levels of a batch."""

    t_BSF: Tensor
    """Noise levels in [0, 1] per stream and frame of tokens."""
    given_BSTHW: Tensor
    """Booleans per latent, true where given, so that it counts for nothing. T, H and W are 1 where
    every stream of the batch is given whole or not at all."""


def draw_levels(batch_size: int, shift: float | Tensor) -> Tensor:
    """Draw t (B,) in (0, 1) logit-normal, then shift it as the sampler's schedule is shifted.

    `shift` is above 0: one, or (B,), one for each.

    Source:
        Esser et al., "Scaling Rectified Flow Transformers", 2024, logit-normal sampling and
        equation 23 for the shift.
    """
    t = torch.sigmoid(torch.randn(batch_size))
    return shift * t / (1 + (shift - 1) * t)


def draw_timesteps(
    batch_size: int, layout: tuple[Stream, ...], grid: Grid, mixture: NoiseMixture
) -> Levels:
    """Draw a noise level for every stream and frame of tokens, and what is given."""
    is_detail_B = torch.rand(batch_size) < mixture.detail
    shift_B = torch.where(is_detail_B, DETAIL_SHIFT, mixture.shift)
    t_BSF = draw_levels(batch_size, shift_B)[:, None, None]
    t_BSF = t_BSF.repeat(1, len(layout), grid.num_frames)
    given = []
    for t_SF, shift in zip(t_BSF, shift_B.tolist(), strict=True):
        given.append(_draw_clip(t_SF, layout, grid, replace(mixture, shift=shift)))
    return Levels(t_BSF, _stacked(given))


def _draw_clip(
    t_SF: Tensor, layout: tuple[Stream, ...], grid: Grid, mixture: NoiseMixture
) -> Tensor:
    """Choose one clip's way and write its levels into `t_SF`; return what is given, (S, T, H, W).

    Clips with one frame of tokens have no ranges: there whole layers are given.
    """
    kind = float(torch.rand(()))
    shares = (
        mixture.synchronous,
        mixture.given_layers,
        mixture.given_frames,
        mixture.given_regions,
        mixture.independent_frames,
    )
    way = sum(kind >= sum(shares[: i + 1]) for i in range(len(shares)))
    if way == 0:
        return torch.zeros(len(layout), 1, 1, 1, dtype=torch.bool)
    if way == 1 or (way == 2 and grid.num_frames == 1):
        return _given_at_zero(t_SF, draw_given(layout)[:, None], mixture)
    if way == 2:
        given_SF = draw_given_frames(layout, grid.num_frames)
        given_ST11 = _given_at_zero(t_SF, given_SF, mixture)
        return given_ST11.repeat_interleave(grid.frames_per_token, dim=1)
    if way == 3:
        chosen_S = streams_of_layers(draw_layers(layout), layout)
        return chosen_S[:, None, None, None] & draw_region(grid.height, grid.width)
    if way == 4:
        t_SF.copy_(draw_levels(t_SF.numel(), mixture.shift).view_as(t_SF))
    else:
        levels = draw_levels(len(layout), mixture.shift)
        t_SF.copy_(_same_per_layer(levels, layout)[:, None])
    return torch.zeros(len(layout), 1, 1, 1, dtype=torch.bool)


def _given_at_zero(t_SF: Tensor, given_SF: Tensor, mixture: NoiseMixture) -> Tensor:
    """Put what is given at level 0, or at 1 where it is hidden. Return it as (S, F or 1, 1, 1)."""
    is_hidden = mixture.hidden > 0 and float(torch.rand(())) < mixture.hidden
    t_SF[given_SF.expand_as(t_SF)] = 1.0 if is_hidden else 0.0
    return given_SF[:, :, None, None]


def draw_given(layout: tuple[Stream, ...]) -> Tensor:
    """Choose streams to give, at least one and not all: a boolean (S,).

    The full video is given alone (decomposition) in `FULL_ALONE` of the cases. In `ANY_STREAMS` any
    set of streams is, each with probability one half: a foreground's colour without its alpha, an
    alpha without its colour, the full video beside layers. Otherwise background and foregrounds,
    with their alphas, are given each with probability one half.
    """
    kind = float(torch.rand(()))
    if kind < FULL_ALONE:
        return torch.tensor([stream.role is StreamRole.FULL for stream in layout])
    if kind < FULL_ALONE + ANY_STREAMS:
        return _some(len(layout))
    layers = _some(len(layout) // 2)
    chosen = [stream.role is not StreamRole.FULL and bool(layers[stream.foreground])
              for stream in layout]  # fmt: skip
    return torch.tensor(chosen)


def _some(count: int) -> Tensor:
    """Choose among `count`, each with probability one half, some and not all: booleans."""
    while True:
        chosen = torch.rand(count) < 0.5
        if chosen.any() and not chosen.all():
            return chosen


def draw_given_frames(layout: tuple[Stream, ...], num_frames: int) -> Tensor:
    """Choose frames of tokens to give: booleans (S, F), some true and some false.

    Half the time a whole take goes on from its given frames. Else some layers do, beside others
    that are given whole or are made with them.
    """
    extended_S = torch.ones(len(layout), dtype=torch.bool)
    if float(torch.rand(())) < 0.5:
        extended_S = streams_of_layers(draw_layers(layout), layout)
    others_S = ~extended_S & (torch.rand(()) < 0.5)
    return others_S[:, None] | (extended_S[:, None] & draw_range(num_frames))


def _same_per_layer(levels_S: Tensor, layout: tuple[Stream, ...]) -> Tensor:
    """Give a foreground and its alpha the same level."""
    number = [0 if s.role is StreamRole.FULL else 1 + s.foreground for s in layout]
    return levels_S[torch.tensor(number)]


def _stacked(given: list[Tensor]) -> Tensor:
    """Stack clips' booleans (S, T, H, W) whose T, H, W may be 1, at the largest of them."""
    shape = torch.broadcast_shapes(*(clip.shape for clip in given))
    return torch.stack([clip.expand(shape) for clip in given])
