"""Token states of captions, encoded once and looked up by text."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer


class CaptionStates:
    """Token states (N, D) of captions under a text encoder, trimmed to their true length."""

    def __init__(self, tokenizer: Any, encoder: Any) -> None:
        self.tokenizer, self.encoder = tokenizer, encoder
        self._states: dict[str, Tensor] = {}

    @classmethod
    def read(cls, encoder_folder: Path) -> "CaptionStates":
        """Read tokenizer and encoder from one folder."""
        tokenizer = AutoTokenizer.from_pretrained(encoder_folder, local_files_only=True)
        return cls(tokenizer, AutoModel.from_pretrained(encoder_folder, local_files_only=True))

    def encode(self, captions: Iterable[str], batch_size: int = 128) -> None:
        """Encode those captions that are not known yet; the empty caption always is."""
        unknown = sorted({"", *captions} - self._states.keys(), key=len)
        for start in range(0, len(unknown), batch_size):
            self._encode_batch(unknown[start : start + batch_size])

    @torch.no_grad()
    def _encode_batch(self, captions: list[str]) -> None:
        tokens = self.tokenizer(captions, return_tensors="pt", padding=True)
        tokens = tokens.to(self.encoder.device)
        states = self.encoder(**tokens).last_hidden_state.float().cpu()
        lengths = tokens["attention_mask"].sum(1).tolist()
        for caption, row, length in zip(captions, states, lengths, strict=True):
            self._states[caption] = row[:length].clone()

    def __getitem__(self, caption: str) -> Tensor:
        """Look up a caption that `encode` has seen."""
        return self._states[caption]


class TokenTable:
    """Token states of many captions on a device, so that a batch of text is a batch of numbers."""

    def __init__(
        self, states: CaptionStates, captions: Iterable[str], device: torch.device
    ) -> None:
        """Take over what `states` knows of `captions`, and of the empty caption."""
        known = sorted({"", *captions})
        # Row 0 is what padding reads.
        rows = [torch.zeros_like(states[""][:1]), *(states[caption] for caption in known)]
        self.states_MD = torch.cat(rows).to(device)
        places = torch.arange(1, len(self.states_MD))[:, None].split([len(r) for r in rows[1:]])
        self.rows = dict(zip(known, places, strict=True))
        """Rows (N, 1) of each caption in the table."""

    def __getitem__(self, rows_BSN1: Tensor) -> Tensor:
        """Look up token states: (B, S, N, D), on the device."""
        return self.states_MD[onto(self.states_MD.device, rows_BSN1)[..., 0]]


def onto(device: torch.device, x: Tensor) -> Tensor:
    """Copy without waiting for what a device still has to do: batches are drawn meanwhile."""
    if device.type != "cuda" or x.device == device:
        return x.to(device)
    return x.pin_memory().to(device, non_blocking=True)
