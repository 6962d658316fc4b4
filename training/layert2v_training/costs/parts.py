"""The parts of a run as a dry run sees them: their configs, and how large each is. No weights."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import nn
from transformers import AutoConfig, AutoModel

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_model.released.wan_sizes import WanSizes, read_wan_sizes
from layert2v_training.codecs.linear_vae import make_vae
from layert2v_training.data.sources import FileClips
from layert2v_training.runs.model_export import text_encoder_folder
from layert2v_training.runs.overrides import InvalidRecipe
from layert2v_training.runs.run import MissingPart, Run
from layert2v_training.runs.stage_network import check_init
from layert2v_training.stages.joint import JointRecipe
from layert2v_training.stages.lora import add_lora


@dataclass(frozen=True)
class StageParts:
    """The parts of a run's stages."""

    run: Run

    @cached_property
    def base(self) -> WanSizes | None:
        """Sizes of the base model, of its configs if its weights are missing.

        Raises:
            MissingPart: The recipe needs a base and none is named.
            InvalidCheckpoint, InvalidFixture: The folder holds no such model.
        """
        run = self.run
        if run.recipe.base != "wan" or (run.base is None and run.init is not None):
            return None
        if run.base is None:
            raise MissingPart(
                f"{run.recipe.name} begins with Wan2.1; give its folder as --base (for a dry run "
                f"its config.json is enough)"
            )
        return read_wan_sizes(run.base)

    def make_vae(self) -> AutoencoderKLWan:
        """Make the VAE with random weights, on the device of the context."""
        if self.base is not None:
            return AutoencoderKLWan.from_config(dict(self.base.vae))
        if self.run.init is not None:
            return AutoencoderKLWan.from_config(AutoencoderKLWan.load_config(self.run.init / "vae"))
        return make_vae(self.run.recipe.vae_size)

    @cached_property
    def vae_config(self) -> Mapping[str, Any]:
        """Config of the VAE."""
        with torch.device("meta"):
            return dict(self.make_vae().config)

    @cached_property
    def vae_bytes(self) -> int:
        """Weights of one VAE, float32."""
        with torch.device("meta"):
            return bytes_of(self.make_vae())

    @property
    def vae_shape(self) -> tuple[int, int, int]:
        """Width, height and frames of what the VAEs learn from."""
        scene = self.run.recipe.scene
        return scene.width, scene.height, scene.num_frames

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Arguments of `LayerT2VTransformer3DModel`.

        Raises:
            InvalidRecipe, DamagedModel: As `check_init` says.
        """
        run = self.run
        if run.init is not None:
            check_init(run.init, run.recipe)
            config = dict(LayerT2VTransformer3DModel.load_config(run.init / "transformer"))
            known = {name: value for name, value in config.items() if not name.startswith("_")}
            return {**known, **run.recipe.transformer}
        return {**(self.base.settings if self.base else {}), **run.recipe.transformer}

    @property
    def num_layers(self) -> int:
        """Blocks of the network."""
        default = inspect.signature(LayerT2VTransformer3DModel.__init__).parameters["num_layers"]
        return int(self.settings.get("num_layers", default.default))

    def make_transformer(
        self, stage: JointRecipe, num_layers: int | None = None
    ) -> LayerT2VTransformer3DModel:
        """Make a stage's network with random weights, on the device of the context.

        Args:
            stage: Recipe of the stage, in which adapters learn or everything.
            num_layers: Number of its blocks; None: all.

        Raises:
            InvalidRecipe: Adapters have nothing to adapt, or `init` has another size.
        """
        settings = dict(self.settings)
        if num_layers is not None:
            settings["num_layers"] = num_layers
        model = LayerT2VTransformer3DModel(**settings)
        model.requires_grad_(True)
        if stage.lora:
            if self.run.init is None and self.base is None:
                raise InvalidRecipe("lora adapts a model, but none is given; give --base or --init")
            add_lora(model, stage.lora)
        return model

    @cached_property
    def text_bytes(self) -> int:
        """Weights of the text encoder."""
        if self.base is not None:
            return self.base.text_bytes
        own = self.run.init / "text_encoder" if self.run.init is not None else None
        folder = own if own is not None and own.is_dir() else text_encoder_folder()
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.device("meta"):
            return bytes_of(AutoModel.from_config(config))

    def foregrounds(self, stage: str) -> tuple[int, ...]:
        """List the numbers of foregrounds of a stage's clips, each as often as it comes.

        Raises:
            BadClips: The user's clips cannot be used.
        """
        composed = self.run.scene(stage).foregrounds
        if self.run.data is None:
            return composed
        clips = self.run.clips(stage)
        assert isinstance(clips, FileClips)
        own = tuple(len(clip.layers) for clip in clips.clips)
        return (*own, *composed) if self.run.num_composed_clips else own


def bytes_of(module: nn.Module) -> int:
    """Add up the bytes of a module's parameters."""
    return sum(parameter.nbytes for parameter in module.parameters())


def trained_of(module: nn.Module) -> int:
    """Count the numbers that learn."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def bytes_in(folder: Path, pattern: str) -> int:
    """Add up the sizes of a folder's files."""
    return sum(path.stat().st_size for path in folder.glob(pattern))
