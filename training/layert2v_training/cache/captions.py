"""Token states of captions, encoded once, kept on disk and looked up by text.

Shape letters: N tokens of a caption, D width; M tokens of all captions; B batch, S streams.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoTokenizer

from layert2v_model.files.durable import publish_file
from layert2v_training.cache.placement import home_of, onto


class StateStore:
    """Token states on disk, in files named by what encoded them and by their captions.

    Other weights or another tokenizer have other names, so that a change of either makes new files.
    """

    def __init__(self, folder: Path, tokenizer: Any, encoder: Any) -> None:
        self._folder, self._key = folder, _encoder_key(tokenizer, encoder)

    def read(self) -> dict[str, Tensor]:
        """Read all that is known: (N, D) by caption, float32."""
        found: dict[str, Tensor] = {}
        for path in sorted(self._folder.glob(f"{self._key}-*.pt")):
            found |= torch.load(path, weights_only=True, mmap=True)
        return found

    def write(self, states: Mapping[str, Tensor]) -> None:
        """Keep states. Processes that write the same do not disturb each other."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._key}-{_digest(json.dumps(sorted(states)).encode())}.pt"
        partial = path.with_suffix(f".{os.getpid()}.part")
        torch.save(dict(states), partial)
        publish_file(partial, path)


def _encoder_key(tokenizer: Any, encoder: Any) -> str:
    """Digest of the vocabulary, and of the name, shape and both ends of every weight.

    Reading all of umT5's 11 GB would take as long as encoding; training moves every weight.
    """
    digest = hashlib.sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode())
    for name, weight in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        flat = weight.detach().flatten()
        for end in (flat[:64], flat[-64:]):
            digest.update(end.float().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


class CaptionStates:
    """Token states (N, D) of captions under a text encoder, trimmed to their true length."""

    def __init__(
        self,
        tokenizer: Any,
        encoder: Any,
        folder: Path | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Take over what is known.

        Args:
            tokenizer: Tokenizer of the encoder.
            encoder: Moved to `device` while there is something to encode, and back: umT5 takes
                11 GB there.
            folder: Folder of kept states; None: they stay in memory.
            device: Device to encode on; None: the encoder's.
        """
        self.tokenizer, self.encoder, self._device = tokenizer, encoder, device
        self._store = StateStore(folder, tokenizer, encoder) if folder else None
        self._states = self._store.read() if self._store else dict[str, Tensor]()

    @classmethod
    def read(
        cls, encoder_folder: Path, folder: Path | None = None, device: torch.device | None = None
    ) -> "CaptionStates":
        """Read tokenizer and encoder from one folder; the rest as when made."""
        tokenizer = AutoTokenizer.from_pretrained(encoder_folder, local_files_only=True)
        encoder = AutoModel.from_pretrained(encoder_folder, local_files_only=True)
        return cls(tokenizer, encoder, folder, device)

    def encode(self, captions: Iterable[str], batch_size: int = 128) -> None:
        """Encode those captions that are not known yet. The empty caption always is."""
        unknown = sorted({"", *captions} - self._states.keys(), key=lambda text: (len(text), text))
        if unknown and self._device is not None:
            self.encoder.to(self._device)
        for start in range(0, len(unknown), batch_size):
            batch = unknown[start : start + batch_size]
            states = self._encode_batch(batch)
            self._states |= states
            if self._store:
                self._store.write(states)
        self.rest()

    def rest(self) -> None:
        """Take the encoder off the device until there is something to encode."""
        if self._device is not None:
            self.encoder.to("cpu")

    @torch.no_grad()
    def _encode_batch(self, captions: list[str]) -> dict[str, Tensor]:
        tokens = self.tokenizer(captions, return_tensors="pt", padding=True)
        tokens = tokens.to(self.encoder.device)
        states = self.encoder(**tokens).last_hidden_state.float().cpu()
        lengths = tokens["attention_mask"].sum(1).tolist()
        rows = zip(captions, states, lengths, strict=True)
        return {caption: row[:length].clone() for caption, row, length in rows}

    def __getitem__(self, caption: str) -> Tensor:
        """Look up a caption that `encode` has seen."""
        return self._states[caption]


class TokenTable:
    """Token states of many captions in one tensor, so that a batch of text is one of numbers."""

    def __init__(
        self,
        states: CaptionStates,
        captions: Iterable[str],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Take over what `states` knows of `captions`, and of the empty caption.

        Args:
            states: Has encoded the captions.
            captions: Captions to look up.
            device: Device of the table, if `home_of` chooses it.
            dtype: Type in which it is kept.
        """
        known = sorted({"", *captions})
        # Row 0 is what padding reads.
        rows = [torch.zeros_like(states[""][:1]), *(states[caption] for caption in known)]
        table = torch.cat([row.to(dtype) for row in rows])
        self.states_MD = table.to(home_of(table.nbytes, device))
        places = torch.arange(1, len(self.states_MD))[:, None].split([len(r) for r in rows[1:]])
        self.rows = dict(zip(known, places, strict=True))
        """Rows (N, 1) of each caption in the table."""

    def __getitem__(self, rows_BSN1: Tensor) -> Tensor:
        """Look up token states: (B, S, N, D), where the table is."""
        return self.states_MD[onto(self.states_MD.device, rows_BSN1)[..., 0]]
