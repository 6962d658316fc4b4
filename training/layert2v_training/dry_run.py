"""What a stage would take, before it starts: parameters, tokens, memory, disk, steps per second.

Formulas over configs; no picture is read and no step is made. The user's clips are opened, as the
stage would open them.
"""

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from accelerate import PartialState
from diffusers import AutoencoderKLWan
from torch import nn

from layert2v_model.estimate import (
    DECODE_SHARE,
    STEP_SHARE,
    Device,
    ModelSize,
    ShotSize,
    decode_bytes,
    decode_flops,
    measure_device,
    step_flops,
)
from layert2v_model.transformer import LayerT2VTransformer3DModel
from layert2v_training.alpha_vae import AlphaModel
from layert2v_training.data.sources import FileClips
from layert2v_training.joint import JointRecipe
from layert2v_training.linear_vae import make_vae
from layert2v_training.lora import add_lora
from layert2v_training.network import check_init
from layert2v_training.optimizers import LoopRecipe
from layert2v_training.overrides import InvalidRecipe
from layert2v_training.stages import Run

ACTIVATION_BYTES = {True: (68.0, 4.25), False: (89.2, 8.0)}
"""Bytes that a block keeps for the backward pass per token and number of its width, and of its
feed-forward's: with autocast to bfloat16 and without.

Source: `saved_tensors_hooks` around this project's block at widths 128 and feed-forwards 256 and
1024, 2 048 tokens, torch 2.13, November 2026.
"""

CHECKPOINTED_BYTES = {True: 2.0, False: 4.0}
"""The same with gradient checkpointing: a block's input. One block is kept whole at a time."""

TRAINED_BYTES = 4 * 5
"""Of a parameter that learns: itself, its gradient, two moments, its average; float32."""


class DoesNotFit(Exception):
    """Raised when a stage needs more memory or disk than there is; names both and the remedy."""


@dataclass(frozen=True)
class Needs:
    """What a stage takes."""

    num_parameters: int
    num_trained: int
    num_tokens: int
    """Of the longest clip; 0 where there are none."""
    memory_bytes: int
    """Of the device, on one process that holds everything; without stored latents."""
    latents_bytes: int
    """Stored latents: on the device where they take less than half of it, else in main memory."""
    disk_bytes: int
    """Cached latents that are missing, and two checkpoints while one replaces the other."""
    flops_per_step: float

    def on_device(self, device: Device) -> int:
        """Count the bytes that the device must hold; as `latents.load_latents` chooses."""
        is_there = device.is_host or self.latents_bytes < device.memory_bytes / 2
        return self.memory_bytes + (self.latents_bytes if is_there else 0)

    def in_main_memory(self, device: Device) -> int:
        """Count the bytes that main memory must hold beside the device."""
        return self.memory_bytes + self.latents_bytes - self.on_device(device)

    def report(self, stage: str, device: Device, num_steps: int) -> str:
        """Say it in lines."""
        lines = [
            f"stage {stage}, {num_steps} steps on {device.name}",
            f"parameters      {self.num_parameters:,} of which {self.num_trained:,} learn",
            f"tokens a clip   {self.num_tokens:,}" if self.num_tokens else "tokens a clip   none",
            f"memory          {_gib(self.on_device(device))}, free {_gib(device.memory_bytes)}",
            f"main memory     {_gib(self.in_main_memory(device))} of latents",
            f"disk            {_gib(self.disk_bytes)}",
        ]
        if self.flops_per_step:
            seconds = self.flops_per_step / (STEP_SHARE * device.flops_per_s)
            hours = seconds * num_steps / 3600
            lines.append(
                f"speed           {1 / seconds:.3g} steps a second, {hours:.1f} hours, from "
                f"{device.flops_per_s / 1e9:.0f} GFLOP/s measured on matrices"
            )
        return "\n".join(lines)


def describe(run: Run, stage: str) -> str:
    """Say what a stage takes.

    Raises:
        DoesNotFit: Memory or disk are too small.
        BadClips: The user's clips cannot be used.
    """
    report, needs, device = _measured(run, stage)
    _check_fit(needs, device, run.out, report)
    return report


def check_fits(run: Run, stage: str) -> None:
    """Refuse a stage that cannot fit before it makes anything.

    Several processes may split what one would have to hold, and are not checked.

    Raises:
        DoesNotFit: Memory or disk are too small.
        BadClips: The user's clips cannot be used.
    """
    if PartialState().num_processes > 1:
        return
    report, needs, device = _measured(run, stage)
    _check_fit(needs, device, run.out, report)


def _measured(run: Run, stage: str) -> tuple[str, Needs, Device]:
    name = "cuda" if torch.cuda.is_available() else "cpu"
    if stage == "vae":
        loop, needs = run.recipe.vae, vae_needs(run)
    elif stage == "alpha-vae":
        loop, needs = run.recipe.alpha_vae.loop, alpha_vae_needs(run)
    else:
        loop, needs = run.stage(stage).loop, joint_needs(run, stage)
    device = measure_device(name, is_half=loop.autocast is not None, size=1024)
    return needs.report(stage, device, loop.num_steps), needs, device


def _check_fit(needs: Needs, device: Device, out: Path, report: str) -> None:
    needed = needs.on_device(device)
    if needed > device.memory_bytes:
        raise DoesNotFit(
            f"{report}\nneeds {_gib(needed)} of memory, {device.name} has "
            f"{_gib(device.memory_bytes)} free; set a smaller batch_size with more "
            f"loop.gradient_accumulation, gradient_checkpointing=true, or lora, split parameters "
            f"over devices (FSDP), or try all the same by --ignore-fit"
        )
    needed, available = needs.in_main_memory(device), psutil.virtual_memory().available
    if needed > available:
        raise DoesNotFit(
            f"{report}\nneeds {_gib(needed)} of main memory for latents, {_gib(available)} are "
            f"free; set fewer num_clips, or try all the same by --ignore-fit"
        )
    existing = next(path for path in (out.resolve(), *out.resolve().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needs.disk_bytes > free:
        raise DoesNotFit(
            f"{report}\nneeds {_gib(needs.disk_bytes)} on disk, {existing} has {_gib(free)}; make "
            f"room, choose another --out, set fewer num_clips, or try by --ignore-fit"
        )


# --------------------------------------------------------------------------------------------------
# Stages


def vae_needs(run: Run) -> Needs:
    """Count what training the small VAE takes."""
    recipe = run.recipe
    with torch.device("meta"):
        vae = make_vae(recipe.vae_size)
    vae.requires_grad_(False)
    for part in (vae.decoder, vae.post_quant_conv):
        part.requires_grad_(True)
    pixels = recipe.scene.width * recipe.scene.height * recipe.scene.num_frames
    # Four streams of three colours, as bytes, and their latents in half precision.
    rate = recipe.vae_size.z_dim / (3 * recipe.vae_size.patch_size**2)
    clips = recipe.vae_clips * 12 * pixels * (1 + 2 * rate)
    batch_size = recipe.vae_batch_size * recipe.vae.gradient_accumulation
    needs = _decoder_needs(vae, dict(vae.config), recipe.scene, recipe.vae_batch_size, clips)
    return replace(needs, flops_per_step=batch_size * needs.flops_per_step)


def alpha_vae_needs(run: Run) -> Needs:
    """Count what adapting a VAE to mattes takes."""
    recipe, stage = run.recipe, run.recipe.alpha_vae
    config = _vae_config(run)
    with torch.device("meta"):
        model = AlphaModel(AutoencoderKLWan.from_config(config), stage)
    pixels = recipe.scene.width * recipe.scene.height * recipe.scene.num_frames
    clips = run.num_alpha_clips * pixels * 4 * 1.5
    batch_size = stage.batch_size * stage.loop.gradient_accumulation
    needs = _decoder_needs(model, config, recipe.scene, stage.batch_size, clips)
    return replace(needs, flops_per_step=batch_size * needs.flops_per_step)


def _decoder_needs(
    model: nn.Module, config: dict[str, Any], scene: Any, batch_size: int, clips_bytes: float
) -> Needs:
    """Count a decoder that learns: about what decoding keeps, times the convolutions of a level.

    `flops_per_step` is of one video: backward is twice the forward pass.
    """
    total, trained = _counts(model)
    one = ShotSize(scene.width, scene.height, scene.num_frames, 1, 1)
    size = ModelSize({"patch_size": (1, 1, 1)}, config, {})
    kept = 4 * batch_size * decode_bytes(one, size)
    memory = total * 4 + trained * (TRAINED_BYTES - 4) + kept + clips_bytes
    # `decode_flops` is of all streams, and reaches another share of the device than steps do.
    flops = 3 * decode_flops(one, size) / one.num_streams * STEP_SHARE / DECODE_SHARE
    return Needs(total, trained, 0, int(memory), 0, 2 * trained * 16, flops)


def joint_needs(run: Run, stage: str) -> Needs:
    """Count what a stage of the transformer takes."""
    recipe, scene = run.stage(stage), run.scene(stage)
    model = _empty_transformer(run, recipe)
    total, trained = _counts(model)
    size = ModelSize(dict(model.config), _vae_config(run), {})
    most = max(scene.foregrounds)
    if run.data is not None:
        clips = run.clips(stage)
        assert isinstance(clips, FileClips)
        own = max(len(clip.layers) for clip in clips.clips)
        most = max(own, most) if run.num_composed_clips else own
    shot = ShotSize(scene.width, scene.height, scene.num_frames, most, 1)
    frames, per_frame = size.grid(shot)
    tokens = shot.num_streams * frames * per_frame
    channels = model.config.in_channels
    latents = tokens * math.prod(model.config.patch_size) * channels * 2
    main = scene.width * scene.height * scene.num_frames
    of_shapes = (count * math.prod(shape) for shape, count in run.clips_per_shape.items())
    stored = latents * (sum(of_shapes) / main + run.num_composed_clips)
    frozen = total - trained
    weights = trained * TRAINED_BYTES + frozen * (
        2 if recipe.lora and recipe.lora.frozen == "bfloat16" else 4
    )
    memory = weights + _activation_bytes(recipe, model, tokens)
    disk = max(0, stored - _bytes_in(run.out / "latents")) + 2 * trained * 16
    # Backward is twice the forward pass; checkpointing makes the forward pass twice.
    passes = (4 if recipe.gradient_checkpointing else 3) * recipe.loop.gradient_accumulation
    flops = passes * _flops_per_batch(recipe, shot, size)
    return Needs(total, trained, tokens, int(memory), int(stored), int(disk), flops)


def _activation_bytes(recipe: JointRecipe, model: LayerT2VTransformer3DModel, tokens: int) -> float:
    config, is_half = model.config, _is_half(recipe.loop)
    dim = config.num_attention_heads * config.attention_head_dim
    per_dim, per_ffn = ACTIVATION_BYTES[is_half]
    block = per_dim * dim + per_ffn * config.ffn_dim
    if recipe.gradient_checkpointing:
        kept = block + config.num_layers * CHECKPOINTED_BYTES[is_half] * dim
    else:
        kept = config.num_layers * block
    return recipe.batch_size * tokens * kept


def _flops_per_batch(recipe: JointRecipe, shot: ShotSize, size: ModelSize) -> float:
    """Mean over whole and windowed batches, forward pass."""
    whole = recipe.batch_size * step_flops(shot, size)
    if not recipe.windowed_share:
        return whole
    temporal = size.temporal_factor
    one_frame = replace(shot, num_frames=1 + (size.transformer["patch_size"][0] - 1) * temporal)
    windowed = recipe.windowed_batch_size * step_flops(one_frame, size)
    return (1 - recipe.windowed_share) * whole + recipe.windowed_share * windowed


def _is_half(loop: LoopRecipe) -> bool:
    return loop.autocast is not None


def _empty_transformer(run: Run, stage: JointRecipe) -> LayerT2VTransformer3DModel:
    if run.init is not None:
        check_init(run.init, run.recipe)
        config = LayerT2VTransformer3DModel.load_config(run.init / "transformer")
        with torch.device("meta"):
            model = LayerT2VTransformer3DModel.from_config(config)
    else:
        settings = {**(run.wan.settings if run.wan else {}), **run.recipe.transformer}
        with torch.device("meta"):
            model = LayerT2VTransformer3DModel(**settings)
    model.requires_grad_(True)
    if stage.lora:
        if run.init is None and run.wan is None:
            raise InvalidRecipe("lora adapts a model and there is none; give --base or --init")
        with torch.device("meta"):
            add_lora(model, stage.lora)
    return model


def _vae_config(run: Run) -> dict[str, Any]:
    if run.wan is not None:
        return dict(run.wan.vae.config)
    if run.init is not None:
        return dict(AutoencoderKLWan.load_config(run.init / "vae"))
    with torch.device("meta"):
        return dict(make_vae(run.recipe.vae_size).config)


def _counts(model: nn.Module) -> tuple[int, int]:
    parameters = list(model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    return sum(p.numel() for p in parameters), trained


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.pt"))


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.2f} GiB"
