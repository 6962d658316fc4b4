"""Stage 3: several foregrounds, given layers, a noise level per layer.

    layert2v-train multi-foreground --assets cache/assets --out runs/tiny

Goes on from stage 2's averaged parameters with another mixture of clips and noise. Foregrounds
after the first start as copies of it: their rows of LayerAdaLN are those of foreground and alpha,
and the table that tells foregrounds apart starts at zero.
"""

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from layert2v_model.transformer import LayerT2VTransformer3DModel
from layert2v_training.captions import CaptionStates
from layert2v_training.joint import train_joint
from layert2v_training.latents import LatentClip
from layert2v_training.optimizers import Ema
from layert2v_training.recipes import Recipe
from layert2v_training.scenes import SceneRecipe

RUN = "run-multi-foreground"


def multi_foreground_scene(recipe: Recipe) -> SceneRecipe:
    """Scenes with one or two foregrounds, two twice as often."""
    return replace(recipe.joint_scene, foregrounds=(1, 2, 2), seed=12)


def train_multi_foreground(
    out: Path,
    model: LayerT2VTransformer3DModel,
    clips: list[LatentClip],
    captions: CaptionStates,
    recipe: Recipe,
    channel_weights_C: Tensor,
) -> Ema:
    """Train `model`, which holds stage 2's parameters, in place."""
    stage = recipe.multi_foreground
    return train_joint(out, model, clips, captions, stage, RUN, channel_weights_C)
