import os
import subprocess
import sys

import pytest
import torch

from layert2v_model.cost.precision import Hardware, Precision, decide_precision, gpu, processor

WITH = Hardware(True, "this processor has bfloat16 instructions (amx_bf16)")
WITHOUT = Hardware(False, "this processor (AVX2) has no bfloat16 instructions")


def test_bfloat16_is_chosen_only_where_the_hardware_has_it() -> None:
    assert decide_precision(hardware=WITH).dtype is torch.bfloat16
    assert decide_precision(hardware=WITHOUT).dtype is torch.float32
    assert decide_precision(hardware=WITH).bytes_per_number == 2
    assert decide_precision(hardware=WITHOUT).bytes_per_number == 4


def test_the_sentence_says_which_and_why() -> None:
    assert decide_precision(hardware=WITHOUT).sentence == (
        "computes in float32: this processor (AVX2) has no bfloat16 instructions"
    )
    assert decide_precision("bfloat16", hardware=WITHOUT).sentence == (
        "computes in bfloat16 as asked; this processor (AVX2) has no bfloat16 instructions"
    )


@pytest.mark.parametrize("hardware", [WITH, WITHOUT])
@pytest.mark.parametrize("asked", ["bfloat16", "float32"])
def test_what_is_asked_for_goes_before_what_the_hardware_has(asked, hardware) -> None:
    assert decide_precision(asked, hardware=hardware) == Precision(
        asked, hardware.words, is_asked=True
    )


@pytest.mark.parametrize(
    ("capabilities", "kernels", "has_bfloat16"),
    [
        ({"architecture": "x86_64", "avx2": True}, "AVX2", False),
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False}, "AVX512", False),
        ({"architecture": "x86_64", "avx512_bf16": True}, "AVX512", True),
        ({"architecture": "x86_64", "amx_bf16": True}, "AVX512", True),
        ({"architecture": "x86_64", "avx512_bf16": True}, "AVX2", False),
        ({"architecture": "aarch64", "neon": True}, "DEFAULT", False),
        ({"architecture": "aarch64", "neon": True, "bf16": True}, "DEFAULT", True),
        ({}, "DEFAULT", False),
    ],
)
def test_a_processor_is_judged_by_its_instructions_and_by_what_pytorch_uses(
    capabilities, kernels, has_bfloat16
) -> None:
    assert processor(capabilities, kernels).has_bfloat16 is has_bfloat16


def test_a_gpu_is_named_with_its_compute_capability() -> None:
    old = decide_precision(hardware=gpu("Tesla T4", (7, 5), has_bfloat16=False))

    assert old.sentence == (
        "computes in float32: Tesla T4 (compute capability 7.5) has no native bfloat16"
    )
    assert decide_precision(hardware=gpu("an H200", (9, 0), True)).dtype is torch.bfloat16


def test_a_device_of_another_kind_computes_in_float32() -> None:
    assert decide_precision(device=torch.device("meta")).sentence == (
        "computes in float32: nothing is known of bfloat16 on meta"
    )


@pytest.mark.slow
def test_a_processor_limited_to_avx2_computes_in_float32() -> None:
    script = "from layert2v_model.cost.precision import *; print(decide_precision().name)"
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "avx2", "CUDA_VISIBLE_DEVICES": ""}

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )

    assert done.stdout == "float32\n", done.stderr
