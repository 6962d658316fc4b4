from types import SimpleNamespace

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedType

from layert2v_training.learning.launching import UnsupportedLaunch, check_launch
from support.toy_run import FSDP_CONFIG


def launched(
    kind: DistributedType, mixed_precision: str = "no", fsdp_version: int = 2
) -> SimpleNamespace:
    """Look like an accelerator of a launch that needs GPUs."""
    return SimpleNamespace(
        distributed_type=kind,
        mixed_precision=mixed_precision,
        is_fsdp2=kind == DistributedType.FSDP and fsdp_version == 2,
        state=SimpleNamespace(fsdp_plugin=SimpleNamespace(fsdp_version=fsdp_version)),
    )


def test_parameters_whole_or_split_by_the_second_version_are_accepted() -> None:
    for kind in (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.FSDP):
        check_launch(launched(kind, "bf16"))


def test_what_could_not_be_saved_whole_is_refused_with_the_remedy() -> None:
    with pytest.raises(UnsupportedLaunch, match=r"version 1, .* set fsdp_version: 2, as training"):
        check_launch(launched(DistributedType.FSDP, fsdp_version=1))
    with pytest.raises(UnsupportedLaunch, match=r"runs by DEEPSPEED, .* --config_file"):
        check_launch(launched(DistributedType.DEEPSPEED))
    with pytest.raises(UnsupportedLaunch, match=r"mixed_precision is fp16, .* set it to no"):
        check_launch(launched(DistributedType.NO, "fp16"))
    with pytest.raises(UnsupportedLaunch, match=r"is bf16 and the run computes in float32; set it"):
        check_launch(launched(DistributedType.NO, "bf16"), torch.float32)


def test_the_shipped_config_has_only_fields_that_the_launcher_knows() -> None:
    config = load_config_from_file(str(FSDP_CONFIG))
    known = vars(launch_command_parser().parse_args(["program"]))

    assert config.distributed_type == DistributedType.FSDP
    assert set(config.fsdp_config) <= known.keys()
    assert yaml.safe_load(FSDP_CONFIG.read_text())["fsdp_config"]["fsdp_version"] == 2
