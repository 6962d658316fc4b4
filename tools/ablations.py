"""Train small networks that differ in one choice each, and measure them alike.

    python tools/ablations.py --out runs/ablations                       all, one after another
    python tools/ablations.py --out runs/ablations --only chosen bleed   some, beside others

All see the same clips (96x64, 9 frames, one or two foregrounds) in the same order, begin with the
same weights and learn for as many steps. Each is measured on held-out scenes by the error of its
velocity, by takes from the scenes' words, and by decomposing the scenes' full videos. A stopped run
resumes. Writes `OUT/NAME/figures.json`, `OUT/table.md` and `OUT/sheet.png`.

Shape letters: B batch, S streams, C channels, T latent frames, H, W.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ablation_variants import SHIFT, VARIANTS, Variant
from layert2v_model.folders.model_folder import read_transformer, read_vae
from layert2v_model.loading import load_pipeline
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.pipeline import LayerT2VPipeline
from layert2v_model.streams import batch_stream_text
from layert2v_model.vae.alpha_vae import ProjectIn, load_project_in
from layert2v_training.cache.captions import CaptionStates
from layert2v_training.cache.latents import LatentClip, encode_clip, load_latents
from layert2v_training.codecs.linear_vae import channel_weights
from layert2v_training.evaluation.asked_model import AskedModel, evaluation_precision
from layert2v_training.evaluation.generated_shots import generate
from layert2v_training.evaluation.given_scenes import FULL, make_given
from layert2v_training.evaluation.held_out import held_out_clips, line_of, stack_of_clip
from layert2v_training.evaluation.measured_shots import Judges, Section
from layert2v_training.evaluation.metrics.oracle import Oracle
from layert2v_training.evaluation.take_pictures import write_sheet
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.runs.model_export import text_encoder_folder
from layert2v_training.runs.recipes import tiny
from layert2v_training.scenes.assets import fetch_assets
from layert2v_training.scenes.composing import SceneSource
from layert2v_training.stages.joint import (
    JointRecipe,
    clip_text,
    full_caption,
    make_transformer,
    train_joint,
)
from layert2v_training.stages.losses import add_noise

log = logging.getLogger(__name__)

WIDTH, HEIGHT, FRAMES = 96, 64, 9
LEVELS = (0.3, 0.6, 0.9)
"""Noise levels of all streams for the velocity's error."""
SHOWN = 4
"""Takes of each variant on the sheet."""
COLUMNS = {
    "error_full": "error, full",
    "error_background": "background",
    "error_foreground": "foreground",
    "error_alpha": "matte",
    "recomposition_before": "recomposition, dB",
    "soft_iou": "soft IoU",
    "ghost_slope_before": "ghost slope",
    "right_subject": "right subject",
    "apart_soft_iou": "taken apart: soft IoU",
    "apart_recomposition_before": "recomposition, dB",
}
"""Figures of the table, with its words."""


@dataclass(frozen=True, eq=False)
class Bench:
    """Settings that all variants share."""

    model: Path
    """A model folder, whose VAEs and text encoder are used."""
    assets: Path
    out: Path
    num_clips: int
    num_steps: int
    num_shots: int
    workers: int

    @property
    def recipe(self) -> JointRecipe:
        """Settings of the training."""
        loop = LoopRecipe(
            num_steps=self.num_steps, learning_rate=1e-3, muon_scale=2.0, weight_decay=0.01,
            warmup_steps=min(50, self.num_steps), ema_decay=0.995,
        )  # fmt: skip
        return JointRecipe(
            loop, batch_size=4, windowed_share=0.4, windowed_batch_size=24, sheet_every=0
        )


def run_variant(bench: Bench, name: str) -> None:
    """Train a variant or resume it, measure it and write its figures."""
    variant, folder = VARIANTS[name], bench.out / name
    _trained(bench, variant, name).save_pretrained(folder / "transformer")
    figures = _errors(bench, _network(folder, variant, torch.float32))
    section, apart = _takes(bench, _network(folder, variant, evaluation_precision().dtype))
    figures |= _means(section)
    figures |= {f"apart_{key}": value for key, value in _means(apart).items()}
    torch.save([row.half() for row in section.rows[:SHOWN]], folder / "rows.pt")
    (folder / "figures.json").write_text(
        json.dumps({"variant": variant.words, "bench": _said(bench), **figures}, indent=1) + "\n"
    )


def _said(bench: Bench) -> dict[str, object]:
    return {name: str(value) if isinstance(value, Path) else value
            for name, value in asdict(bench).items() if name not in ("out", "workers")}  # fmt: skip


def _trained(bench: Bench, variant: Variant, name: str) -> LayerT2VTransformer3DModel:
    torch.manual_seed(0)
    model = make_transformer(variant.network)
    variant.change(model)
    vae = read_vae(bench.model, "vae").float()
    scene = replace(
        tiny().joint_scene, width=WIDTH, height=HEIGHT, num_frames=FRAMES, foregrounds=(1, 1, 2)
    )
    clips = load_latents(
        bench.out / "latents", vae, SceneSource(bench.assets, scene), bench.num_clips,
        bench.workers, fill=model.config.foreground_fill,
        project_in=load_project_in(bench.model / "alpha_vae"),
    )  # fmt: skip
    recipe = replace(bench.recipe, noise=variant.noise)
    average = train_joint(bench.out, model, clips, _captions(), recipe, name, channel_weights(vae))
    average.copy_to(model)
    return model.eval()


def _captions() -> CaptionStates:
    return CaptionStates.read(text_encoder_folder())


def _network(folder: Path, variant: Variant, dtype: torch.dtype) -> LayerT2VTransformer3DModel:
    model = read_transformer(folder, dtype)
    variant.change(model)
    return model


@torch.no_grad()
def _project_alphas(clips: Sequence[LatentClip], project_in: ProjectIn) -> None:
    """Put the alphas of clips in memory through stage 1's `project_in`, in place."""
    for clip in clips:
        project_in = project_in.to(clip.latents_SCTHW.device)
        alphas = clip.latents_SCTHW[3::2]
        clip.latents_SCTHW[3::2] = project_in(alphas.float()).to(alphas.dtype)


@torch.no_grad()
def _errors(bench: Bench, model: LayerT2VTransformer3DModel) -> dict[str, float]:
    """Give the velocity's mean squared error on held-out scenes by stream, all at one level."""
    vae, captions = read_vae(bench.model, "vae").float(), _captions()
    scenes = held_out_clips(bench.assets, WIDTH, HEIGHT, FRAMES, bench.num_shots)
    clips = [encode_clip(vae, scene, model.config.foreground_fill) for scene in scenes]
    _project_alphas(clips, load_project_in(bench.model / "alpha_vae"))
    weights_C = channel_weights(vae)[:, None, None, None]
    errors = []
    for seed, clip in enumerate(clips):
        captions.encode({clip.background_caption, *clip.foreground_captions, full_caption(clip)})
        errors += [_error(model, clip, captions, weights_C, seed, level) for level in LEVELS]
    names = ("full", "background", "foreground", "alpha")
    means_S = torch.stack(errors).mean(0)
    return {f"error_{name}": float(value) for name, value in zip(names, means_S, strict=True)}


def _error(
    model: LayerT2VTransformer3DModel,
    clip: LatentClip,
    captions: CaptionStates,
    weights_C: Tensor,
    seed: int,
    level: float,
) -> Tensor:
    """Return the error of each stream (S,)."""
    x = clip.latents_SCTHW.float()[None]
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    heard = clip_text(clip, captions, model.config.prompt_visibility, is_dropped=False)
    text, mask = batch_stream_text([heard])
    noisy = add_noise(x, noise, torch.full((1, x.shape[1], 1), level))
    timestep = torch.full((1,), 1000 * level)
    velocity = model(noisy, timestep, text, mask, return_dict=False)[0]
    return ((velocity - (noise - x)).square() * weights_C).mean((0, 2, 3, 4, 5))


def _takes(bench: Bench, model: LayerT2VTransformer3DModel) -> tuple[Section, Section]:
    clips = held_out_clips(bench.assets, WIDTH, HEIGHT, FRAMES, bench.num_shots)
    lines = [line_of(clip, seed) for seed, clip in enumerate(clips, start=1)]
    asked_model = AskedModel(
        _pipeline(bench, model), WIDTH, HEIGHT, FRAMES, 12, tiny().guidance_scale
    )
    judges = Judges(Oracle(bench.assets, lines))
    section, _ = generate(asked_model, lines, None, judges, log.info, num_regenerated=0)
    truths = [stack_of_clip(clip) for clip in clips]
    return section, make_given(asked_model, lines, truths, FULL, log.info)


def _pipeline(bench: Bench, model: LayerT2VTransformer3DModel) -> LayerT2VPipeline:
    pipeline = load_pipeline(bench.model, evaluation_precision().dtype)
    pipeline.scheduler.set_shift(SHIFT)
    pipeline.register_modules(transformer=model)
    return pipeline


def _means(section: Section) -> dict[str, float]:
    return {name: float(found["mean"]) for name, found in section.summary()["metrics"].items()}


def write_table(out: Path) -> str:
    """Write the table and the sheet of all finished variants in `out`."""
    heads = ["", *COLUMNS.values()]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    rows: list[Tensor] = []
    for name in VARIANTS:
        path = out / name / "figures.json"
        if not path.is_file():
            continue
        found = json.loads(path.read_text())
        cells = [f"{found[key]:.3f}" if key in found else "" for key in COLUMNS]
        lines.append(f"| {found['variant']} | {' | '.join(cells)} |")
        rows.append(torch.cat(torch.load(path.with_name("rows.pt"), weights_only=True), 2).float())
    page = "\n".join(lines) + "\n"
    (out / "table.md").write_text(page)
    if rows:
        write_sheet(rows, out / "sheet.png")
    return page


def main() -> None:
    """Run the command line."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("backend/layert2v_model/tiny"))
    parser.add_argument("--assets", type=Path, default=Path("cache/assets"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--clips", type=int, default=1000, help="clips of training")
    parser.add_argument("--steps", type=int, default=500, help="steps of training")
    parser.add_argument("--shots", type=int, default=12, help="held-out scenes")
    parser.add_argument("--workers", type=int, default=0, help="processes that compose clips")
    asked = parser.parse_args()
    assets = fetch_assets(asked.assets)
    bench = Bench(
        asked.model, assets, asked.out, asked.clips, asked.steps, asked.shots, asked.workers
    )
    for name in asked.only:
        run_variant(bench, name)
        print(write_table(asked.out), flush=True)


if __name__ == "__main__":
    main()
