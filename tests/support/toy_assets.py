"""A folder of pictures like that of `fetch_assets`, drawn from coloured discs."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from layert2v_training.scenes.subjects import PANORAMAS, PHOTOGRAPHS, SUBJECTS


def make_toy_assets(folder: Path) -> Path:
    """Write discs as sprites and gradients as backgrounds under every name the recipes use."""
    rng = np.random.default_rng(0)
    for kind in ("sprites", "photographs", "panoramas"):
        (folder / kind).mkdir(parents=True)
    for code in SUBJECTS:
        _disc(rng).save(folder / "sprites" / f"{code}.png")
    for key in PHOTOGRAPHS:
        _gradient(rng, 96, 64).save(folder / "photographs" / f"{key.replace('/', '_')}.png")
    for key in PANORAMAS:
        _gradient(rng, 128, 64).save(folder / "panoramas" / f"{key.replace('/', '_')}.png")
    (folder / "manifest.json").write_text(json.dumps([]))
    return folder


def _disc(rng: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[-1:1:40j, -1:1:40j]
    rgba = np.zeros((40, 40, 4))
    rgba[..., :3] = rng.uniform(0.2, 1, 3)
    rgba[..., 3] = np.clip((0.8 - np.hypot(x, y)) * 10, 0, 1)
    return Image.fromarray((rgba * 255).astype(np.uint8))


def _gradient(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    corners = rng.uniform(0, 1, (2, 2, 3))
    small = Image.fromarray((corners * 255).astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BILINEAR)
