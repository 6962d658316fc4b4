"""Measure a model on the subject-background pairs that training never shows, and draw them.

    python tools/held_out.py --model backend/layert2v_model/tiny --out runs/held_out

One shot for each held-out pair of the core lists, one seed each. Writes `OUT/sheet.png` (full at
its first and last frame; background; foreground over grey; matte) and `OUT/figures.json`.

Shape letters: T frames, C channels, H, W; N sprites, P numbers of a small picture.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from layert2v_model.finish import finish
from layert2v_model.loading import fastest_dtype, load_pipeline
from layert2v_model.pipeline import LayerT2VPipeline, ShotPrompts
from layert2v_model.stack import Stack
from layert2v_training.subjects import CORE_BACKGROUNDS, CORE_SUBJECTS, SUBJECTS, is_held_out

DIFFERENCE = 12 / 255
"""Mean difference of full video and background, over channels, that counts as covered."""
PAIRS = [(s, b) for s in CORE_SUBJECTS for b in CORE_BACKGROUNDS if is_held_out(s, b)]
SMALL = 24
"""Sprites are compared at so many pixels a side."""


def make(pipeline: LayerT2VPipeline, subject: str, background: str, seed: int, steps: int) -> Stack:
    """Generate a pair at 96x64, 9 frames: straight sRGB in [0, 1], as the pipeline gives it."""
    seeds = {"full": seed, "background": seed + 1, "foreground_1": seed + 2}
    return pipeline(
        ShotPrompts("", background, (subject,)),
        width=96,
        height=64,
        num_frames=9,
        num_inference_steps=steps,
        guidance_scale=3.0,
        stream_seeds=seeds,
    )


def soft_iou(stack: Stack) -> float:
    """Soft IoU of the matte and of where full video and background differ.

    Sum of the smaller over sum of the larger of the two. The model's full video and background
    differ a little everywhere, so that even a perfect matte stays below 1.

    Source: Suzuki et al., "LayerD", ICCV 2025, soft IoU in the form of its code (min over max).
    """
    difference = (stack.full_TCHW - stack.layers[0].rgb_TCHW).abs().mean(1, keepdim=True)
    covered, alpha = (difference > DIFFERENCE).float(), stack.layers[1].alpha_T1HW
    return float(torch.minimum(covered, alpha).sum() / torch.maximum(covered, alpha).sum())


def small_picture(rgba_CHW: Tensor) -> Tensor:
    """Crop a premultiplied picture (4, H, W) in [0, 1] to its alpha and shrink it: (P,)."""
    rows, columns = (rgba_CHW[3] > 0.3).nonzero(as_tuple=True)
    if not len(rows):
        return torch.zeros(4 * SMALL * SMALL)
    cut = rgba_CHW[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return interpolate(cut[None], (SMALL, SMALL), mode="area").flatten()


def read_sprites(assets: Path) -> Tensor:
    """Read the core sprites, each also mirrored: (N, 2, P), premultiplied."""
    codes = {caption: code for code, caption in SUBJECTS.items()}
    sprites = []
    for subject in CORE_SUBJECTS:
        picture = Image.open(assets / "sprites" / f"{codes[subject]}.png").convert("RGBA")
        rgba = torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1)
        rgba = torch.cat([rgba[:3] * rgba[3:], rgba[3:]])
        sprites.append(torch.stack([small_picture(rgba), small_picture(rgba.flip(2))]))
    return torch.stack(sprites)


def nearest_subject(stack: Stack, sprites_N2P: Tensor) -> str:
    """Name the sprite nearest to the foreground's middle frame."""
    layer = stack.layers[1]
    middle = len(layer.alpha_T1HW) // 2
    alpha = layer.alpha_T1HW[middle]
    made_P = small_picture(torch.cat([layer.rgb_TCHW[middle] * alpha, alpha]))
    distances_N = (sprites_N2P - made_P).square().mean(2).amin(1)
    return CORE_SUBJECTS[int(distances_N.argmin())]


def row_of(stack: Stack) -> Tensor:
    """Lay a take's pictures side by side: (3, H, W)."""
    layer, middle = stack.layers[1], len(stack.full_TCHW) // 2
    alpha = layer.alpha_T1HW[middle]
    over_grey = layer.rgb_TCHW[middle] * alpha + 0.5 * (1 - alpha)
    background = stack.layers[0].rgb_TCHW[middle]
    parts = (stack.full_TCHW[0], stack.full_TCHW[-1], background, over_grey)
    return torch.cat([*parts, alpha.expand(3, -1, -1)], dim=2)


def figures_of(stack: Stack, subject: str, sprites_N2P: Tensor) -> dict[str, float]:
    """Measure one take."""
    report = finish(stack).report
    return {
        "recomposition_before": report.recomposition_before,
        "recomposition_after": report.recomposition_after,
        "soft_iou": soft_iou(stack),
        "ghost_slope": report.ghost_slope,
        "empty_matte": float(stack.layers[1].alpha_T1HW.max() < 0.5),
        "right_subject": float(nearest_subject(stack, sprites_N2P) == subject),
    }


def write_sheet(rows: list[Tensor], path: Path) -> None:
    """Write takes' rows in two columns; each row is (3, H, W) in [0, 1]."""
    half = (len(rows) + 1) // 2
    sheet = torch.cat([torch.cat(rows[:half], 1), torch.cat(rows[half:], 1)], dim=2)
    Image.fromarray((sheet.permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()).save(path)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("backend/layert2v_model/tiny"))
    parser.add_argument("--assets", type=Path, default=Path("cache/assets"))
    parser.add_argument("--out", type=Path, default=Path("held_out"))
    parser.add_argument("--steps", type=int, default=24)
    arguments = parser.parse_args()
    pipeline = load_pipeline(arguments.model, fastest_dtype())
    sprites_N2P = read_sprites(arguments.assets)
    rows, shots = [], []
    for subject, background in PAIRS:
        stack = make(pipeline, subject, background, 10 * len(rows), arguments.steps)
        rows.append(row_of(stack))
        shots.append(figures_of(stack, subject, sprites_N2P))
    mean = {name: float(np.mean([shot[name] for shot in shots])) for name in shots[0]}
    named = [{"pair": pair, **shot} for pair, shot in zip(PAIRS, shots, strict=True)]
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_sheet(rows, arguments.out / "sheet.png")
    report = json.dumps({"mean": mean, "shots": named}, indent=1)
    (arguments.out / "figures.json").write_text(report)


if __name__ == "__main__":
    main()
