"""Names of tensors without the wrappers of trainers, loaders and compilers.

A wrapper changes names and never values, so it is taken off where the rest of a name is known. The
shapes are compared afterwards as ever. Messages name the wrappers that were taken off.
"""

import re
from collections import Counter
from collections.abc import Iterable

from layert2v_model.errors import InvalidCheckpoint

_BEFORE = (
    ("model.diffusion_model.", "ComfyUI"),
    ("diffusion_model.", "ComfyUI"),
    ("transformer.", "diffusers"),
    ("base_model.model.", "peft"),
    ("module.", "PyTorch's data parallel training"),
)
"""Prefixes of whole files. No tensor of Wan's networks begins so itself."""

_INSIDE = (
    ("_orig_mod.", "torch.compile"),
    ("_fsdp_wrapped_module.", "PyTorch's sharded training"),
    ("_checkpoint_wrapped_module.", "PyTorch's checkpointing"),
    ("modules_to_save.default.", "peft in memory"),
)
"""Parts that may stand anywhere, each as a whole part of the name."""

_LORA_ENDS = (
    (re.compile(r"\.lora_([AB])\.default\.weight$"), r".lora_\1.weight", "peft in memory"),
    (re.compile(r"\.lora_down\.weight$"), r".lora_A.weight", "ComfyUI"),
    (re.compile(r"\.lora_up\.weight$"), r".lora_B.weight", "ComfyUI"),
    (re.compile(r"\.lora\.down\.weight$"), r".lora_A.weight", "diffusers"),
    (re.compile(r"\.lora\.up\.weight$"), r".lora_B.weight", "diffusers"),
)
"""Ends of LoRA's factors, and peft's own names for them."""

_UNUSED = ".original_module."
"""In memory peft keeps the untouched copy of a module that it trains. No file needs it."""


def plain_names(
    names: Iterable[str], source: str, *, is_lora: bool = False
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Take the wrappers off the names of one file.

    Args:
        names: As they stand in the file.
        source: Their origin, for messages.
        is_lora: Whether ends of LoRA's factors are made peft's.

    Returns: The plain name of each, and a sentence for each kind of wrapper that was taken off.
    Copies that peft keeps in memory and no file needs are left out.

    Raises:
        InvalidCheckpoint: Two names become one.
    """
    plain: dict[str, str] = {}
    wrappers: dict[str, str] = {}
    for name in names:
        if _UNUSED not in name:
            plain[name], taken_off = _unwrapped(name, is_lora=is_lora)
            wrappers |= taken_off
    twice = [name for name, count in Counter(plain.values()).items() if count > 1]
    if twice:
        both = sorted(name for name, short in plain.items() if short == twice[0])
        raise InvalidCheckpoint(
            f"{source} holds {' and '.join(both)}, which are one tensor; keep one of the two"
        )
    notes = [
        f"{source} has names of {owner} ({wrapper}); they are read as the release's own"
        for wrapper, owner in wrappers.items()
    ]
    return plain, tuple(notes)


def _unwrapped(name: str, *, is_lora: bool) -> tuple[str, dict[str, str]]:
    taken_off: dict[str, str] = {}
    for part, owner in _INSIDE:
        if name.startswith(part) or f".{part}" in name:
            name = re.sub(rf"(^|\.){re.escape(part)}", r"\1", name)
            taken_off[part] = owner
    is_wrapped = True
    while is_wrapped:
        is_wrapped = False
        for prefix, owner in _BEFORE:
            if name.startswith(prefix):
                name, is_wrapped = name.removeprefix(prefix), True
                taken_off[prefix] = owner
    for pattern, own, owner in _LORA_ENDS if is_lora else ():
        if found := pattern.search(name):
            taken_off[found[0].removesuffix(".weight").replace("A", "*").replace("B", "*")] = owner
            name = pattern.sub(own, name)
    return name, taken_off
