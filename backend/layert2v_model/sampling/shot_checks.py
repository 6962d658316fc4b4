"""What a shot asks of the model, checked before anything is computed."""

from collections.abc import Collection, Mapping

from diffusers import AutoencoderKLWan

from layert2v_model.errors import InvalidShot
from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.shot import ShotFormat, ShotPrompts
from layert2v_model.vae import codec


def check_format(
    shot: ShotFormat, transformer: LayerT2VTransformer3DModel, vae: AutoencoderKLWan
) -> None:
    """Check sizes, frames and steps.

    Raises:
        InvalidShot: Names the value, the limit and the nearest that works.
    """
    spatial = codec.spatial_factor(vae)
    _, patch_height, patch_width = transformer.config.patch_size
    for name, value, multiple in (
        ("width", shot.width, spatial * patch_width),
        ("height", shot.height, spatial * patch_height),
    ):
        if value < multiple or value % multiple:
            nearest = max(1, round(value / multiple)) * multiple
            raise InvalidShot(
                f"{name} {value} is not a multiple of {multiple} pixels; use {nearest}"
            )
    _check_num_frames(shot.num_frames, transformer, vae)
    if shot.num_inference_steps < 1:
        raise InvalidShot(f"{shot.num_inference_steps} steps are too few; use at least 1")


def _check_num_frames(
    num_frames: int, transformer: LayerT2VTransformer3DModel, vae: AutoencoderKLWan
) -> None:
    step, patch = codec.frame_step(vae), transformer.config.patch_size[0]
    possible = [
        frames
        for frames in range(1, max(num_frames, 1) + 2 * step * patch, step)
        if codec.num_latent_frames(vae, frames) % patch == 0
    ]
    if num_frames not in possible:
        nearest = min(possible, key=lambda frames: abs(frames - num_frames))
        listed = ", ".join(map(str, possible[:3]))
        raise InvalidShot(
            f"{num_frames} frames cannot be made, only {listed} and so on; use {nearest}"
        )


def check_num_foregrounds(prompts: ShotPrompts, max_foregrounds: int) -> None:
    """Check that there are not too many layers.

    Raises:
        InvalidShot: Names the number, the limit and the remedy.
    """
    count = len(prompts.foregrounds)
    if not 1 <= count <= max_foregrounds:
        raise InvalidShot(
            f"{count} foregrounds are asked for, but the model makes 1 to {max_foregrounds}; "
            f"{'add one' if count < 1 else 'remove some'}"
        )


def check_prompts(prompts: ShotPrompts, whole: Collection[str]) -> None:
    """Check that every layer has words, but those of which nothing is left to make.

    Args:
        prompts: Of the shot.
        whole: Streams that are given whole.

    Raises:
        InvalidShot: Names the layer and the remedy.
    """
    for name, text in prompts.by_name().items():
        if name != "full" and name not in whole and not text.strip():
            raise InvalidShot(f"the prompt of {name} is empty; say what it shows")


def check_seeds(seeds: Mapping[str, int], generated: tuple[str, ...]) -> None:
    """Check that every stream to be made has a seed; an alpha may use its foreground's.

    Raises:
        InvalidShot: Names the streams without a seed.
    """
    missing = [name for name in generated if seed_of_stream(seeds, name) is None]
    if missing:
        raise InvalidShot(f"there is no seed for {', '.join(missing)}; give an integer for each")


def seed_of_stream(seeds: Mapping[str, int], name: str) -> int | None:
    """Return a stream's seed; an alpha without one shares its foreground's."""
    return seeds.get(name, seeds.get(name.replace("alpha_", "foreground_")))
