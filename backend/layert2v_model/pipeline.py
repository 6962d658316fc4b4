"""LayerT2V's pipeline: a shot in, a stack out; any part of its streams may be given.

Shape letters: B batch (1, up to 3 with guidance), S streams, C channels, T frames, H, W, N tokens,
D width. Pixels are display-referred sRGB in [0, 1], RGB straight.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from layert2v_media.transfer import ALPHA_FLOOR
from layert2v_model.alpha import premultiply
from layert2v_model.errors import DamagedModel, InvalidPlate, InvalidShot
from layert2v_model.folders.export import save_pipeline
from layert2v_model.folders.model_folder import CARD_FILE, read_card, read_project_in
from layert2v_model.network.text import encode_prompt
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.sampling.canvas import Canvas
from layert2v_model.sampling.conditioning import Conditioning, condition, fill_unknown
from layert2v_model.sampling.denoising import can_reuse, denoise
from layert2v_model.sampling.given import Given, Plate, StreamGiven, check_given, check_looped
from layert2v_model.sampling.grid import LatentGrid, latent_grid
from layert2v_model.sampling.guidance import Guidance, StreamGuidance, check_guidance, check_hidden
from layert2v_model.sampling.shot_checks import (
    check_format,
    check_num_foregrounds,
    check_prompts,
    check_seeds,
    seed_of_stream,
)
from layert2v_model.shot import ShotFormat, ShotPrompts
from layert2v_model.stack import Stack
from layert2v_model.streams import batch_stream_text, noise_seed, stream_names, stream_text
from layert2v_model.vae import codec
from layert2v_model.vae.alpha_vae import PROJECT_IN_FILE, ProjectIn, encode_alpha
from layert2v_model.vae.decoding import OnProgress, decode_frames
from layert2v_model.vae.not_finite import check_streams

__all__ = [
    "DamagedModel",
    "Given",
    "InvalidPlate",
    "InvalidShot",
    "LayerT2VPipeline",
    "OnProgress",
    "ShotPrompts",
    "save_pipeline",
]

OnFrames = Callable[[Stack, slice], None]
"""Called with a take's stack, which is still being decoded, and the frames of it that are done."""

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
        self.is_distilled: bool = False
        """Whether the model was trained to run without guidance; it then refuses any."""

    @classmethod
    def from_pretrained(cls, folder: Path | str, **settings: Any) -> "LayerT2VPipeline":
        """Load as any diffusers folder; `load_pipeline` is stricter and finds packaged encoders."""
        pipeline = super().from_pretrained(folder, **settings)
        if (Path(folder) / "alpha_vae" / PROJECT_IN_FILE).is_file():
            pipeline.project_in = read_project_in(Path(folder))
        if (Path(folder) / CARD_FILE).is_file():
            pipeline.is_distilled = bool(read_card(Path(folder)).get("is_distilled", False))
        return pipeline

    @property
    def clamps_given(self) -> bool:
        """Whether given streams are only clamped, which is much worse than being trained for.

        True for checkpoints without a timestep per stream, such as the authors' release; takes
        with given streams should then be marked. Other checkpoints too clamp what is not a whole
        frame of tokens: see `clamped_streams`.
        """
        return not self.transformer.config.per_stream_timesteps

    @property
    def can_reuse_given(self) -> bool:
        """Whether `refresh_given_every` above 1 changes anything: else every step is exact."""
        return not self.clamps_given and can_reuse(self.transformer)

    def clamped_streams(
        self, given: Mapping[str, StreamGiven], *, width: int, height: int, num_frames: int
    ) -> tuple[str, ...]:
        """Name the given streams of which some part is only clamped; takes should be marked.

        Those are all where `clamps_given`, else those with a region, or with a range of frames
        whose ends are not ends of frames of tokens.

        Raises:
            InvalidPlate: A given stream does not fit.
        """
        grid = latent_grid(width, height, num_frames, self.transformer, self.vae)
        plates = check_given(given, grid, self.transformer.config.max_foregrounds)
        return self._clamped(plates, grid)

    def _clamped(self, plates: Mapping[str, Plate], grid: LatentGrid) -> tuple[str, ...]:
        return tuple(
            name for name, plate in plates.items()
            if self.clamps_given or not plate.fills_tokens(grid)
        )  # fmt: skip

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
        given: Mapping[str, StreamGiven] | None = None,
        layer_guidance_scales: Mapping[str, float] | None = None,
        given_guidance_scale: float = 1.0,
        looped: Collection[str] = (),
        refresh_given_every: int = 1,
        tile_decode: bool = False,
        on_progress: OnProgress | None = None,
        on_frames: OnFrames | None = None,
    ) -> Stack:
        """Generate a take.

        Args:
            prompts: The words; a blank full prompt is composed from the layers'.
            width: Pixels, a multiple of the VAE's factor times the patch.
            height: As `width`.
            num_frames: 4 k + 1; any number where the VAE does not resample time.
            num_inference_steps: From 1.
            guidance_scale: On the prompts, from 1, which turns it off and halves the work; a
                distilled model takes 1 only.
            stream_seeds: A seed per stream to be made (`full`, `background`, `foreground_k`;
                `alpha_k` shares its foreground's if it has none). Each stream's noise depends on
                its own seed and name only.
            given: What is an input, by stream: a whole stream as a tensor, (T, 3, H, W) straight
                sRGB or (T, 1, H, W) alpha, in [0, 1]; or a `Given`, or several, for some frames,
                a region, or latents. The rest is made. Frames of tokens that are given completely
                sit at t = 0; smaller parts are clamped, which is worse and is logged. A
                foreground given without its alpha is taken as it stands.
            layer_guidance_scales: In place of `guidance_scale` for some streams; a foreground's
                is its alpha's too.
            given_guidance_scale: On what is given, from 1, which is off; above it every step also
                computes the shot without the givens, half as much again (twice as much where the
                prompts' is off).
            looped: Layers (`full`, `background`, `foreground_k` with its alpha) whose last latent
                frame is kept equal to the first. With a VAE that does not shorten time the last
                frame then shows what the first does: play all but the last in a circle. A causal
                VAE decodes the last with its past, so that it comes near the first only.
            refresh_given_every: Steps from one that computes streams given whole to the next; 1
                is exact, 4 is usual where one layer of several is regenerated. The given streams
                come back bit for bit in any case.
            tile_decode: Decode in overlapping tiles, which needs less memory and is approximate.
            on_progress: Called between steps; an exception raised in it ends the run and leaves
                the pipeline ready for the next.
            on_frames: Called with the stack and the numbers of frames, in order, as soon as those
                frames are complete and while later ones are still to be decoded: all frames once.
                It may raise as `on_progress` may.

        Returns:
            Float32 layers on the CPU, RGB straight, in [0, 1]; given pixels come back bit for bit
            (as float32), whole given streams as the tensors that came in. Equal inputs give equal
            outputs on one machine.

        Raises:
            InvalidShot: The model cannot make this shot.
            InvalidPlate: A given stream does not fit.
            NotFinite: The model made NaN or infinity; `on_frames` was given none of it.
        """
        shot = ShotFormat(
            width, height, num_frames, len(prompts.foregrounds), num_inference_steps, guidance_scale
        )
        guidance = Guidance(guidance_scale, dict(layer_guidance_scales or {}), given_guidance_scale)
        self._check_shot(prompts, shot, guidance)
        if tile_decode and not codec.can_tile(self.vae):
            raise InvalidShot("this model's VAE cannot decode in tiles; leave tile_decode off")
        if refresh_given_every < 1:
            raise InvalidShot(f"refresh_given_every is {refresh_given_every}; use 1 or more")
        names = stream_names(shot.num_foregrounds)
        grid = latent_grid(width, height, num_frames, self.transformer, self.vae)
        plates = self._checked_plates(prompts, given or {}, grid, stream_seeds)
        tied = check_looped(looped, plates, names)
        check_hidden(guidance, is_held=self._holds(plates, grid))
        tell = on_progress or _silent
        try:
            scales = guidance.by_stream(names, self._execution_device)
            text = self._encode_prompts(prompts, scales, tell, len(plates) + 1)
            conditioning = self._condition(names, plates, grid, stream_seeds, tell)
            latents_BSCTHW = denoise(
                self.transformer, self.scheduler, conditioning, text, scales,
                [names.index(name) for name in tied], num_inference_steps, tell,
                refresh_given_every,
            )  # fmt: skip
            latents = dict(zip(names, latents_BSCTHW.unbind(1), strict=True))
            check_streams(latents, "denoising")
            shown = {name for name, plate in plates.items() if plate.is_pinned}
            made = {name: latent for name, latent in latents.items() if name not in shown}
            canvas = Canvas(plates, grid, shot.num_foregrounds, fills_black=self._fills_black)
            decoded = decode_frames(self.vae, self.alpha_vae, made, tell, tile=tile_decode)
            for frames, pixels in decoded:
                canvas.draw(frames, pixels)
                if on_frames:
                    on_frames(canvas.stack, frames)
        finally:
            self.transformer._reset_stateful_cache()
        return canvas.stack

    def _holds(self, plates: Mapping[str, Plate], grid: LatentGrid) -> bool:
        """Whether anything given will sit at t = 0."""
        held = (bool(plate.held_tokens(grid).any()) for plate in plates.values())
        return not self.clamps_given and any(held)

    def _check_shot(self, prompts: ShotPrompts, shot: ShotFormat, guidance: Guidance) -> None:
        check_format(shot, self.transformer, self.vae)
        check_num_foregrounds(prompts, self.transformer.config.max_foregrounds)
        names = stream_names(shot.num_foregrounds)
        check_guidance(guidance, names, is_distilled=self.is_distilled)

    def _checked_plates(
        self,
        prompts: ShotPrompts,
        given: Mapping[str, StreamGiven],
        grid: LatentGrid,
        seeds: Mapping[str, int],
    ) -> dict[str, Plate]:
        plates = check_given(given, grid, len(prompts.foregrounds))
        whole = {name for name, plate in plates.items() if plate.is_whole}
        check_prompts(prompts, whole)
        names = stream_names(len(prompts.foregrounds))
        check_seeds(seeds, tuple(name for name in names if name not in whole))
        if self.project_in is None and any(name.startswith("alpha_") for name in plates):
            raise InvalidShot(
                "this model has no project_in, so no alpha can be given; leave it out"
            )
        if clamped := self._clamped(plates, grid):
            logger.warning(
                "given parts of %s are clamped, which is worse than training for them: %s",
                ", ".join(clamped),
                "the model has no timestep per stream" if self.clamps_given
                else "they do not fill frames of tokens",
            )  # fmt: skip
        return plates

    # -----------------------------------------------------------------------------------------
    # Encoding

    def encode_prompt(self, prompt: str) -> Tensor:
        """Encode one prompt to its token states (N, D)."""
        return encode_prompt(self.tokenizer, self.text_encoder, prompt)

    def _encode_prompts(
        self, prompts: ShotPrompts, guidance: StreamGuidance, tell: OnProgress, num_steps: int
    ) -> tuple[Tensor, Tensor | None]:
        """Encode the text of every stream once; lay it out for every entry of guidance."""
        tell("encoding", 0, num_steps)
        num_foregrounds = len(prompts.foregrounds)
        states = {name: self.encode_prompt(text) for name, text in prompts.by_name().items()}
        visibility = self.transformer.config.prompt_visibility
        wanted = stream_text(states, visibility, num_foregrounds)
        batch = [wanted]
        if guidance.has_negative:
            negative_ND = self.encode_prompt(prompts.negative)
            # One copy per stream, not one per visible prompt: equal keys change no softmax.
            batch.append((negative_ND,) * len(wanted))
        if guidance.hides_given:
            batch.append(wanted)
        text_BSND, mask_BSN = batch_stream_text(batch)
        tell("encoding", 1, num_steps)
        device = self._execution_device
        text_BSND = text_BSND.to(device, self.transformer.dtype)
        return text_BSND, None if mask_BSN is None else mask_BSN.to(device)

    @torch.inference_mode()
    def encode_stream(
        self, name: str, frames_TCHW: Tensor, alpha_T1HW: Tensor | None = None
    ) -> Tensor:
        """Encode a stream once, to be given to several takes as `Given(latents_CTHW=...)`.

        Args:
            name: `full`, `background`, `foreground_k` or `alpha_k`.
            frames_TCHW: As many as a shot may have, straight sRGB or alpha, in [0, 1].
            alpha_T1HW: A foreground's alpha: colour beyond it becomes black or, in models of the
                other fill, is extended.

        Returns:
            Latents (C, T, H, W) as the network sees them, float32.
        """
        pixels_TCHW = frames_TCHW.float()
        if name.startswith("foreground_") and alpha_T1HW is not None:
            pixels_TCHW = self._filled(pixels_TCHW, alpha_T1HW.float())
        pixels_BCTHW = pixels_TCHW.to(self._execution_device).transpose(0, 1)[None]
        if not name.startswith("alpha_"):
            return codec.encode(self.vae, pixels_BCTHW)[0]
        assert self.project_in is not None
        project_in = self.project_in.to(pixels_BCTHW.device)
        return encode_alpha(self.alpha_vae, project_in, pixels_BCTHW)[0]

    def _condition(
        self,
        names: Sequence[str],
        plates: Mapping[str, Plate],
        grid: LatentGrid,
        seeds: Mapping[str, int],
        tell: OnProgress,
    ) -> Conditioning:
        clean, covered = {}, {}
        for step, (name, plate) in enumerate(plates.items(), start=2):
            clean[name] = self._encode_plate(name, plates, grid)[None]
            covered[name] = grid.covered_latents(plate.known_T1HW)
            tell("encoding", step, len(plates) + 1)
        noise = {name: self._noise(name, grid, seeds) for name in names}
        return condition(noise, clean, covered, grid, can_hold=not self.clamps_given)

    def _encode_plate(self, name: str, plates: Mapping[str, Plate], grid: LatentGrid) -> Tensor:
        plate = plates[name]
        latents_CTHW = torch.zeros(grid.latent_shape, device=self._execution_device)
        if plate.pinned_T1HW.any():
            frames_TCHW = plate.pinned_frames(grid).float()
            alpha = plates.get(name.replace("foreground_", "alpha_"))
            if name.startswith("foreground_") and alpha is not None:
                alpha_T1HW = alpha.pinned_frames(grid, fill=1).float()
                frames_TCHW = self._filled(frames_TCHW, alpha_T1HW)
            if not plate.is_pinned:
                frames_TCHW = fill_unknown(frames_TCHW, plate.pinned_T1HW)
            latents_CTHW = self.encode_stream(name, frames_TCHW)
        return plate.put_latents(latents_CTHW, grid)

    def _filled(self, rgb_TCHW: Tensor, alpha_T1HW: Tensor) -> Tensor:
        """Give a foreground's straight colour the fill beyond its matte that the model knows."""
        if self._fills_black:
            return premultiply(rgb_TCHW, alpha_T1HW)
        is_seen_T1HW = alpha_T1HW > ALPHA_FLOOR
        return fill_unknown(rgb_TCHW, is_seen_T1HW) if is_seen_T1HW.any() else rgb_TCHW

    @property
    def _fills_black(self) -> bool:
        return bool(self.transformer.config.foreground_fill == "black")

    def _noise(self, name: str, grid: LatentGrid, seeds: Mapping[str, int]) -> Tensor:
        # What is given whole needs noise only to be clamped or hidden; its seed may be missing.
        seed = seed_of_stream(seeds, name) or 0
        generator = torch.Generator("cpu").manual_seed(noise_seed(seed, name))
        noise_BCTHW = torch.randn((1, *grid.latent_shape), generator=generator)
        return noise_BCTHW.to(self._execution_device)


def _silent(stage: str, step: int, num_steps: int) -> None:
    """Tell nobody."""
