"""Ways to launch a run on which the loop can keep its promises."""

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

FSDP_CONFIG = "training/configs/fsdp.yaml"


class UnsupportedLaunch(ValueError):
    """Raised when `accelerate` was told to run in a way whose state cannot be saved whole."""


def check_launch(accelerator: Accelerator, dtype: torch.dtype = torch.bfloat16) -> None:
    """Refuse what would write checkpoints that are not whole, or cannot be resumed exactly.

    Args:
        accelerator: As it was launched.
        dtype: Precision in which the run computes.

    Raises:
        UnsupportedLaunch: FSDP of version 1, another library's splitting, scaled gradients, or
            another precision than the run's.
    """
    kind = accelerator.distributed_type
    if kind == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise UnsupportedLaunch(
            f"accelerate splits parameters by FSDP version "
            f"{accelerator.state.fsdp_plugin.fsdp_version}, of which a checkpoint would hold one "
            f"process's part only; version 2 is needed: set fsdp_version: 2, as {FSDP_CONFIG} does"
        )
    if kind in (DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise UnsupportedLaunch(
            f"accelerate runs by {kind.value}, of which a checkpoint would hold one process's part "
            f"only; use FSDP of version 2 instead: --config_file {FSDP_CONFIG}"
        )
    if accelerator.mixed_precision == "fp16":
        raise UnsupportedLaunch(
            "accelerate's mixed_precision is fp16, whose scale is not part of a checkpoint; set it "
            "to no: the program chooses the precision itself (--precision)"
        )
    if accelerator.mixed_precision == "bf16" and dtype is torch.float32:
        raise UnsupportedLaunch(
            "accelerate's mixed_precision is bf16 and the run computes in float32; set it to no, "
            "or give --precision bfloat16"
        )
