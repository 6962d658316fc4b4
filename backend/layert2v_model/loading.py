"""Loading a model folder, strictly and without any network."""

from pathlib import Path

import torch

from layert2v_model.errors import DamagedModel
from layert2v_model.folders.model_folder import (
    check_hashes,
    read_card,
    read_project_in,
    read_scheduler,
    read_text_encoder,
    read_transformer,
    read_vae,
)
from layert2v_model.pipeline import LayerT2VPipeline


def load_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> LayerT2VPipeline:
    """Load a model folder strictly and without any network.

    Args:
        folder: A diffusers folder with `layert2v.json`.
        dtype: Type of the transformer, as `decide_precision` says. The VAEs and the text encoder
            stay float32.

    Raises:
        DamagedModel: A file is missing, broken, or does not belong there. It names the file.
    """
    card = read_card(folder)
    check_hashes(folder, card)
    tokenizer, text_encoder = read_text_encoder(folder, card)
    pipeline = LayerT2VPipeline(
        transformer=read_transformer(folder, dtype),
        vae=read_vae(folder, "vae"),
        alpha_vae=read_vae(folder, "alpha_vae"),
        scheduler=read_scheduler(folder),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
    )
    pipeline.project_in = read_project_in(folder)
    pipeline.is_distilled = bool(card.get("is_distilled", False))
    _check_fit(pipeline, folder)
    return pipeline


def _check_fit(pipeline: LayerT2VPipeline, folder: Path) -> None:
    """Check that the parts are of one model."""
    network = pipeline.transformer.config
    pairs = [
        ("vae z_dim", pipeline.vae.config.z_dim, network.in_channels),
        ("alpha_vae z_dim", pipeline.alpha_vae.config.z_dim, network.in_channels),
        ("out_channels", network.out_channels, network.in_channels),
        ("text encoder width", pipeline.text_encoder.config.hidden_size, network.text_dim),
    ]
    for what, value, wanted in pairs:
        if value != wanted:
            raise DamagedModel(
                f"the parts of {folder} do not belong together: {what} is {value}, the "
                f"transformer needs {wanted}; install or export the model again"
            )
