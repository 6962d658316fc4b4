"""LayerT2V's pipeline: a shot in, a stack out; any subset of streams may be given.

Shape letters: B batch (1, or 2 with guidance), S streams, C channels, T frames, H, W, N tokens,
D width. Pixels are display-referred sRGB in [0, 1], RGB straight.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from layert2v_model import codec
from layert2v_model.alpha import premultiply, unpremultiply
from layert2v_model.alpha_vae import (
    PROJECT_IN_FILE,
    ProjectIn,
    encode_alpha,
)
from layert2v_model.decoding import OnProgress, decode_streams
from layert2v_model.errors import DamagedModel, InvalidPlate, InvalidShot
from layert2v_model.export import save_pipeline
from layert2v_model.folder import (
    check_hashes,
    read_card,
    read_project_in,
    read_scheduler,
    read_text_encoder,
    read_transformer,
    read_vae,
)
from layert2v_model.shot import (
    ShotFormat,
    ShotPrompts,
    check_format,
    check_given,
    check_prompts,
    check_seeds,
    seed_source,
)
from layert2v_model.stack import Layer, Role, Stack
from layert2v_model.streams import (
    batch_stream_text,
    stream_names,
    stream_seed,
    stream_text,
)
from layert2v_model.text import TextStates, encode_prompt
from layert2v_model.transformer import LayerT2VTransformer3DModel

__all__ = [
    "DamagedModel",
    "InvalidPlate",
    "InvalidShot",
    "LayerT2VPipeline",
    "OnProgress",
    "ShotPrompts",
    "fastest_dtype",
    "load_pipeline",
    "save_pipeline",
]

logger = logging.getLogger(__name__)


class LayerT2VPipeline(DiffusionPipeline):
    """Generate the streams of a shot together and return them as a stack."""

    model_cpu_offload_seq = "text_encoder->transformer->vae->alpha_vae"
    _optional_components: ClassVar[list[str]] = ["text_encoder", "tokenizer"]

    def __init__(
        self,
        transformer: LayerT2VTransformer3DModel,
        vae: AutoencoderKLWan,
        alpha_vae: AutoencoderKLWan,
        scheduler: FlowMatchEulerDiscreteScheduler,
        text_encoder: Any = None,
        tokenizer: Any = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            transformer=transformer,
            vae=vae,
            alpha_vae=alpha_vae,
            scheduler=scheduler,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
        )
        self.project_in: ProjectIn | None = None

    @classmethod
    def from_pretrained(cls, folder: Path | str, **settings: Any) -> "LayerT2VPipeline":
        """Load as any diffusers folder; `load_pipeline` is stricter and finds packaged encoders."""
        pipeline = super().from_pretrained(folder, **settings)
        if (Path(folder) / "alpha_vae" / PROJECT_IN_FILE).is_file():
            pipeline.project_in = read_project_in(Path(folder))
        return pipeline

    @property
    def clamps_given(self) -> bool:
        """Whether given streams are only clamped, which is much worse than being trained for.

        True for checkpoints without a timestep per stream, such as the authors' release; takes
        with given streams should then be marked.
        """
        return not self.transformer.config.per_stream_timesteps

    @torch.inference_mode()
    def __call__(
        self,
        prompts: ShotPrompts,
        *,
        width: int,
        height: int,
        num_frames: int,
        num_inference_steps: int,
        guidance_scale: float,
        stream_seeds: Mapping[str, int],
        given: Mapping[str, Tensor] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Stack:
        """Make a take.

        Args:
            prompts: The words; a blank full prompt is composed from the layers'.
            width: Pixels, a multiple of the VAE's factor times the patch.
            height: As `width`.
            num_frames: 4 k + 1.
            num_inference_steps: From 1.
            guidance_scale: From 1, which turns guidance off and halves the work.
            stream_seeds: A seed per stream to be made (`full`, `background`, `foreground_k`;
                `alpha_k` shares its foreground's if it has none). Each stream's noise depends on
                its own seed and name only.
            given: Whole streams that are inputs, by name: (T, 3, H, W) straight sRGB, or
                (T, 1, H, W) alpha, in [0, 1]. A foreground given without its alpha is taken as
                it stands.
            on_progress: Called between steps; an exception raised in it ends the run and leaves
                the pipeline ready for the next.

        Returns:
            Float32 layers on the CPU, RGB straight, in [0, 1]; given streams are the tensors that
            came in. Equal inputs give equal outputs on one machine.

        Raises:
            InvalidShot: The model cannot make this shot.
            InvalidPlate: A given stream does not fit.
        """
        given = dict(given or {})
        shot = ShotFormat(width, height, num_frames, num_inference_steps, guidance_scale)
        names = self._checked_streams(prompts, shot, stream_seeds, given)
        report = on_progress or _silent
        try:
            text = self._encode_prompts(prompts, guidance_scale, report, len(given) + 1)
            clean = self._encode_given(given, report)
            noise = {name: self._noise(name, shot, stream_seeds) for name in names}
            latents = self._denoise(noise, clean, text, shot, report)
            made = {name: latent for name, latent in latents.items() if name not in given}
            decoded = decode_streams(self.vae, self.alpha_vae, made, report)
        finally:
            self.transformer._reset_stateful_cache()
        return self._stack(given, decoded, len(prompts.foregrounds))

    def _checked_streams(
        self,
        prompts: ShotPrompts,
        shot: ShotFormat,
        seeds: Mapping[str, int],
        given: Mapping[str, Tensor],
    ) -> tuple[str, ...]:
        check_format(shot, self.transformer, self.vae)
        check_prompts(prompts, given, self.transformer.config.max_foregrounds)
        check_given(given, shot, len(prompts.foregrounds))
        names = stream_names(len(prompts.foregrounds))
        check_seeds(seeds, tuple(name for name in names if name not in given))
        if self.project_in is None and any(name.startswith("alpha_") for name in given):
            raise InvalidShot(
                "this model has no project_in, so no alpha can be given; leave it out"
            )
        if given and self.clamps_given:
            logger.warning(
                "the model has no timestep per stream: given streams are clamped, which is worse"
            )
        return names

    # -----------------------------------------------------------------------------------------
    # Encoding

    def encode_prompt(self, prompt: str) -> Tensor:
        """Encode one prompt to its token states (N, D)."""
        return encode_prompt(self.tokenizer, self.text_encoder, prompt)

    def _encode_prompts(
        self, prompts: ShotPrompts, guidance_scale: float, report: OnProgress, num_steps: int
    ) -> tuple[Tensor, Tensor | None]:
        """Encode the text of every stream, and once more the negative prompt under guidance."""
        report("encoding", 0, num_steps)
        num_foregrounds = len(prompts.foregrounds)
        states = {name: self.encode_prompt(text) for name, text in prompts.by_name().items()}
        visibility = self.transformer.config.prompt_visibility
        batch = [stream_text(states, visibility, num_foregrounds)]
        if guidance_scale > 1:
            negative_ND = self.encode_prompt(prompts.negative)
            # One copy per stream, not one per visible prompt: equal keys change no softmax.
            batch.append((negative_ND,) * len(batch[0]))
        text_BSND, mask_BSN = batch_stream_text(batch)
        report("encoding", 1, num_steps)
        device = self._execution_device
        text_BSND = text_BSND.to(device, self.transformer.dtype)
        return text_BSND, None if mask_BSN is None else mask_BSN.to(device)

    def _encode_given(self, given: Mapping[str, Tensor], report: OnProgress) -> dict[str, Tensor]:
        clean = {}
        for step, (name, frames_TCHW) in enumerate(given.items(), start=2):
            clean[name] = self._encode_plate(name, frames_TCHW, given)
            report("encoding", step, len(given) + 1)
        return clean

    def _encode_plate(self, name: str, frames_TCHW: Tensor, given: Mapping[str, Tensor]) -> Tensor:
        pixels_TCHW = frames_TCHW.float()
        alpha_TCHW = given.get(name.replace("foreground_", "alpha_"))
        if name.startswith("foreground_") and alpha_TCHW is not None and self._fills_black:
            pixels_TCHW = premultiply(pixels_TCHW, alpha_TCHW.float())
        pixels_BCTHW = pixels_TCHW.to(self._execution_device).transpose(0, 1)[None]
        if name.startswith("alpha_"):
            assert self.project_in is not None
            project_in = self.project_in.to(pixels_BCTHW.device)
            return encode_alpha(self.alpha_vae, project_in, pixels_BCTHW)
        return codec.encode(self.vae, pixels_BCTHW)

    @property
    def _fills_black(self) -> bool:
        return bool(self.transformer.config.foreground_fill == "black")

    # -----------------------------------------------------------------------------------------
    # Denoising

    def _noise(
        self,
        name: str,
        shot: ShotFormat,
        seeds: Mapping[str, int],
    ) -> Tensor:
        # A given stream needs noise only where it is clamped; its seed may then be missing.
        seed = seed_source(seeds, name) or 0
        generator = torch.Generator("cpu").manual_seed(stream_seed(seed, name))
        factor = codec.spatial_factor(self.vae)
        shape = (
            1,
            self.transformer.config.in_channels,
            codec.num_latent_frames(self.vae, shot.num_frames),
            shot.height // factor,
            shot.width // factor,
        )
        return torch.randn(shape, generator=generator).to(self._execution_device)

    def _denoise(
        self,
        noise: Mapping[str, Tensor],
        clean: Mapping[str, Tensor],
        text: tuple[Tensor, Tensor | None],
        shot: ShotFormat,
        report: OnProgress,
    ) -> dict[str, Tensor]:
        """Integrate the flow from noise at t = 1 to pictures at t = 0 for all streams at once."""
        noise_BSCTHW = torch.stack(list(noise.values()), dim=1)
        clean_BSCTHW = torch.stack([clean.get(k, v) for k, v in noise.items()], dim=1)
        is_given_S = torch.tensor([name in clean for name in noise], device=noise_BSCTHW.device)
        is_given = is_given_S.view(1, -1, 1, 1, 1, 1)
        sigmas = np.linspace(1, 0, shot.num_inference_steps + 1)[:-1]
        self.scheduler.set_timesteps(sigmas=sigmas, device=noise_BSCTHW.device)

        read = self.transformer.read_text(*text)
        latents_BSCTHW = noise_BSCTHW
        report("denoising", 0, shot.num_inference_steps)
        for step, timestep in enumerate(self.scheduler.timesteps):
            held_BSCTHW = clean_BSCTHW
            if self.clamps_given:
                held_BSCTHW = torch.lerp(clean_BSCTHW, noise_BSCTHW, self.scheduler.sigmas[step])
            latents_BSCTHW = torch.where(is_given, held_BSCTHW, latents_BSCTHW)
            timestep_BS1 = self._stream_timesteps(timestep, is_given_S)
            velocity_BSCTHW = self._velocity(
                latents_BSCTHW, timestep_BS1, read, shot.guidance_scale
            )
            (latents_BSCTHW,) = self.scheduler.step(
                velocity_BSCTHW, timestep, latents_BSCTHW, return_dict=False
            )
            report("denoising", step + 1, shot.num_inference_steps)
        return dict(zip(noise, latents_BSCTHW.unbind(1), strict=True))

    def _stream_timesteps(self, timestep: Tensor, is_given_S: Tensor) -> Tensor:
        """Return t for every stream, 0 where it is given: (1, S, 1)."""
        if self.clamps_given:
            return timestep.expand(1, len(is_given_S), 1)
        return torch.where(is_given_S, 0, timestep)[None, :, None]

    def _velocity(
        self,
        latents_BSCTHW: Tensor,
        timestep_BS1: Tensor,
        text: TextStates,
        guidance_scale: float,
    ) -> Tensor:
        """Predict the velocity, the negative prompt's in the same batch under guidance."""
        batch_size = text.batch_size
        (velocity_BSCTHW,) = self.transformer(
            latents_BSCTHW.expand(batch_size, -1, -1, -1, -1, -1).to(self.transformer.dtype),
            timestep_BS1.expand(batch_size, -1, -1),
            text,
            return_dict=False,
        )
        if batch_size == 1:
            return velocity_BSCTHW.float()
        wanted, unwanted = velocity_BSCTHW.float().chunk(2)
        return unwanted + guidance_scale * (wanted - unwanted)

    # -----------------------------------------------------------------------------------------
    # The take

    def _stack(
        self, given: Mapping[str, Tensor], decoded: Mapping[str, Tensor], num_foregrounds: int
    ) -> Stack:
        streams = {**decoded, **given}
        background_TCHW = streams["background"]
        layers = [Layer(Role.BACKGROUND, background_TCHW, torch.ones_like(background_TCHW[:, :1]))]
        for number in range(1, num_foregrounds + 1):
            name = f"foreground_{number}"
            rgb_TCHW, alpha_T1HW = streams[name], streams[f"alpha_{number}"]
            if name in decoded and self._fills_black:
                rgb_TCHW = unpremultiply(rgb_TCHW, alpha_T1HW).clamp(0, 1)
            layers.append(Layer(Role.FOREGROUND, rgb_TCHW, alpha_T1HW))
        return Stack(tuple(layers), streams["full"])


def _silent(stage: str, step: int, num_steps: int) -> None:
    """Report to nobody."""


def fastest_dtype() -> torch.dtype:
    """Choose the transformer's precision for this machine, for `load_pipeline`.

    bfloat16 where the hardware multiplies it (a GPU, or a CPU with AMX or AVX-512 BF16: 110 ms
    instead of 310 for 18 M parameters on 432 tokens, batch 2, 2 cores); float32 elsewhere.
    """
    if torch.accelerator.is_available():
        return torch.bfloat16
    has_bfloat16 = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if has_bfloat16 else torch.float32


def load_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> LayerT2VPipeline:
    """Load a model folder strictly and without any network.

    Args:
        folder: A diffusers folder with `layert2v.json`.
        dtype: Of the transformer; the VAEs and the text encoder stay float32. See
            `fastest_dtype`.

    Raises:
        DamagedModel: A file is missing, broken, or does not belong there; names it and the remedy.
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
