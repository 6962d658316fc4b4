"""Prompts to token states. Shape letters: N tokens, D width."""

from typing import Any

import torch
from torch import Tensor

from layert2v_model.errors import InvalidShot


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
            f"the prompt {prompt[:40]!r}... has {length} tokens, the text encoder takes "
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
    # Encoders with relative positions (T5) have no table; their tokenizer knows the limit.
    positions = getattr(text_encoder.config, "max_position_embeddings", None)
    return min(int(positions or 512), int(tokenizer.model_max_length))
