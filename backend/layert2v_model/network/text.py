"""Prompts to token states, and what a transformer makes of them once for a whole job.

Shape letters: B batch, S streams, U distinct texts, N tokens, D width.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from layert2v_model.errors import InvalidShot
from layert2v_model.network.attention import KeyValue


def clean_prompt(prompt: str) -> str:
    """Join a prompt's words by single spaces."""
    return " ".join(prompt.split())


def encode_prompt(tokenizer: Any, text_encoder: Any, prompt: str) -> Tensor:
    """Encode one prompt by itself: its token states (N, D), special tokens included.

    Each prompt is encoded alone, so it does not depend on its neighbours by a single bit.

    Raises:
        InvalidShot: The prompt has more tokens than the text encoder takes.
    """
    tokens = tokenizer(clean_prompt(prompt), return_tensors="pt", verbose=False)
    length, limit = tokens.input_ids.shape[1], max_tokens(tokenizer, text_encoder)
    if length > limit:
        raise InvalidShot(
            f"the prompt {prompt[:40]!r}... has {length} tokens, and the text encoder takes "
            f"{limit}; shorten it"
        )
    with torch.inference_mode():
        output = text_encoder(
            input_ids=tokens.input_ids.to(text_encoder.device),
            attention_mask=tokens.attention_mask.to(text_encoder.device),
        )
    # Cloned outside inference mode: training caches these.
    return torch.clone(output.last_hidden_state[0])


def max_tokens(tokenizer: Any, text_encoder: Any) -> int:
    """Say how many tokens of one prompt the text encoder takes."""
    # Encoders with relative positions (T5) have no table. Their tokenizer knows the limit.
    positions = getattr(text_encoder.config, "max_position_embeddings", None)
    return min(int(positions or 512), int(tokenizer.model_max_length))


@dataclass(frozen=True)
class TextStates:
    """The text of a job as `LayerT2VTransformer3DModel.read_text` has read it, for every step."""

    tokens_UND: Tensor
    """Distinct texts after the text MLP."""
    row_BS: Tensor
    """The number of the text, of U, that each stream reads."""
    mask_BSN: Tensor | None
    """True on real text tokens; None: all are."""
    key_values: tuple[KeyValue, ...]
    """Keys and values of each block, each (U, N, D). If empty, blocks compute them every step."""

    @property
    def batch_size(self) -> int:
        """Shots in the batch, B."""
        return len(self.row_BS)

    def of(self, streams: list[int]) -> "TextStates":
        """Return what some of the streams read."""
        mask_BSN = None if self.mask_BSN is None else self.mask_BSN[:, streams]
        return replace(self, row_BS=self.row_BS[:, streams], mask_BSN=mask_BSN)

    def for_block(self, index: int) -> Tensor | KeyValue:
        """Return what block `index` reads, a row for each stream: (B, S, N, D)."""
        if not self.key_values:
            return self.tokens_UND[self.row_BS]
        key_UND, value_UND = self.key_values[index]
        return key_UND[self.row_BS], value_UND[self.row_BS]


def distinct_texts(text_BSND: Tensor, mask_BSN: Tensor | None) -> tuple[Tensor, Tensor]:
    """Find equal texts: those that differ (U, N, D), and which of them each stream reads (B, S).

    A foreground and its alpha read the same. Under guidance so do all streams.
    """
    rows: list[Tensor] = []
    numbers = []
    masked_BSND = text_BSND if mask_BSN is None else text_BSND * mask_BSN[..., None]
    for text_ND in masked_BSND.flatten(0, 1):
        known = [number for number, row in enumerate(rows) if torch.equal(row, text_ND)]
        numbers.append(known[0] if known else len(rows))
        if not known:
            rows.append(text_ND)
    row_BS = torch.tensor(numbers, device=text_BSND.device).view(text_BSND.shape[:2])
    return torch.stack(rows), row_BS
