"""Complete recipes as functions: `tiny`, `tiny-gpu`, `debug`, and the two sizes of Wan2.1.

What users change they change by name (`overrides.py`), and `recipe_checks.py` says what conflicts.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

from layert2v_training.codecs.linear_vae import LinearVaeSize
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.number_kinds import (
    Count,
    FrameRate,
    NotNegative,
    Positive,
    Side,
    WholeNumber,
)
from layert2v_training.scenes.effects import SceneEffects
from layert2v_training.scenes.scene_recipe import SceneRecipe
from layert2v_training.scenes.subjects import Variety
from layert2v_training.stages.alpha_vae_training import AlphaVaeRecipe
from layert2v_training.stages.decoded import DecodedRecipe
from layert2v_training.stages.decoders import DecodersRecipe
from layert2v_training.stages.joint import TINY_TRANSFORMER, JointRecipe
from layert2v_training.stages.lora import LoraRecipe
from layert2v_training.stages.noise import NoiseMixture


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
    num_clips: Count
    """Composed clips whose latents are cached, for each of stages 2 and 3. One's own clips count
    instead where there are any, once for each of `starts_per_clip`."""
    joint_scene: SceneRecipe
    """The scenes of stages 2 and 3. Stage 2 has one foreground, stage 3 the numbers that
    `foregrounds` says; every stage adds a number of its own to `seed`."""
    extra_sizes: tuple[tuple[Side, Side], ...] = ()
    """Further widths and heights, in pixels, that stages 2 and 3 see and the model then offers."""
    extra_num_frames: tuple[Count, ...] = ()
    """Further numbers of frames, of each size, with as many clips."""
    num_composed_clips: WholeNumber = 0
    """Composed clips that stages 2 and 3 see beside the user's own, so that a model keeps its
    knowledge. Their share of the steps is their share of all clips."""
    starts_per_clip: Count = 1
    """How often each of the user's own clips is taken, each time from a start drawn in time. Use
    more than 1 for footage that is longer than the recipe's frames."""
    decoders: DecodersRecipe = field(default_factory=DecodersRecipe)
    """The training of both decoders after stage 3, in recipes without a base."""
    vae_clips: Count = 1200
    vae_batch_size: Count = 8
    vae_size: LinearVaeSize = field(default_factory=LinearVaeSize)
    """Size of the VAE in recipes without a base."""
    transformer: dict[str, Any] = field(default_factory=lambda: dict(TINY_TRANSFORMER))
    sampling_shift: Positive = 2.0
    """Shift of the exported sampler; equals the noise mixtures' shift."""
    base: Literal["none", "wan"] = "none"
    """`wan`: VAE, text encoder and the transformer's first weights come from a Wan2.1 folder."""
    export: Literal["float16", "bfloat16"] = "float16"
    """Precision of the exported transformer. umT5 and Wan overflow in float16."""
    num_inference_steps: Count = 24
    """Steps of the exported model, unless a shot says otherwise."""
    guidance_scale: NotNegative = 3.0
    """As above."""
    fps: FrameRate = 8.0
    """Frames per second of the clips: footage that says its rate is resampled to this one."""

    @property
    def exact_fps(self) -> Fraction:
        """`fps` as a fraction: 29.97002997 is 30000/1001."""
        return Fraction(self.fps).limit_denominator(1001)


STAGE_3 = NoiseMixture(
    synchronous=0.4,
    given_layers=0.3,
    given_frames=0.1,
    given_regions=0.05,
    independent_frames=0.05,
)
"""Shares of given streams in stage 3 of recipes without a base, which add a shift."""


def tiny() -> Recipe:
    """The shipped model, in batches for two CPU cores.

    As the shipped weights were trained: without the losses that compare what is composited.
    """
    scene = SceneRecipe(160, 96, 9, (1, 2))
    # Large enough to be drawn in tokens of 16 pixels, and in the middle.
    joint_scene = replace(
        scene,
        foregrounds=(1, 1, 2, 2, 3),
        variety=Variety.WIDER,
        subject_height=(0.56, 0.68),
        subject_centre=(0.48, 0.62),
        panorama_yaw=1.5,
    )
    loop = LoopRecipe(num_steps=5000, learning_rate=6e-4, muon_scale=2.0, weight_decay=0.01)
    joint = JointRecipe(
        loop,
        batch_size=2,
        windowed_share=0.4,
        windowed_batch_size=16,
        noise=NoiseMixture(shift=3.0),
    )
    return Recipe(
        name="tiny",
        scene=scene,
        joint_scene=joint_scene,
        extra_sizes=((96, 64),),
        vae=LoopRecipe(num_steps=2500, learning_rate=2e-4),
        alpha_vae=AlphaVaeRecipe(
            LoopRecipe(num_steps=240, learning_rate=1e-3, warmup_steps=20), batch_size=4
        ),
        joint=joint,
        multi_foreground=replace(
            joint,
            loop=replace(loop, seed=3),
            noise=replace(STAGE_3, shift=3.0, hidden=0.1),
        ),
        num_clips=3000,
        sampling_shift=3.0,
        num_inference_steps=12,
        guidance_scale=2.5,
    )


OFTEN_WRONG = (
    ("an airplane", 2.5), ("a parrot", 2.2), ("a zebra", 2.2), ("a cow", 2.0), ("an elephant", 2.0),
    ("a cat", 2.0), ("a guitar", 2.0), ("a dog", 1.8), ("a giraffe", 1.6), ("a cactus", 1.5),
    ("an owl", 1.5), ("a horse", 1.5), ("a bear", 1.4), ("a tractor", 1.3), ("a duck", 1.3),
    ("a sailboat", 1.3), ("a turtle", 1.3), ("a monkey", 1.2),
)  # fmt: skip
"""Weights of the subjects that the fifth shipped weights drew wrong most often."""


def tiny_gpu() -> Recipe:
    """The same in batches for one large GPU (60 GiB), as the shipped weights were trained."""
    recipe = tiny()
    joint_scene = replace(
        recipe.joint_scene,
        subject_weights=OFTEN_WRONG,
        effects=SceneEffects(occlusion=0.15, passing=0.06),
    )

    def in_large_batches(stage: JointRecipe) -> JointRecipe:
        loop = replace(stage.loop, ema_decay=0.998)
        return replace(stage, batch_size=36, windowed_batch_size=160, loop=loop)

    return replace(
        recipe,
        extra_num_frames=(17,),
        joint_scene=joint_scene,
        joint=in_large_batches(recipe.joint),
        multi_foreground=replace(
            in_large_batches(recipe.multi_foreground),
            noise=replace(STAGE_3, shift=3.0, hidden=0.1, detail=0.4),
        ),
        num_clips=20000,
    )


def debug() -> Recipe:
    """All stages in well under a minute. The result shows nothing, but serves."""
    recipe = tiny()
    short = LoopRecipe(num_steps=4, learning_rate=1e-3, warmup_steps=1, autocast=None)
    network = {**TINY_TRANSFORMER, "num_attention_heads": 1, "num_layers": 1, "ffn_dim": 128}
    return replace(
        recipe,
        name="debug",
        scene=SceneRecipe(96, 64, 9, (1, 2)),
        joint_scene=replace(recipe.joint_scene, width=96, height=64),
        extra_sizes=(),
        vae=short,
        vae_clips=48,
        vae_batch_size=2,
        alpha_vae=AlphaVaeRecipe(short, rank=2, hidden_channels=8, batch_size=2, num_clips=20),
        joint=replace(recipe.joint, loop=short, batch_size=2, windowed_batch_size=4, sheet_every=4),
        multi_foreground=replace(
            recipe.multi_foreground, loop=short, batch_size=2, windowed_batch_size=4, sheet_every=4
        ),
        decoders=DecodersRecipe(
            short, batch_size=2, num_clips=3, num_soft_clips=2, num_inference_steps=1
        ),
        num_clips=20,
        transformer=network,
    )


WAN_TRANSFORMER = {
    "prompt_visibility": "released",
    "max_foregrounds": 3,
    "foreground_fill": "black",
    "per_stream_timesteps": True,
}
"""Settings that a run adds to the config of a Wan2.1 folder."""


def wan2_1_1_3b() -> Recipe:
    """Wan2.1-T2V-1.3B at 336x192 and 9 frames, as the published samples were made.

    Source:
        LayerT2V's release, `vae_lora.yaml` and `vae_lora_stage1.yaml`: LoRA 128/128, rate 1e-4,
        weight decay 0.01, 500 steps of warm-up, batch 4 x 4, EMA 0.9999; 6 000 steps. Differences,
        each for a defect of the release: levels are drawn with the sampler's shift,
        captions are dropped, and layers are compared in pixels, composited, not in latents.
    """
    loop = LoopRecipe(
        num_steps=6000,
        learning_rate=1e-4,
        warmup_steps=500,
        weight_decay=0.01,
        ema_decay=0.9999,
        seed=42,
        checkpoint_seconds=600.0,
        gradient_accumulation=4,
        adamw_betas=(0.9, 0.999),
    )
    joint = JointRecipe(
        loop,
        batch_size=4,
        noise=NoiseMixture(shift=5.0),
        # The composite as much as the mattes, whose weight is the release's: an estimate in place
        # of its latent consistency loss of that weight, which pulls layers from the truth.
        decoded=DecodedRecipe(matte=0.1, composite=0.1),
        gradient_checkpointing=True,
        lora=LoraRecipe(),
    )
    # Regions as often as in `STAGE_3`, taken from the share of layers at levels of their own.
    mixture = NoiseMixture(
        shift=5.0,
        synchronous=0.4,
        given_layers=0.2,
        given_frames=0.2,
        given_regions=0.05,
        independent_frames=0.1,
        hidden=0.1,
    )
    scene = SceneRecipe(336, 192, 9, (1, 2))
    return Recipe(
        name="wan2.1-1.3b",
        scene=scene,
        joint_scene=replace(scene, foregrounds=(1, 1, 2, 2, 3)),
        vae=loop,
        alpha_vae=AlphaVaeRecipe(
            replace(loop, num_steps=10000), rank=128, lora_alpha=128.0, hidden_channels=64,
            # As much as the reconstruction: both measure pixels. No published weight is known.
            batch_size=1, num_clips=2000, render_weight=1.0,
        ),
        joint=joint,
        multi_foreground=replace(joint, noise=mixture, loop=replace(loop, num_steps=4000)),
        num_clips=16000,
        transformer=dict(WAN_TRANSFORMER),
        sampling_shift=5.0,
        base="wan",
        export="bfloat16",
        num_inference_steps=50,
        guidance_scale=5.0,
    )  # fmt: skip


def wan2_1_1_3b_long() -> Recipe:
    """The same at 672x384 and 41 frames, to go on with from the short one by `--init`.

    Batches are a half and a quarter as large, twice and four times as often. By the dry run they
    take 61 and 65 GiB, for a GPU of 80 GB.
    """
    recipe = wan2_1_1_3b()

    def in_parts(stage: JointRecipe, batch_size: int) -> JointRecipe:
        parts = stage.loop.gradient_accumulation * stage.batch_size // batch_size
        loop = replace(stage.loop, gradient_accumulation=parts)
        return replace(stage, batch_size=batch_size, loop=loop)

    scene, joint_scene = (
        replace(scene, width=672, height=384, num_frames=41)
        for scene in (recipe.scene, recipe.joint_scene)
    )
    return replace(
        recipe,
        name="wan2.1-1.3b-long",
        scene=scene,
        joint_scene=joint_scene,
        joint=in_parts(recipe.joint, 2),
        multi_foreground=in_parts(recipe.multi_foreground, 1),
    )


def wan2_1_14b() -> Recipe:
    """Wan2.1-T2V-14B, its frozen weights in bfloat16; for several devices with split parameters."""
    recipe = wan2_1_1_3b()
    lora = LoraRecipe(frozen="bfloat16")

    def one_clip_at_a_time(stage: JointRecipe) -> JointRecipe:
        loop = replace(stage.loop, gradient_accumulation=16)
        return replace(stage, batch_size=1, lora=lora, loop=loop)

    return replace(
        recipe,
        name="wan2.1-14b",
        joint=one_clip_at_a_time(recipe.joint),
        multi_foreground=one_clip_at_a_time(recipe.multi_foreground),
    )


RECIPES = {
    "tiny": tiny,
    "tiny-gpu": tiny_gpu,
    "debug": debug,
    "wan2.1-1.3b": wan2_1_1_3b,
    "wan2.1-1.3b-long": wan2_1_1_3b_long,
    "wan2.1-14b": wan2_1_14b,
}
