"""The joint sequence: which streams it holds, in which order, and which prompts each one sees.

Shape letters: B batch, S streams, N tokens of text, D width, C channels, T latent frames, H, W.
Order of streams: full, background, foreground_1, alpha_1, foreground_2, alpha_2, ... with
foregrounds back to front. One foreground gives exactly the released layout.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import torch
from torch import Tensor

from layert2v_model.errors import InvalidShot

PromptVisibility = Literal["released", "isolated"]
"""`released`: layers also read the full prompt. `isolated`: each layer reads its own only."""

PROMPT_VISIBILITIES: tuple[PromptVisibility, ...] = ("released", "isolated")


class StreamRole(IntEnum):
    """The role of a stream. The value is its row of LayerAdaLN.

    Source: LayerT2V's release, `LayerAdaLN`: rows full, background, foreground, mask.
    """

    FULL = 0
    BACKGROUND = 1
    FOREGROUND = 2
    ALPHA = 3


@dataclass(frozen=True)
class Stream:
    """One video inside the joint sequence."""

    role: StreamRole
    """The stream's role."""
    foreground: int = 0
    """Number of its foreground, counted from 1 at the back; 0 for full and background."""

    @property
    def name(self) -> str:
        """`full`, `background`, `foreground_k` or `alpha_k`."""
        role = self.role.name.lower()
        return f"{role}_{self.foreground}" if self.foreground else role


def stream_layout(num_foregrounds: int) -> tuple[Stream, ...]:
    """List the streams of a shot in their order, S = 2 + 2 * `num_foregrounds`."""
    if num_foregrounds < 1:
        raise InvalidShot(f"a shot has at least 1 foreground, got {num_foregrounds}; add one")
    streams = [Stream(StreamRole.FULL), Stream(StreamRole.BACKGROUND)]
    for number in range(1, num_foregrounds + 1):
        streams += [Stream(StreamRole.FOREGROUND, number), Stream(StreamRole.ALPHA, number)]
    return tuple(streams)


def stream_names(num_foregrounds: int) -> tuple[str, ...]:
    """Name the streams of a shot in their order."""
    return tuple(stream.name for stream in stream_layout(num_foregrounds))


def num_foregrounds_of(num_streams: int) -> int:
    """Count the foregrounds in a joint sequence of `num_streams`.

    Raises:
        InvalidShot: The number is odd or under 4.
    """
    if num_streams < 4 or num_streams % 2:
        raise InvalidShot(
            f"a joint sequence has 2 + 2 N streams (4, 6, 8, ...), got {num_streams}; "
            f"give full, background, then foreground and alpha for each foreground"
        )
    return (num_streams - 2) // 2


def prompt_names(num_foregrounds: int) -> tuple[str, ...]:
    """Name the prompts of a shot: full, background, foreground_1, ..."""
    foregrounds = (f"foreground_{k}" for k in range(1, num_foregrounds + 1))
    return ("full", "background", *foregrounds)


def visible_prompts(
    visibility: PromptVisibility, num_foregrounds: int
) -> tuple[tuple[str, ...], ...]:
    """Say for each stream which prompts it reads, in the order of `prompt_names`.

    Source: the visibility table of LayerT2V's release, extended to several foregrounds.
    """
    names = prompt_names(num_foregrounds)
    return tuple(
        _visible_to(stream, visibility, names) for stream in stream_layout(num_foregrounds)
    )


def _visible_to(
    stream: Stream, visibility: PromptVisibility, names: tuple[str, ...]
) -> tuple[str, ...]:
    if stream.role is StreamRole.FULL:
        return names
    own = f"foreground_{stream.foreground}" if stream.foreground else "background"
    return ("full", own) if visibility == "released" else (own,)


def stream_text(
    states: Mapping[str, Tensor], visibility: PromptVisibility, num_foregrounds: int
) -> tuple[Tensor, ...]:
    """Join for each stream the token states of the prompts it sees.

    Args:
        states: Per prompt name its token states (N, D), trimmed to their true length.
        visibility: The checkpoint's rule.
        num_foregrounds: Foregrounds of the shot, from 1.

    Returns:
        S tensors (N of the stream, D).
    """
    return tuple(
        torch.cat([states[name] for name in visible])
        for visible in visible_prompts(visibility, num_foregrounds)
    )


def batch_stream_text(texts: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor | None]:
    """Pad the text of B shots to one length.

    Args:
        texts: For each shot, for each stream, token states (N, D) with N at least 1.

    Returns:
        Text (B, S, N, D), zero where padded, and a boolean (B, S, N) that is true on real tokens,
        or None where nothing was padded.
    """
    lengths = [[len(text) for text in shot] for shot in texts]
    longest = max(max(row) for row in lengths)
    sample = texts[0][0]
    text_BSND = sample.new_zeros(len(texts), len(texts[0]), longest, sample.shape[-1])
    for b, shot in enumerate(texts):
        for s, tokens_ND in enumerate(shot):
            text_BSND[b, s, : len(tokens_ND)] = tokens_ND
    if min(min(row) for row in lengths) == longest:
        return text_BSND, None
    positions_N = torch.arange(longest)
    mask_BSN = positions_N < torch.tensor(lengths)[..., None]
    return text_BSND, mask_BSN.to(sample.device)


def noise_seed(seed: int, name: str) -> int:
    """Derive the seed of a stream's noise from the seed that it was given, and its name.

    In [0, 2**63), equal on every machine and version.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
