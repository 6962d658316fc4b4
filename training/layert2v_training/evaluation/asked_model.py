"""A model and the format of the shots it is asked for."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from layert2v_model.cost.precision import Choice, Precision, decide_precision
from layert2v_model.errors import DamagedModel, InvalidShot
from layert2v_model.folders.model_folder import CARD_FILE, read_card
from layert2v_model.loading import load_pipeline
from layert2v_model.pipeline import LayerT2VPipeline, ShotPrompts
from layert2v_model.sampling.given import StreamGiven
from layert2v_model.sampling.grid import LatentGrid, latent_grid
from layert2v_model.stack import Stack
from layert2v_training.evaluation.takes import TakeStore, take_key

_CARD = ("sizes", "num_frames", "default_num_inference_steps", "default_guidance_scale")
"""Entries about the model's shots that its card must have."""


def evaluation_precision(choice: Choice = "auto") -> Precision:
    """Decide in which precision an evaluation computes. Its models stay on the processor."""
    return decide_precision(choice, torch.device("cpu"))


@dataclass(frozen=True, eq=False)
class AskedModel:
    """A model and the format of its shots."""

    pipeline: LayerT2VPipeline
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    num_frames: int
    num_inference_steps: int
    guidance_scale: float
    card: Mapping[str, Any] = field(default_factory=dict)
    """The model folder's card, with hashes of its files."""
    takes: TakeStore | None = None
    """The store in which `kept_take` looks before it generates a take."""

    @classmethod
    def load(
        cls,
        folder: Path,
        steps: int | None = None,
        guidance: float | None = None,
        frames: int | None = None,
        takes: TakeStore | None = None,
        size: tuple[int, int] | None = None,
        precision: Choice = "auto",
    ) -> "AskedModel":
        """Load a model folder. All that is not given is its card's.

        Raises:
            DamagedModel: The folder is not a whole model.
            InvalidShot: The model does not make so many frames, or pictures of this size.
        """
        card = read_card(folder)
        missing = [name for name in _CARD if name not in card]
        if missing:
            raise DamagedModel(
                f"the model is damaged: {folder / CARD_FILE} lacks {', '.join(missing)}; "
                f"export it again"
            )
        if size and list(size) not in card["sizes"]:
            sizes = ", ".join("x".join(map(str, offered)) for offered in card["sizes"])
            raise InvalidShot(f"{folder} does not make {size[0]}x{size[1]}: choose {sizes}")
        if frames and frames not in card["num_frames"]:
            lengths = ", ".join(map(str, card["num_frames"]))
            raise InvalidShot(f"{folder} does not make {frames} frames: choose {lengths}")
        width, height = size or card["sizes"][0]
        pipeline = load_pipeline(folder, dtype=evaluation_precision(precision).dtype)
        return cls(
            pipeline,
            width=width,
            height=height,
            num_frames=frames or card["num_frames"][0],
            num_inference_steps=steps or card["default_num_inference_steps"],
            guidance_scale=guidance or card["default_guidance_scale"],
            card=card,
            takes=takes,
        )

    @property
    def grid(self) -> LatentGrid:
        """The place of the shots' pixels among tokens."""
        return latent_grid(
            self.width, self.height, self.num_frames, self.pipeline.transformer, self.pipeline.vae
        )

    @property
    def num_token_frames(self) -> int:
        """Frames of pixels in the first frame of tokens: what steers best at a shot's ends."""
        return self.grid.first_frame(self.grid.frames_per_token)

    def take(
        self,
        prompts: ShotPrompts,
        seed: int,
        given: Mapping[str, StreamGiven] | None = None,
        looped: Collection[str] = (),
    ) -> Stack:
        """Generate a take without finishing it."""
        names = ["full", "background"]
        names += [f"foreground_{k}" for k in range(1, len(prompts.foregrounds) + 1)]
        return self.pipeline(
            prompts,
            width=self.width,
            height=self.height,
            num_frames=self.num_frames,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            stream_seeds=dict.fromkeys(names, seed),
            given=given,
            looped=looped,
        )

    def kept_take(
        self, prompts: ShotPrompts, seed: int, given: Mapping[str, Tensor] | None = None
    ) -> Stack:
        """Give the take that `takes` holds of the same model, words, seed and given streams.

        Where there is none it is made and kept. Changed code of the model is not noticed.
        """
        if self.takes is None:
            return self.take(prompts, seed, given)
        key = take_key(
            prompts, given, seed=seed, size=[self.width, self.height, self.num_frames],
            steps=self.num_inference_steps, guidance=self.guidance_scale, model=dict(self.card),
            dtype=str(self.pipeline.transformer.dtype),
        )  # fmt: skip
        take = self.takes.load(key)
        if take is None:
            take = self.take(prompts, seed, given)
            self.takes.save(key, take)
        return take
