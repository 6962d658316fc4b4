"""A stand-in model for tests: the real architecture, tiny, with random weights.

It quickly makes noise of the right shapes, always the same for the same seeds. Its text encoder is
a random BERT with a word list of its own, so no package and no network is needed.
"""

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler
from transformers import BertConfig, BertModel, BertTokenizerFast

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.pipeline import LayerT2VPipeline, save_pipeline
from layert2v_model.vae.alpha_vae import ProjectIn

TOY_WIDTH = 32
TOY_HEIGHT = 32
TOY_NUM_FRAMES = 5
TOY_MAX_FOREGROUNDS = 3

TOY_CARD: dict[str, Any] = {
    "id": "toy",
    "description": "Random weights for tests, which show nothing.",
    "sizes": [[TOY_WIDTH, TOY_HEIGHT]],
    "num_frames": [TOY_NUM_FRAMES],
    "max_foregrounds": TOY_MAX_FOREGROUNDS,
    "max_prompt_chars": 120,
    "default_num_inference_steps": 3,
    "default_guidance_scale": 2.0,
    "fps": 8.0,
}

_WORDS = ("a", "fox", "ball", "on", "in", "front", "of", "and", "beach", "red", "blue", ",")
_TEXT_DIM = 16


def make_toy_model_folder(path: Path, **transformer_settings: Any) -> Path:
    """Write the toy model into `path` (created) and return `path`.

    `transformer_settings` override the transformer's config, such as
    `prompt_visibility="released"`, `foreground_fill="black"` or `per_stream_timesteps=False`.
    """
    return shutil.copytree(
        _saved_model(tuple(transformer_settings.items())), path, dirs_exist_ok=True
    )


@cache
def _saved_model(transformer_settings: tuple[tuple[str, Any], ...]) -> Path:
    """Write a toy model once for all tests of this process, in a temporary folder."""
    folder = tempfile.TemporaryDirectory(prefix="toy-model-")
    _kept.append(folder)
    path = Path(folder.name)
    save_pipeline(
        make_toy_pipeline(path, **dict(transformer_settings)),
        path,
        TOY_CARD,
        dtype=torch.float32,
        with_text_encoder=True,
    )
    return path


_kept: list["tempfile.TemporaryDirectory[str]"] = []


def make_toy_pipeline(scratch: Path, **transformer_settings: Any) -> LayerT2VPipeline:
    """Build the toy model in memory. `scratch` is a folder for its word list."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = LayerT2VPipeline(
            transformer=make_toy_transformer(**transformer_settings).eval(),
            vae=make_toy_vae().eval(),
            alpha_vae=make_toy_vae().eval(),
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
            text_encoder=_toy_text_encoder(),
            tokenizer=_toy_tokenizer(scratch),
        )
        pipeline.project_in = make_toy_project_in()
    return pipeline


def make_toy_transformer(**settings: Any) -> LayerT2VTransformer3DModel:
    """Build a random transformer whose LayerAdaLN tables are not zero."""
    defaults: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 4,
        "out_channels": 4,
        "text_dim": _TEXT_DIM,
        "freq_dim": 16,
        "ffn_dim": 32,
        "num_layers": 2,
        "max_foregrounds": TOY_MAX_FOREGROUNDS,
        "prompt_visibility": "isolated",
        "foreground_fill": "bleed",
        "per_stream_timesteps": True,
    }
    model = LayerT2VTransformer3DModel(**{**defaults, **settings})
    with torch.no_grad():
        model.layer_adaln.layer_modulation.normal_(std=0.3)
        model.layer_adaln.foreground_modulation[1:].normal_(std=0.3)
    return model


def make_toy_vae() -> AutoencoderKLWan:
    """Build a random Wan VAE that turns 8 x 8 pixels and 4 frames into 4 channels."""
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 2, 2, 2],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=[0.1, -0.2, 0.0, 0.3],
        latents_std=[1.5, 0.5, 1.0, 2.0],
    )


def make_toy_project_in() -> ProjectIn:
    """Build a random projector that is not silent."""
    project_in = ProjectIn(latent_channels=4, hidden_channels=8, res_blocks=1).eval()
    with torch.no_grad():
        project_in.gate.fill_(0.3)
    return project_in


def _toy_text_encoder() -> BertModel:
    config = BertConfig(
        vocab_size=5 + len(_WORDS) + 26,
        hidden_size=_TEXT_DIM,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    return BertModel(config).eval()


def _toy_tokenizer(scratch: Path) -> BertTokenizerFast:
    letters = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDS, *letters]
    scratch.mkdir(parents=True, exist_ok=True)
    word_list = scratch / "toy_words.txt"
    word_list.write_text("\n".join(tokens) + "\n")
    return BertTokenizerFast(vocab=str(word_list), model_max_length=64)
