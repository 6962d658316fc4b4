"""A run of stage 3 on the toy model, small enough to be killed and split over processes."""

import itertools
import os
import signal
import socket
import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import yaml
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from layert2v_model.network.transformer import LayerT2VTransformer3DModel
from layert2v_training.cache.latents import LatentClip
from layert2v_training.learning.launching import FSDP_CONFIG as FSDP_CONFIG_NAME
from layert2v_training.learning.loop import Losses, train
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.learning.stopping import program
from layert2v_training.scenes.composing import SceneSource
from layert2v_training.scenes.scene_recipe import SceneRecipe
from layert2v_training.stages import alpha_vae_training
from layert2v_training.stages.alpha_vae_training import AlphaVaeRecipe, alpha_loss
from layert2v_training.stages.joint import JointLoss, JointRecipe
from layert2v_training.stages.noise import NoiseMixture
from support.forked import forked
from support.toy_model import make_toy_transformer, make_toy_vae
from support.waiting import HANG_S

MIXTURE = NoiseMixture(
    synchronous=0.2, given_layers=0.2, given_frames=0.2, given_regions=0.2, independent_frames=0.1
)


FSDP_CONFIG = Path(__file__).parents[2] / FSDP_CONFIG_NAME


def fsdp_environment(config: Path = FSDP_CONFIG) -> dict[str, str]:
    """Give the settings of FSDP that `accelerate launch --config_file` passes to the library."""
    fields = yaml.safe_load(config.read_text())["fsdp_config"]
    return {name.upper(): str(value) for name, value in fields.items()}


def splitting_accelerator() -> Accelerator:
    """Make the library split parameters by the shipped config.

    It reads FSDP's part of the config on GPUs only, but splits on the CPU too.
    """
    accelerator = Accelerator()
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
    accelerator.state.distributed_type = DistributedType.FSDP
    return accelerator


class ToyCaptions:
    """Gives random token states that depend on a caption's letters alone."""

    def encode(self, captions: Iterable[str]) -> None:
        """Do nothing, because states are made when they are looked up."""

    def __getitem__(self, caption: str) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(caption.encode()))
        return torch.randn(3, 16, generator=generator)


def toy_recipe(num_steps: int, *, accumulation: int = 1, muon_scale: float = 1.0) -> JointRecipe:
    """Make a recipe with all ways to draw noise and a checkpoint after every step."""
    loop = LoopRecipe(
        num_steps=num_steps,
        learning_rate=1e-2,
        muon_scale=muon_scale,
        warmup_steps=2,
        max_grad_norm=1e9,
        checkpoint_seconds=0.0,
        gradient_accumulation=accumulation,
        autocast=None,
    )
    return JointRecipe(loop, batch_size=2, windowed_share=0.3, noise=MIXTURE)


def toy_transformer() -> LayerT2VTransformer3DModel:
    """Make the toy transformer, always the same."""
    torch.manual_seed(0)
    return make_toy_transformer(num_layers=1)


def toy_clips() -> list[LatentClip]:
    """Make clips of noise with one and two foregrounds."""
    generator = torch.Generator().manual_seed(1)
    return [
        LatentClip(
            torch.randn(2 + 2 * count, 4, 3, 4, 4, generator=generator),
            "a beach",
            ("a fox", "a ball")[:count],
        )
        for count in (1, 2, 1)
    ]


@dataclass(frozen=True)
class Told:
    """Tells another process of each step before it, and stays at one of them for good."""

    by: Connection
    last: int
    """Number of steps of this process. It is killed before the next step or earlier."""
    steps: "itertools.count[int]" = field(default_factory=itertools.count)

    def __call__(self, step: int) -> None:
        self.by.send(step)
        if next(self.steps) == self.last:
            threading.Event().wait()


def run(
    folder: Path,
    recipe: JointRecipe,
    accelerator: Accelerator | None = None,
    before_step: Callable[[int], None] = lambda step: None,
) -> list[Tensor]:
    """Train the toy, or resume the run of `folder`. Return the gradients of the last step."""
    model, gradients = toy_transformer(), list[Tensor]()

    def keep(step: int) -> dict[str, float]:
        gradients[:] = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        return {}

    loss = JointLoss(model, toy_clips(), ToyCaptions(), recipe)  # type: ignore[arg-type]

    def loss_of(called: nn.Module, step: int) -> Losses:
        before_step(step)
        return loss(called, step)

    steps = recipe.loop.num_steps
    train(
        folder, model, loss_of, recipe.loop,
        evaluate=keep, evaluate_every=steps, accelerator=accelerator,
    )  # fmt: skip
    return gradients


def start(folder: Path, recipe: JointRecipe, num_steps: int) -> tuple[BaseProcess, Connection]:
    """Start `run` in a process of its own, forked from a server that has read the libraries.

    Returns:
        The process, which makes `num_steps` and then waits to be killed, and a pipe that tells of
        each step before it.
    """
    hears, tells = forked().Pipe(duplex=False)
    process = forked().Process(target=run, args=(folder, recipe, None, Told(tells, num_steps)))
    process.start()
    tells.close()
    return process, hears


def run_on_processes(
    folder: Path, recipe: JointRecipe, *, is_split: bool = False
) -> list[list[Tensor]]:
    """Run on two processes that meet through gloo, and return the result of `run` in each.

    Args:
        folder: The folder of the run.
        recipe: The recipe of each process.
        is_split: Whether each process holds half of every parameter.

    Raises:
        TimeoutError: They had not ended within `HANG_S` and were killed.
    """
    codes = on_two_processes(_one_of_two, (folder, recipe, is_split))
    if codes != [0, 0]:
        raise TimeoutError(f"processes ended with {codes} within {HANG_S:g} s")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def on_two_processes(
    target: Callable[..., None], arguments: tuple[object, ...]
) -> list[int | None]:
    """Call `target` with a rank, a port and `arguments` in two processes. Return their statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        forked().Process(target=target, args=(rank, port, *arguments)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(HANG_S)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def be_one_of_two(rank: int, port: int) -> None:
    """Set the variables that a launcher would set."""
    os.environ |= {
        "ACCELERATE_USE_CPU": "true",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def adapt_vae(rank: int, port: int, folder: Path, assets: Path, stop_at: int | None) -> None:
    """Run stage 1 on two processes, and ask the second to stop in step `stop_at`."""
    be_one_of_two(rank, port)
    loop = LoopRecipe(
        num_steps=5, learning_rate=1e-2, checkpoint_seconds=1e9, autocast=None, seed=3
    )
    recipe = AlphaVaeRecipe(loop, rank=2, hidden_channels=4, batch_size=2, num_clips=18)
    steps = itertools.count()

    def stopping(decoded: Tensor, target: Tensor) -> Losses:
        if next(steps) == stop_at and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return alpha_loss(decoded, target)

    alpha_vae_training.alpha_loss = stopping
    torch.manual_seed(0)
    vae = make_toy_vae()
    with program():
        alpha_vae_training.train_alpha_vae(
            SceneSource(assets, SceneRecipe(16, 16, 5, (1,))), folder, vae, recipe
        )
        raise SystemExit


def _one_of_two(rank: int, port: int, folder: Path, recipe: JointRecipe, is_split: bool) -> None:
    be_one_of_two(rank, port)
    os.environ |= fsdp_environment() if is_split else {}
    accelerator = splitting_accelerator() if is_split else None
    gradients = [gradient.data for gradient in run(folder, recipe, accelerator)]
    whole = [g.full_tensor() if isinstance(g, DTensor) else g for g in gradients]
    assert is_split == any(isinstance(g, DTensor) for g in gradients)
    torch.save(whole, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()
