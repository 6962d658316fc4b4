"""The one loaded model of a worker, laid out by its options and the shot."""

from dataclasses import replace
from pathlib import Path

import psutil
import torch

from layert2v_backend.admission import default_format
from layert2v_backend.models import read_limits
from layert2v_backend.worker.log import note
from layert2v_backend.worker.manifest import weights_sha256
from layert2v_backend.worker_protocol import WorkerOptions
from layert2v_model.cost.device import Device
from layert2v_model.cost.estimate import ModelSize
from layert2v_model.cost.offload import enable_layerwise_casting, place
from layert2v_model.cost.plan import Offload, Plan, plan
from layert2v_model.cost.precision import decide_precision, default_device
from layert2v_model.errors import DamagedModel, InvalidShot, reason_of
from layert2v_model.loading import load_pipeline
from layert2v_model.network.step_cache import StepCache, enable_step_cache
from layert2v_model.pipeline import LayerT2VPipeline
from layert2v_model.shot import ShotFormat, ShotPrompts
from layert2v_model.streams import stream_names


class LoadedModel:
    """Gives the loaded model, and loads only if the model or its layout differs."""

    def __init__(self, options: WorkerOptions) -> None:
        self._options = options
        self._precision = decide_precision(options.precision)
        note(self._precision.sentence)
        self._loaded_as: tuple[Path, Offload] | None = None
        self._pipeline: LayerT2VPipeline | None = None
        self.weights_sha256 = ""
        """Digest of its weights."""
        self.step_cache: StepCache | None = None
        """The record of its steps, if the options ask for a cache."""

    def warm(self, folder: Path) -> None:
        """Load a model in the layout of its default shot, and compile it if asked to.

        Raises:
            DamagedModel, ModelDamaged: The model cannot be loaded.
            InvalidShot: The default shot does not fit.
        """
        limits = read_limits(folder)
        shot = default_format(limits, 0, 0, 0, 1, 0)
        pipeline = self.load(folder, self.plan(folder, shot).offload)
        if self._options.compile_blocks:
            _run_once(pipeline, shot, limits.default_guidance_scale)

    def plan(self, folder: Path, shot: ShotFormat) -> Plan:
        """Choose the layout for a shot.

        Raises:
            InvalidShot: The shot does not fit. The message says which shot would.
            DamagedModel: The model's folder cannot be measured.
        """
        chosen = plan(shot, self._size(folder), self._device())
        if not chosen.fits:
            raise InvalidShot(chosen.sentence)
        if self._options.offload != "auto":
            return replace(chosen, offload=self._options.offload)
        return chosen

    def _size(self, folder: Path) -> ModelSize:
        try:
            model = ModelSize.read(folder, self._precision.bytes_per_number)
        except (OSError, ValueError, KeyError) as failure:
            load_pipeline(folder)  # The message says which file is damaged.
            reason = reason_of(failure, folder)
            raise DamagedModel(
                f"{folder} cannot be measured ({reason}): install the model again"
            ) from failure
        if self._options.weights == "full":
            return model
        transformer = model.weights_bytes["transformer"] // self._precision.bytes_per_number
        return replace(model, weights_bytes={**model.weights_bytes, "transformer": transformer})

    def load(self, folder: Path, offload: Offload) -> LayerT2VPipeline:
        """Give a model, and load it first if necessary.

        Raises:
            DamagedModel: The model cannot be loaded.
        """
        if self._pipeline is None or (folder, offload) != self._loaded_as:
            self._pipeline, self.step_cache = None, None
            self._pipeline = self._loaded(folder, offload)
            self.weights_sha256 = weights_sha256(folder)
            self._loaded_as = folder, offload
        return self._pipeline

    def _loaded(self, folder: Path, offload: Offload) -> LayerT2VPipeline:
        pipeline = load_pipeline(folder, dtype=self._precision.dtype)
        if self._options.weights == "fp8":
            enable_layerwise_casting(pipeline.transformer)
        if self._options.step_cache:
            self.step_cache = enable_step_cache(pipeline.transformer, self._options.step_cache)
        place(pipeline, default_device(), offload)
        if self._options.compile_blocks and offload != "group":
            pipeline.transformer.compile_repeated_blocks(dynamic=True)
        note(f"model loaded: {folder}, offload {offload}")
        return pipeline

    def _device(self) -> Device:
        """Describe the device with the memory that is free or held by this worker."""
        device = default_device()
        if device.type == "cpu":
            free = psutil.virtual_memory().available + psutil.Process().memory_info().rss
            return Device("this computer", self._options.memory_bytes or free, is_host=True)
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
        return Device(torch.cuda.get_device_name(device), self._options.memory_bytes or free)


def _run_once(pipeline: LayerT2VPipeline, shot: ShotFormat, guidance_scale: float) -> None:
    """Run one step of a shot, guided or not, because the first step compiles the blocks."""
    pipeline(
        ShotPrompts("", "a", ("b",) * shot.num_foregrounds),
        width=shot.width,
        height=shot.height,
        num_frames=shot.num_frames,
        num_inference_steps=1,
        guidance_scale=guidance_scale,
        stream_seeds=dict.fromkeys(stream_names(shot.num_foregrounds), 0),
    )
