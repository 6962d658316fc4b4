"""The authors' parameter names and ours, as data. Nothing is loaded here.

Every name must be known: an unknown one is an error, never skipped.
"""

import re
from collections.abc import Iterable

TRANSFORMER_RULES: tuple[tuple[str, str], ...] = (
    (r"patch_embedding\.", r"patch_embedding."),
    (r"text_embedding\.0\.", r"condition_embedder.text_embedder.linear_1."),
    (r"text_embedding\.2\.", r"condition_embedder.text_embedder.linear_2."),
    (r"time_embedding\.0\.", r"condition_embedder.time_embedder.linear_1."),
    (r"time_embedding\.2\.", r"condition_embedder.time_embedder.linear_2."),
    (r"time_projection\.1\.", r"condition_embedder.time_proj."),
    (r"blocks\.(\d+)\.modulation$", r"blocks.\1.scale_shift_table"),
    (r"blocks\.(\d+)\.self_attn\.([qkv])\.", r"blocks.\1.attn1.to_\2."),
    (r"blocks\.(\d+)\.self_attn\.o\.", r"blocks.\1.attn1.to_out.0."),
    (r"blocks\.(\d+)\.self_attn\.norm_([qk])\.", r"blocks.\1.attn1.norm_\2."),
    (r"blocks\.(\d+)\.cross_attn\.([qkv])\.", r"blocks.\1.attn2.to_\2."),
    (r"blocks\.(\d+)\.cross_attn\.o\.", r"blocks.\1.attn2.to_out.0."),
    (r"blocks\.(\d+)\.cross_attn\.norm_([qk])\.", r"blocks.\1.attn2.norm_\2."),
    (r"blocks\.(\d+)\.norm3\.", r"blocks.\1.norm2."),
    (r"blocks\.(\d+)\.ffn\.0\.", r"blocks.\1.ffn.net.0.proj."),
    (r"blocks\.(\d+)\.ffn\.2\.", r"blocks.\1.ffn.net.2."),
    (r"head\.head\.", r"proj_out."),
    (r"head\.modulation$", r"scale_shift_table"),
    (r"layer_adaln\.layer_modulation$", r"layer_adaln.layer_modulation"),
)
"""WanModel and LayeredWanModel to `LayerT2VTransformer3DModel`."""

_MID_BLOCK = (
    (r"(encoder|decoder)\.middle\.0\.", r"\1.mid_block.resnets.0."),
    (r"(encoder|decoder)\.middle\.1\.", r"\1.mid_block.attentions.0."),
    (r"(encoder|decoder)\.middle\.2\.", r"\1.mid_block.resnets.1."),
)

VAE_RULES: tuple[tuple[str, str], ...] = (
    (r"conv1\.", r"quant_conv."),
    (r"conv2\.", r"post_quant_conv."),
    (r"(encoder|decoder)\.conv1\.", r"\1.conv_in."),
    *_MID_BLOCK,
    (r"(encoder|decoder)\.head\.0\.", r"\1.norm_out."),
    (r"(encoder|decoder)\.head\.2\.", r"\1.conv_out."),
    (r"encoder\.downsamples\.", r"encoder.down_blocks."),
)
"""WanVAE to `AutoencoderKLWan`, without `decoder.upsamples`, whose numbers depend on its depth."""

PROJECT_IN_RULES: tuple[tuple[str, str], ...] = (
    (r"gate$", r"gate"),
    (r"(in_conv|out_conv)\.", r"\1."),
    (r"blocks\.", r"blocks."),
)
"""The projector of the mask VAE to `ProjectIn`."""

TEXT_ENCODER_RULES: tuple[tuple[str, str], ...] = (
    (r"token_embedding\.", r"shared."),
    (r"norm\.", r"encoder.final_layer_norm."),
    (r"blocks\.(\d+)\.norm1\.", r"encoder.block.\1.layer.0.layer_norm."),
    (r"blocks\.(\d+)\.norm2\.", r"encoder.block.\1.layer.1.layer_norm."),
    (r"blocks\.(\d+)\.attn\.([qkvo])\.", r"encoder.block.\1.layer.0.SelfAttention.\2."),
    (
        r"blocks\.(\d+)\.pos_embedding\.embedding\.",
        r"encoder.block.\1.layer.0.SelfAttention.relative_attention_bias.",
    ),
    (r"blocks\.(\d+)\.ffn\.gate\.0\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_0."),
    (r"blocks\.(\d+)\.ffn\.fc1\.", r"encoder.block.\1.layer.1.DenseReluDense.wi_1."),
    (r"blocks\.(\d+)\.ffn\.fc2\.", r"encoder.block.\1.layer.1.DenseReluDense.wo."),
)
"""Wan's umT5 encoder to transformers' `UMT5EncoderModel`; the gate's GELU acts on `wi_0`."""

_BLOCK_LINEAR_MAPS: tuple[str, ...] = (
    *(f"self_attn.{name}" for name in "qkvo"),
    *(f"cross_attn.{name}" for name in "qkvo"),
    "ffn.0",
    "ffn.2",
)

RESIDUAL_RULES: tuple[tuple[str, str], ...] = (
    (r"\.residual\.0\.gamma$", r".norm1.gamma"),
    (r"\.residual\.2\.", r".conv1."),
    (r"\.residual\.3\.gamma$", r".norm2.gamma"),
    (r"\.residual\.6\.", r".conv2."),
    (r"\.shortcut\.", r".conv_shortcut."),
)
"""Inside a residual block of the VAE or the projector. Other names stay."""


def decoder_stage_rules(num_stages: int, num_res_blocks: int) -> tuple[tuple[str, str], ...]:
    """Number the flat `decoder.upsamples` by stage: residual blocks, then the upsampler."""
    rules = []
    per_stage = num_res_blocks + 2
    for stage in range(num_stages):
        for block in range(num_res_blocks + 1):
            flat = stage * per_stage + block
            rules.append((rf"decoder\.upsamples\.{flat}\.", _up(stage, f"resnets.{block}")))
        flat = stage * per_stage + num_res_blocks + 1
        if stage < num_stages - 1:
            rules.append((rf"decoder\.upsamples\.{flat}\.", _up(stage, "upsamplers.0")))
    return tuple(rules)


def _up(stage: int, place: str) -> str:
    return f"decoder.up_blocks.{stage}.{place}."


def transformer_names(names: Iterable[str]) -> dict[str, str]:
    """Map released names of the layered transformer to ours."""
    return {name: _renamed(name, TRANSFORMER_RULES) for name in names}


def vae_names(names: Iterable[str], num_stages: int, num_res_blocks: int) -> dict[str, str]:
    """Map released names of the Wan VAE to diffusers'."""
    rules = VAE_RULES + decoder_stage_rules(num_stages, num_res_blocks)
    return {name: _renamed_residual(_renamed(name, rules)) for name in names}


def project_in_names(names: Iterable[str]) -> dict[str, str]:
    """Map released names of the projector to ours."""
    return {name: _renamed_residual(_renamed(name, PROJECT_IN_RULES)) for name in names}


def text_encoder_names(names: Iterable[str]) -> dict[str, str]:
    """Map names of Wan's umT5 encoder to those of transformers."""
    return {name: _renamed(name, TEXT_ENCODER_RULES) for name in names}


def linear_maps(num_blocks: int) -> list[str]:
    """Name the linear maps of WanModel in the order in which it registers them.

    An average of parameters is stored without names, so its order is all that is known of it.
    """
    before = [f"{part}_embedding.{index}" for part in ("text", "time") for index in (0, 2)]
    inside = [f"blocks.{k}.{name}" for k in range(num_blocks) for name in _BLOCK_LINEAR_MAPS]
    return [*before, "time_projection.1", *inside, "head.head"]


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        renamed, count = re.subn(rf"^{pattern}", replacement, name)
        if count:
            return renamed
    raise KeyError(name)


def _renamed_residual(name: str) -> str:
    for pattern, replacement in RESIDUAL_RULES:
        name = re.sub(pattern, replacement, name)
    return name
