"""Complete recipes as functions: `tiny`, the model that ships, and `debug`, seconds on a CPU."""

from dataclasses import dataclass, field, replace
from typing import Any

from layert2v_training.alpha_vae import AlphaVaeRecipe
from layert2v_training.joint import TINY_TRANSFORMER, JointRecipe
from layert2v_training.noise import NoiseMixture
from layert2v_training.optimizers import LoopRecipe
from layert2v_training.scenes import SceneRecipe


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a model."""

    name: str
    scene: SceneRecipe
    """Sizes, and the scenes the VAE and stage 1 see."""
    vae: LoopRecipe
    alpha_vae: AlphaVaeRecipe
    joint: JointRecipe
    multi_foreground: JointRecipe
    num_clips: int
    """Clips whose latents are cached, for each of stages 2 and 3."""
    joint_scene: SceneRecipe
    """The scenes of stages 2 and 3; `foregrounds` and `seed` are set by the stage."""
    vae_clips: int = 1200
    transformer: dict[str, Any] = field(default_factory=lambda: dict(TINY_TRANSFORMER))
    sampling_shift: float = 2.0
    """Shift of the exported sampler; equals the noise mixtures' shift."""


def tiny() -> Recipe:
    """The shipped model: hours on two CPU cores; its first weights stopped short of these steps."""
    stage_2 = NoiseMixture(shift=2.0)
    stage_3 = NoiseMixture(shift=2.0, synchronous=0.6, given_layers=0.3)
    scene = SceneRecipe(96, 64, 9, (1, 2))
    # What two CPU cores learn in two hours: few subjects, large, in the middle, few motions.
    joint_scene = replace(
        scene,
        is_core=True,
        subject_height=(0.62, 0.66),
        subject_centre=(0.5, 0.6),
        panorama_yaw=1.0,
        motions=("still", "right", "left", "up", "down", "bounce"),
    )
    return Recipe(
        name="tiny",
        scene=scene,
        joint_scene=joint_scene,
        vae=LoopRecipe(num_steps=2500, learning_rate=6e-4),
        alpha_vae=AlphaVaeRecipe(LoopRecipe(num_steps=240, learning_rate=1e-3, warmup_steps=20)),
        joint=JointRecipe(
            LoopRecipe(num_steps=2000, learning_rate=8e-4, muon_scale=2.0, weight_decay=0.01),
            batch_size=4,
            windowed_share=0.6,
            noise=stage_2,
        ),
        multi_foreground=JointRecipe(
            LoopRecipe(
                num_steps=1800, learning_rate=5e-4, muon_scale=2.0, weight_decay=0.01, seed=3
            ),
            batch_size=4,
            windowed_share=0.6,
            noise=stage_3,
        ),
        num_clips=4000,
    )


def debug() -> Recipe:
    """All stages in well under a minute; the result shows nothing, but serves."""
    recipe = tiny()
    short = LoopRecipe(num_steps=4, learning_rate=1e-3, warmup_steps=1, autocast=None)
    network = {**TINY_TRANSFORMER, "num_attention_heads": 1, "num_layers": 1, "ffn_dim": 128}
    return replace(
        recipe,
        name="debug",
        vae=short,
        vae_clips=200,
        alpha_vae=AlphaVaeRecipe(short, rank=2, hidden_channels=8, batch_size=2, num_clips=20),
        joint=replace(recipe.joint, loop=short, batch_size=2),
        multi_foreground=replace(recipe.multi_foreground, loop=short, batch_size=2),
        num_clips=20,
        transformer=network,
    )


RECIPES = {"tiny": tiny, "debug": debug}
