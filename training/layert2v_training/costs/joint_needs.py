"""The needs of stages 2 and 3. Steps are simulated, the rest is counted."""

import math
from collections.abc import Mapping
from dataclasses import replace

from torch import nn

from layert2v_model.cost.estimate import FLOAT32_BYTES, ModelSize, decode_bytes, denoise_bytes
from layert2v_model.cost.precision import default_device
from layert2v_model.shot import ShotFormat
from layert2v_training.costs.batches import batches, latent_shape
from layert2v_training.costs.needs import Needs, Phase
from layert2v_training.costs.parts import StageParts, bytes_in, bytes_of, trained_of
from layert2v_training.costs.passes import Shape, encoding_peak, joint_peaks
from layert2v_training.costs.simulated import on_meta
from layert2v_training.costs.state import (
    checkpoint_bytes_of,
    count_of,
    state_bytes_of,
    training_phase,
)
from layert2v_training.runs.sheets import NUM_STEPS
from layert2v_training.stages.joint import JointRecipe

CAPTION_TOKENS = 7
"""Tokens of a clip's captions for each of its streams. Source: 60 composed scenes of stages 2 and
3, November 2026: 7.1 and 6.6."""


def joint_needs(parts: StageParts, stage: str) -> Needs:
    """Count what a stage of the transformer takes."""
    run, recipe = parts.run, parts.run.stage(stage)
    model = on_meta(lambda: parts.make_transformer(recipe))
    size = ModelSize(dict(model.config), parts.vae_config, {})
    foregrounds = parts.foregrounds(stage)
    drawn = [batch for batch, _ in batches(recipe, size, run.clips_per_shape, foregrounds)]
    largest = max(drawn, key=lambda batch: batch.num_latents)
    longest = max(drawn, key=lambda batch: batch.num_latents / batch.num_clips)
    stored, disk, num_streams = _latents(parts, size, foregrounds)
    captions = num_streams * CAPTION_TOKENS * model.config.text_dim
    host = parts.text_bytes + captions * FLOAT32_BYTES
    table = captions * recipe.loop.compute_dtype(default_device()).itemsize
    # The alpha VAE waits in main memory until something is decoded.
    idle = 0 if recipe.decoded.is_used or _has_sheets(recipe) else parts.vae_bytes
    training = training_phase(
        bytes_of(model) + 2 * parts.vae_bytes - idle + table,
        model,
        recipe.loop,
        joint_peaks(parts, recipe, largest),
    )
    phases = [
        _loading(parts, recipe, model),
        Phase("encoding clips", parts.vae_bytes + _encoding(parts, stage), bytes_of(model), False),
        replace(training, host_bytes=host + idle),
    ]
    if _has_sheets(recipe):
        # Parameters are put aside for their average.
        aside = trained_of(model) * FLOAT32_BYTES + state_bytes_of(model, recipe.loop)
        static = bytes_of(model) + 2 * parts.vae_bytes + aside + table
        made = _sampling(parts, stage, size)
        phases.append(
            Phase(
                "making sheets",
                static + parts.text_bytes + made,
                captions * FLOAT32_BYTES,
            )
        )
    return Needs(
        num_parameters=count_of(model),
        num_trained=trained_of(model),
        num_tokens=longest.num_latents // longest.num_clips // math.prod(model.config.patch_size),
        phases=tuple(phases),
        stored_bytes=stored,
        disk_bytes=disk + checkpoint_bytes_of(model, recipe.loop),
        model_bytes=bytes_of(model) + parts.vae_bytes + state_bytes_of(model, recipe.loop),
    )


def _latents(
    parts: StageParts, size: ModelSize, foregrounds: tuple[int, ...]
) -> tuple[int, int, int]:
    """Count bytes of latents in memory, those that are missing on disk, and streams of all clips.

    Alphas are stored as encoded and as `project_in` leaves them.
    """
    run, channels = parts.run, parts.vae_config["z_dim"]
    streams, alphas = (sum(f(n) for n in foregrounds) / len(foregrounds) for f in (_all, int))
    main = next(iter(run.clips_per_shape))
    shapes: Mapping[Shape, int] = run.clips_per_shape
    latent_pixels = sum(
        count * math.prod(latent_shape(size, shape)) for shape, count in shapes.items()
    ) + run.num_composed_clips * math.prod(latent_shape(size, main))
    each = 2 * channels * latent_pixels
    num_clips = sum(shapes.values()) + run.num_composed_clips
    missing = max(0, each * (streams + alphas) - bytes_in(run.out / "latents", "*.pt"))
    return int(each * (streams + alphas)), int(missing), int(num_clips * streams)


def _all(num_foregrounds: int) -> int:
    return 2 + 2 * num_foregrounds


def _loading(parts: StageParts, recipe: JointRecipe, model: nn.Module) -> Phase:
    """Count a process's copies of the weights while they are read: float32, of `init` twice."""
    whole = FLOAT32_BYTES * count_of(model)
    if parts.run.init is not None:
        return Phase("loading weights", parts.vae_bytes, 2 * whole, has_stored=False)
    return Phase("loading weights", parts.vae_bytes, whole, has_stored=False)


def _encoding(parts: StageParts, stage: str) -> int:
    """Count a clip of the largest shape in the encoder, all streams at once; none by workers."""
    if parts.run.workers:
        return 0
    shape = max(parts.run.clips_per_shape, key=math.prod)
    num_videos = _all(max(parts.foregrounds(stage)))
    # The clip's videos, and they stacked.
    pixels = 2 * num_videos * 3 * FLOAT32_BYTES * math.prod(shape)
    return encoding_peak(parts, num_videos, shape) + pixels


def _has_sheets(recipe: JointRecipe) -> bool:
    return 0 < recipe.sheet_every <= recipe.loop.num_steps


def _sampling(parts: StageParts, stage: str, size: ModelSize) -> int:
    recipe, scene = parts.run.recipe, parts.run.scene(stage)
    shot = ShotFormat(
        scene.width,
        scene.height,
        scene.num_frames,
        max(parts.foregrounds(stage)),
        NUM_STEPS,
        recipe.guidance_scale,
    )
    return max(denoise_bytes(shot, size), decode_bytes(shot, size))
