"""Watches the calls of a pipeline's network."""

from typing import Any

import pytest
from torch import Tensor

from layert2v_model.pipeline import LayerT2VPipeline


def spy_on_network(
    pipeline: LayerT2VPipeline, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[Tensor, Tensor]]:
    """Record latents and timesteps of every call, as copies."""
    seen: list[tuple[Tensor, Tensor]] = []
    forward = pipeline.transformer.forward

    def spying(latents: Tensor, timesteps: Tensor, *args: Any, **kwargs: Any) -> Any:
        seen.append((latents.clone(), timesteps.clone()))
        return forward(latents, timesteps, *args, **kwargs)

    monkeypatch.setattr(pipeline.transformer, "forward", spying)
    return seen
