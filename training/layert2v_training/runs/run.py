"""A run: its recipe, its folders, and the sources of its parts, which its stages share.

A run's folder holds `vae`, `alpha_vae`, `latents` and a folder for each stage's checkpoint and log.
"""

import math
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from accelerate import PartialState
from diffusers import AutoencoderKLWan

from layert2v_model.folders.model_folder import read_card, read_text_encoder
from layert2v_model.released.wan_folder import WanFolder, read_wan_folder
from layert2v_training.cache.captions import CaptionStates
from layert2v_training.data.clips import ClipSource
from layert2v_training.data.foreground_limit import limit_foregrounds
from layert2v_training.data.sources import FileClips, clips_from
from layert2v_training.runs.model_export import (
    text_encoder_folder,
)
from layert2v_training.runs.overrides import InvalidRecipe
from layert2v_training.runs.recipe_checks import max_foregrounds
from layert2v_training.runs.recipes import Recipe
from layert2v_training.runs.run_binding import bind, short_digest, values_of
from layert2v_training.runs.stage_network import check_init
from layert2v_training.runs.wan import wan_text_encoder
from layert2v_training.scenes.assets import fetch_assets
from layert2v_training.scenes.composing import SceneSource
from layert2v_training.scenes.effects import SOFT_MATTES
from layert2v_training.scenes.scene_recipe import SceneRecipe
from layert2v_training.stages.joint import JointRecipe

EXTRA_DIVISOR = 5
"""Of a further size or length there are a fifth as many clips as of the main one."""
STAGE_SEEDS = {
    "joint": 11,
    "multi-foreground": 12,
    "alpha-vae": 21,
    "decoders": 31,
    "soft-decoders": 41,
}
"""Added to a scene's seed, so that no stage sees the clips of another."""
JOINT_RUN, MULTI_FOREGROUND_RUN = "run-joint", "run-multi-foreground"


class MissingPart(Exception):
    """Raised when a stage needs what an earlier one or the user has to give. It says how."""


@dataclass(frozen=True)
class Run:
    """A recipe and the folders of a run."""

    recipe: Recipe
    assets: Path
    """Pictures of the composed scenes; fetched when empty."""
    out: Path
    """The run's folder."""
    base: Path | None = None
    """Wan2.1's folder, for recipes that begin with it."""
    init: Path | None = None
    """Model folder to go on from."""
    data: Path | None = None
    """Folder or JSONL file of the user's own clips; None: composed scenes."""
    skip_bad: bool = False
    """Leave bad clips of `data` out."""
    workers: int = 0
    """Processes that compose, read and encode clips; 0: this one."""
    accepts_changes: bool = False
    """Go on with runs of `out` although they were begun with other values."""

    @cached_property
    def wan(self) -> WanFolder | None:
        """The base model. Its big tensors stay mapped.

        Raises:
            MissingPart: The recipe needs one and none is named.
            InvalidCheckpoint, InvalidFixture: The folder is not whole.
        """
        if self.recipe.base != "wan" or (self.base is None and self.init is not None):
            return None
        if self.base is None:
            raise MissingPart(f"{self.recipe.name} begins with Wan2.1; give its folder as --base")
        return read_wan_folder(self.base)

    def scene(self, stage: str) -> SceneRecipe:
        """Scenes of a stage: of stage 2 with one foreground, later with the recipe's numbers."""
        recipe = self.recipe
        scene = recipe.scene if stage == "alpha-vae" else recipe.joint_scene
        scene = replace(scene, seed=scene.seed + STAGE_SEEDS[stage])
        if stage == "joint":
            return replace(scene, foregrounds=(1,))
        return replace(scene, effects=SOFT_MATTES) if stage == "soft-decoders" else scene

    @cached_property
    def num_clips(self) -> int:
        """Number of clips of the main shape in stages 2 and 3: the user's own, or as many composed.

        Raises:
            BadClips: The user's own cannot be used.
        """
        return self.recipe.num_clips if self.data is None else self._count_own("joint")

    @cached_property
    def num_alpha_clips(self) -> int:
        """Number of clips from which stage 1 takes mattes.

        Raises:
            BadClips: The user's own cannot be used.
        """
        composed = self.recipe.alpha_vae.num_clips
        return composed if self.data is None else self._count_own("alpha-vae")

    def _count_own(self, stage: str) -> int:
        """Count each of the user's clips once for each of its starts in time."""
        scene = self.scene(stage)
        own = self._own_clips(stage, (scene.width, scene.height, scene.num_frames))
        return len(own.clips) * self.recipe.starts_per_clip

    @property
    def clips_per_shape(self) -> dict[tuple[int, int, int], int]:
        """Number of clips in stages 2 and 3 of each width, height and number of frames.

        Raises:
            BadClips: The user's own cannot be used.
        """
        scene, num_clips = self.recipe.joint_scene, self.num_clips
        sizes = ((scene.width, scene.height), *self.recipe.extra_sizes)
        lengths = (scene.num_frames, *self.recipe.extra_num_frames)
        main, *others = ((*size, length) for size in sizes for length in lengths)
        fewer = math.ceil(num_clips / EXTRA_DIVISOR)
        return {main: num_clips, **{shape: fewer for shape in others if shape != main}}

    @property
    def fill(self) -> str:
        """The filling of foregrounds beyond their matte: `black` or `bleed`."""
        return str(self.recipe.transformer.get("foreground_fill", "black"))

    def stage(self, stage: str) -> JointRecipe:
        """Return the recipe of stage `joint` or `multi-foreground`."""
        return self.recipe.joint if stage == "joint" else self.recipe.multi_foreground

    def needs(self, part: str, command: str) -> Path:
        """Return the path of a part of the run.

        Raises:
            MissingPart: It is not there. The message names the command that makes it.
        """
        path = self.out / part
        if not path.exists():
            raise MissingPart(f"{path} is missing; run `layert2v-train {command}` first")
        return path

    def bind(self, name: str, stage: str, before: Path | None = None) -> None:
        """Bind a stage's folder to what decides it, or refuse to go on with another's run.

        Args:
            name: Name of the folder.
            stage: Stage whose clips it sees.
            before: Checkpoint of the stage before.

        Raises:
            RunDiffers: The folder holds a run of other values.
            InvalidRecipe, MissingPart: `init` or `base` are not the recipe's.
        """
        if self.init is not None:
            check_init(self.init, self.recipe)
        assert self.wan is None or self.base is not None
        data, num_composed = None, self.num_composed_clips
        if self.data is not None:
            data = f"{self.data.name} ({short_digest(self.clips(stage).key)})"
            if num_composed and name in (JOINT_RUN, MULTI_FOREGROUND_RUN):
                data += f" and {num_composed} composed"
        values = values_of(
            name,
            self.recipe,
            base=self.base,
            init=self.init,
            data=data,
            before=before,
            counts=None if data is None else self._counts_of(name),
        )
        with PartialState().main_process_first():
            bind(self.out / name, values, accepts_changes=self.accepts_changes)

    def _counts_of(self, name: str) -> dict[str, int]:
        """Return the numbers of clips that the user's own decide, of a run's folder."""
        if name == "run-alpha-vae":
            return {"alpha_vae.num_clips": self.num_alpha_clips}
        return {"num_clips": self.num_clips} if name in (JOINT_RUN, MULTI_FOREGROUND_RUN) else {}

    def adopt_vaes(self) -> None:
        """Copy the VAEs of `init`, or the base's VAE, to a run that has none yet.

        Raises:
            InvalidRecipe: `init` is of another size than the recipe. Nothing was copied.
            MissingPart: `init` has no VAE.
        """
        if self.init is not None:
            check_init(self.init, self.recipe)
        for name in ("vae", "alpha_vae"):
            if self.init is not None and not (self.out / name).exists():
                if not (self.init / name).is_dir():
                    raise MissingPart(f"{self.init} has no {name}; give a model folder as --init")
                shutil.copytree(self.init / name, self.out / name)
        if self.wan is not None and not (self.out / "vae").exists():
            self.wan.vae.save_pretrained(self.out / "vae")

    def vae(self, name: str = "vae") -> AutoencoderKLWan:
        """Read one of the run's VAEs, in float32."""
        path = self.needs(name, name.replace("_", "-"))
        return AutoencoderKLWan.from_pretrained(path, torch_dtype=torch.float32)

    def pictures(self) -> Path:
        """Return the folder of pictures; fetched once, by one process."""
        with PartialState().main_process_first():
            return fetch_assets(self.assets)

    def clips(self, stage: str, shape: tuple[int, int, int] | None = None) -> ClipSource:
        """Return the clips of a stage, of a width, height and number of frames, or the recipe's.

        Raises:
            BadClips: The user's own cannot be used, or have more foregrounds than the model.
        """
        scene = self.scene(stage)
        width, height, length = shape or (scene.width, scene.height, scene.num_frames)
        if self.data is None:
            return self.composed(stage, (width, height, length))
        return self._own_clips(stage, (width, height, length))

    def _own_clips(self, stage: str, shape: tuple[int, int, int]) -> FileClips:
        assert self.data is not None
        width, height, length = shape
        clips = clips_from(
            self.data,
            (width, height),
            length,
            fps=self.recipe.exact_fps,
            seed=self.scene(stage).seed,
            skip_bad=self.skip_bad,
        )
        limit_foregrounds(clips, max_foregrounds(self.recipe))
        return clips

    def composed(self, stage: str, shape: tuple[int, int, int]) -> SceneSource:
        """Return the composed scenes of a stage, of a width, height and number of frames."""
        width, height, length = shape
        scene = replace(self.scene(stage), width=width, height=height, num_frames=length)
        return SceneSource(self.pictures(), scene)

    @property
    def num_composed_clips(self) -> int:
        """Number of composed clips of the main shape beside the user's own, in stages 2 and 3.

        Raises:
            InvalidRecipe: There are none of the user's own, so that all are composed.
        """
        count = self.recipe.num_composed_clips
        if count and self.data is None:
            raise InvalidRecipe(
                f"num_composed_clips is {count} but --data is missing: all clips are composed; "
                f"set num_clips"
            )
        return count

    def sources(self, stage: str) -> list[tuple[ClipSource, int]]:
        """Return what stage 2 or 3 learns from, and how many clips of each.

        Raises:
            BadClips, InvalidRecipe: As `clips` and `num_composed_clips`.
        """
        shapes = self.clips_per_shape
        found = [(self.clips(stage, shape), count) for shape, count in shapes.items()]
        if self.num_composed_clips:
            found.append((self.composed(stage, next(iter(shapes))), self.num_composed_clips))
        return found

    def captions(self) -> CaptionStates:
        """Make what encodes captions, as the exported model will encode prompts, and keeps them."""
        folder, device = self.out / "texts", PartialState().device
        if self.recipe.base == "none":
            return CaptionStates.read(text_encoder_folder(), folder, device)
        if self.wan is not None:
            return CaptionStates(*wan_text_encoder(self.wan), folder, device)
        assert self.init is not None
        return CaptionStates(*read_text_encoder(self.init, read_card(self.init)), folder, device)
