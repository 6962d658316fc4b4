"""Sheets of the takes that a run's averaged parameters make of one fixed prompt.

Shape letters: T frames, C channels, H, W. Pixels are display-referred sRGB in [0, 1].
"""

import logging

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from einops import rearrange
from torch import Tensor
from torch.distributed.tensor import DTensor

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.pipeline import LayerT2VPipeline, ShotPrompts
from layert2v_model.stack import Stack
from layert2v_model.streams import noise_seed, stream_names
from layert2v_training.cache.captions import CaptionStates
from layert2v_training.cache.latents import LatentClip
from layert2v_training.learning.loop import autocast
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.runs.recipes import Recipe

log = logging.getLogger(__name__)

NUM_STEPS = 12
"""Steps of sampling for a glance, half as many as the shipped model's default."""
NUM_FRAMES = 3
"""Frames shown of each layer: first, middle, last."""


class SampleSheet:
    """Makes the sheet; called by the loop with averaged parameters in the model."""

    def __init__(
        self,
        model: LayerT2VTransformer3DModel,
        vaes: tuple[AutoencoderKLWan, AutoencoderKLWan],
        captions: CaptionStates,
        clip: LatentClip,
        recipe: Recipe,
        loop: LoopRecipe,
    ) -> None:
        self.model, self.vaes, self.captions = model, vaes, captions
        self.recipe, self.loop = recipe, loop
        self.prompts = ShotPrompts("", clip.background_caption, clip.foreground_captions)

    def __call__(self, step: int) -> dict[str, float | Tensor]:
        """Make the sheet of a step; none where parameters are split over processes."""
        if any(isinstance(parameter, DTensor) for parameter in self.model.parameters()):
            log.warning("no sheet: parameters are split; export a checkpoint to look at it")
            return {}
        self.model.eval()
        try:
            # Frozen weights may be of a precision that only autocast brings together with others.
            with autocast(self.model.device, self.loop):
                return {"sheet": sheet_of(self._sample())}
        finally:
            self.model.train()
            self.captions.rest()

    def _sample(self) -> Stack:
        vae, alpha_vae = (part.to(self.model.device) for part in self.vaes)
        pipeline = LayerT2VPipeline(
            transformer=self.model,
            vae=vae,
            alpha_vae=alpha_vae,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=self.recipe.sampling_shift),
            text_encoder=self.captions.encoder.to(self.model.device),
            tokenizer=self.captions.tokenizer,
        )
        pipeline.set_progress_bar_config(disable=True)
        scene = self.recipe.joint_scene
        names = stream_names(len(self.prompts.foregrounds))
        return pipeline(
            self.prompts,
            width=scene.width,
            height=scene.height,
            num_frames=scene.num_frames,
            num_inference_steps=NUM_STEPS,
            guidance_scale=self.recipe.guidance_scale,
            stream_seeds={name: noise_seed(0, name) for name in names},
        )


@torch.no_grad()
def sheet_of(stack: Stack) -> Tensor:
    """Lay a take out: a row for the full video and each layer over grey, then each matte.

    Returns:
        (3, rows x H, `NUM_FRAMES` x W), on the CPU.
    """
    rows = [stack.full_TCHW]
    rows += [layer.rgb_TCHW * layer.alpha_T1HW + 0.5 * (1 - layer.alpha_T1HW)
             for layer in stack.layers]  # fmt: skip
    rows += [layer.alpha_T1HW.expand(-1, 3, -1, -1) for layer in stack.layers[1:]]
    last = stack.full_TCHW.shape[0] - 1
    shown = [last * frame // (NUM_FRAMES - 1) for frame in range(NUM_FRAMES)]
    picked = torch.stack([row[shown].float().cpu() for row in rows])
    return rearrange(picked, "r t c h w -> c (r h) (t w)").clamp(0, 1)
