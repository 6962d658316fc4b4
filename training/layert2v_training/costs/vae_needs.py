"""The needs of the small VAE and of stage 1. Steps are simulated, the rest is counted."""

import math

from torch import nn

from layert2v_model.cost.estimate import FLOAT32_BYTES, ModelSize, decode_bytes
from layert2v_model.shot import ShotFormat
from layert2v_training.costs.batches import latent_shape
from layert2v_training.costs.needs import Needs, Phase
from layert2v_training.costs.parts import StageParts, bytes_of, trained_of
from layert2v_training.costs.passes import (
    alpha_vae_peaks,
    encoding_peak,
    fitting_peak,
    vae_peaks,
)
from layert2v_training.costs.simulated import on_meta
from layert2v_training.costs.state import (
    checkpoint_bytes_of,
    count_of,
    state_bytes_of,
    training_phase,
)
from layert2v_training.stages import alpha_vae_training, vae_training
from layert2v_training.stages.alpha_vae_training import AlphaModel


def vae_needs(parts: StageParts) -> Needs:
    """Count what making the small VAE takes."""
    recipe, shape = parts.run.recipe, parts.vae_shape
    empty = on_meta(parts.make_vae).requires_grad_(False)
    decoder = on_meta(lambda: vae_training.Decoder(empty)).requires_grad_(True)
    # Four streams of three colours, as bytes.
    pixels = 12 * math.prod(shape)
    rate = recipe.vae_size.z_dim / (3 * recipe.vae_size.patch_size**2)
    held_out = vae_training.HELD_OUT_CLIPS * pixels * FLOAT32_BYTES
    composed = recipe.vae_clips * pixels
    stored = int(composed * (1 + 2 * rate))
    fitted = min(vae_training.FITTED_CLIPS, recipe.vae_clips)
    return Needs(
        num_parameters=count_of(empty),
        num_trained=trained_of(decoder),
        num_tokens=0,
        phases=(
            Phase(
                "fitting the encoder",
                0,
                composed + held_out + fitting_peak(parts, fitted, shape),
                has_stored=False,
            ),
            training_phase(
                bytes_of(empty) + held_out,
                decoder,
                recipe.vae,
                vae_peaks(parts, recipe.vae, recipe.vae_batch_size, shape),
            ),
            _measuring(
                parts, decoder, bytes_of(empty) + held_out, held_out, vae_training.DECODED_AT_ONCE
            ),
        ),
        stored_bytes=stored,
        disk_bytes=checkpoint_bytes_of(decoder, recipe.vae),
        model_bytes=bytes_of(empty),
    )


def alpha_vae_needs(parts: StageParts) -> Needs:
    """Count what adapting a VAE to mattes takes."""
    run, stage = parts.run, parts.run.recipe.alpha_vae
    shape, model = parts.vae_shape, on_meta(lambda: AlphaModel(parts.make_vae(), stage))
    foregrounds = parts.foregrounds("alpha-vae")
    # Of one's own clips, those of a quarter come inverted as well.
    often = 1.25 if run.data is not None else 1.0
    num_mattes = often * run.num_alpha_clips * sum(foregrounds) / len(foregrounds)
    size = ModelSize({}, parts.vae_config, {})
    latent = parts.vae_config["z_dim"] * math.prod(latent_shape(size, shape))
    mattes = int(num_mattes * math.prod(shape) * FLOAT32_BYTES)
    stored = mattes + int(num_mattes * latent * FLOAT32_BYTES)
    encoding = encoding_peak(parts, alpha_vae_training.ENCODED_AT_ONCE, shape)
    held_out = alpha_vae_training.HELD_OUT * math.prod(shape) * FLOAT32_BYTES
    static = bytes_of(model) + held_out
    return Needs(
        num_parameters=count_of(model),
        num_trained=trained_of(model),
        num_tokens=0,
        phases=(
            # A list of them, and all joined.
            Phase("drawing mattes", parts.vae_bytes, 2 * mattes, has_stored=False),
            Phase("encoding mattes", bytes_of(model) + encoding, stored, has_stored=False),
            training_phase(static, model, stage.loop, alpha_vae_peaks(parts, stage, shape)),
            _measuring(parts, model, static, held_out, alpha_vae_training.DECODED_AT_ONCE),
        ),
        stored_bytes=stored,
        disk_bytes=checkpoint_bytes_of(model, stage.loop),
        model_bytes=bytes_of(model) + state_bytes_of(model, stage.loop),
    )


def _measuring(
    parts: StageParts, model: nn.Module, static: int, held_out: int, at_once: int
) -> Phase:
    """Count decoding what is held out, beside parameters that are put aside for their average."""
    scene = parts.run.recipe.scene
    shot = ShotFormat(scene.width, scene.height, scene.num_frames, 1, 1)
    size = ModelSize({"patch_size": (1, 1, 1)}, parts.vae_config, {})
    # `decode_bytes` is of one batch of streams.
    decoding = decode_bytes(shot, size) * at_once // shot.num_streams
    aside = trained_of(model) * (FLOAT32_BYTES + 4 * FLOAT32_BYTES)
    return Phase("measuring what is held out", static + aside + decoding + 3 * held_out)
