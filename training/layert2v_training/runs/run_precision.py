"""The precision that `autocast: auto` means on a run's device, decided before the run begins.

A run's binding then holds the precision, and the run changes it elsewhere only if asked to.
"""

import logging
from dataclasses import replace

import torch
from accelerate import PartialState

from layert2v_model.cost.precision import Choice, Hardware, Precision, decide_precision
from layert2v_training.learning.optimizers import LoopRecipe
from layert2v_training.runs.recipes import Recipe

log = logging.getLogger(__name__)

ELSEWHERE = Hardware(True, "taken for a GPU that multiplies bfloat16 natively")
"""Assumption about a device that is not there."""


def decide_for_run(recipe: Recipe, choice: Choice, hardware: Hardware | None = None) -> Recipe:
    """Fill in what `auto` means on this process's device, and log what was decided and why.

    Args:
        recipe: Its loops may say a precision already.
        choice: Wish of the user for all loops; `auto`: the wish of each.
        hardware: Hardware that computes; None: this machine's.
    """
    processes = PartialState()
    if processes.is_main_process:
        for sentence in sentences(recipe, choice, processes.device, hardware):
            log.info(sentence)
    return in_precision(recipe, choice, processes.device, hardware)


def loops_of(recipe: Recipe) -> dict[str, LoopRecipe]:
    """Return all loops of a recipe by the stage that they train."""
    return {
        "vae": recipe.vae,
        "alpha-vae": recipe.alpha_vae.loop,
        "joint": recipe.joint.loop,
        "multi-foreground": recipe.multi_foreground.loop,
        "decoders": recipe.decoders.loop,
    }


def in_precision(
    recipe: Recipe, choice: Choice, device: torch.device, hardware: Hardware | None = None
) -> Recipe:
    """Return a recipe whose loops say a precision and not `auto`.

    Args:
        recipe: Its loops may say one already.
        choice: Wish of the user for all loops; `auto`: the wish of each.
        device: Device of the run.
        hardware: Its abilities; None: they are looked up.
    """

    def decided(loop: LoopRecipe) -> LoopRecipe:
        is_half = precision_of(loop, device, choice, hardware).name == "bfloat16"
        return replace(loop, autocast="bfloat16" if is_half else None)

    return replace(
        recipe,
        vae=decided(recipe.vae),
        alpha_vae=replace(recipe.alpha_vae, loop=decided(recipe.alpha_vae.loop)),
        joint=replace(recipe.joint, loop=decided(recipe.joint.loop)),
        multi_foreground=replace(
            recipe.multi_foreground, loop=decided(recipe.multi_foreground.loop)
        ),
        decoders=replace(recipe.decoders, loop=decided(recipe.decoders.loop)),
    )


def precision_of(
    loop: LoopRecipe,
    device: torch.device,
    choice: Choice = "auto",
    hardware: Hardware | None = None,
) -> Precision:
    """Decide what a loop computes in; `choice` goes before what it says, unless it is `auto`."""
    return decide_precision(loop.choice if choice == "auto" else choice, device, hardware)


def sentences(
    recipe: Recipe, choice: Choice, device: torch.device, hardware: Hardware | None = None
) -> list[str]:
    """Say in which precision a recipe's loops compute and why; one sentence if it is one."""
    said: dict[str, list[str]] = {}
    for stage, loop in loops_of(recipe).items():
        said.setdefault(precision_of(loop, device, choice, hardware).sentence, []).append(stage)
    if len(said) == 1:
        return list(said)
    return [f"{', '.join(stages)}: {sentence}" for sentence, stages in said.items()]
