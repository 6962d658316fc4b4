"""Scenes of subject-background pairs that training never shows: prompts and exact layers."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from layert2v_model.alpha import light_of, premultiply
from layert2v_model.stack import Layer, Role, Stack
from layert2v_training.data.clips import ClipForeground, LayeredClip, Pixels
from layert2v_training.evaluation.prompts import ShotLine
from layert2v_training.runs.recipes import tiny
from layert2v_training.scenes.composing import SceneSource

SEED = 2611
"""Seed of the held-out scenes. Training uses others."""


def held_out_clips(
    assets: Path, width: int, height: int, num_frames: int, count: int
) -> list[LayeredClip]:
    """Compose scenes with one foreground. Equal arguments give equal scenes.

    Args:
        assets: Folder that `fetch_assets` filled.
        width: Pixels.
        height: Pixels.
        num_frames: Number of each scene.
        count: Scenes; a longer list begins with the shorter one.
    """
    recipe = replace(
        tiny().joint_scene,
        width=width,
        height=height,
        num_frames=num_frames,
        foregrounds=(1,),
        is_held_out=True,
        seed=SEED,
    )
    source = SceneSource(assets, recipe)
    return [source.clip(index) for index in range(count)]


def line_of(clip: LayeredClip, seed: int) -> ShotLine:
    """Ask for a scene by its captions."""
    captions = tuple(layer.caption for layer in clip.foregrounds)
    return ShotLine(background=clip.background_caption, foregrounds=captions, seed=seed)


def stack_of_clip(clip: LayeredClip) -> Stack:
    """Give a scene's exact layers, with the light they would have if stored on black."""
    background_TCHW = tensor_of(clip.background_THWC)
    layers = [_layer_of(layer) for layer in clip.foregrounds]
    plate = Layer(Role.BACKGROUND, background_TCHW, torch.ones_like(background_TCHW[:, :1]))
    return Stack((plate, *layers), tensor_of(clip.full_THWC))


def _layer_of(layer: ClipForeground) -> Layer:
    rgb_TCHW, alpha_T1HW = tensor_of(layer.rgb_THWC), tensor_of(layer.alpha_THW[..., None])
    light_T2 = light_of(premultiply(rgb_TCHW, alpha_T1HW), alpha_T1HW)
    return Layer(Role.FOREGROUND, rgb_TCHW, alpha_T1HW, light_T2)


def tensor_of(pixels_THWC: Pixels) -> Tensor:
    """Bring a clip's pixels (T, H, W, C) into the model's layout, (T, C, H, W)."""
    return torch.from_numpy(pixels_THWC).permute(0, 3, 1, 2).contiguous()
