"""The precision of matrix products. Every program asks here, and nowhere else.

bfloat16 is used only where the hardware has it natively. Emulated it is far slower than float32. On
a processor with AVX2 only, 2 000 x 384 numbers times 384 x 1 536 took 18.8 ms in float32 and 159 ms
in bfloat16. With AVX-512 BF16, bfloat16 takes a third of float32's time (one thread, torch 2.13,
November 2026). torch is imported only to look at a device, so a front door may ask.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

Choice = Literal["auto", "bfloat16", "float32"]
"""The choices of a user. `auto` takes the precision that the hardware has natively."""

_X86_INSTRUCTIONS = ("amx_bf16", "avx512_bf16")
_ARM_INSTRUCTIONS = ("bf16", "sve_bf16")
"""Source: names in `torch.cpu.get_capabilities`, torch 2.13."""


@dataclass(frozen=True)
class Hardware:
    """A device's answer about bfloat16."""

    has_bfloat16: bool
    """Whether it multiplies bfloat16 natively."""
    words: str
    """The same as a clause, for people."""


@dataclass(frozen=True)
class Precision:
    """The precision in which a program computes, and the reason."""

    name: Literal["bfloat16", "float32"]
    """The precision's name in PyTorch."""
    reason: str
    """A clause."""
    is_asked: bool = False
    """Whether the user chose it."""

    @property
    def dtype(self) -> "torch.dtype":
        """The precision as PyTorch takes it."""
        import torch

        return torch.bfloat16 if self.name == "bfloat16" else torch.float32

    @property
    def bytes_per_number(self) -> int:
        """2 or 4."""
        return 2 if self.name == "bfloat16" else 4

    @property
    def sentence(self) -> str:
        """The first line of a log."""
        return f"computes in {self.name}{' as asked;' if self.is_asked else ':'} {self.reason}"


def decide_precision(
    choice: Choice = "auto",
    device: "torch.device | None" = None,
    hardware: Hardware | None = None,
) -> Precision:
    """Decide in which precision a program computes.

    It is never timed: every process and every later run on a machine must decide alike.

    Args:
        choice: Wish of the user.
        device: Device that computes; None: `default_device`.
        hardware: Its abilities; None: they are looked up.
    """
    found = hardware or find_hardware(device or default_device())
    if choice == "auto":
        return Precision("bfloat16" if found.has_bfloat16 else "float32", found.words)
    return Precision(choice, found.words, is_asked=True)


def default_device() -> "torch.device":
    """Return the device of a program that was told none: the first CUDA device, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def find_hardware(device: "torch.device") -> Hardware:
    """Look at what a device has."""
    import torch

    if device.type == "cpu":
        # Versions of torch before 2.10 do not say. Float32 is right everywhere.
        capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return processor(capabilities, torch.backends.cpu.get_cpu_capability())
    if device.type == "cuda":
        with torch.cuda.device(device):
            has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
            return gpu(
                torch.cuda.get_device_name(), torch.cuda.get_device_capability(), has_bfloat16
            )
    return Hardware(False, f"nothing is known of bfloat16 on {device.type}")


def processor(capabilities: Mapping[str, Any], kernels: str) -> Hardware:
    """Judge a processor.

    Args:
        capabilities: As `torch.cpu.get_capabilities` names them.
        kernels: Instructions that PyTorch's own kernels use, such as `AVX2`; the environment
            variable `ATEN_CPU_CAPABILITY` limits it.
    """
    is_arm = str(capabilities.get("architecture", "")).lower().startswith(("arm", "aarch"))
    names = _ARM_INSTRUCTIONS if is_arm else _X86_INSTRUCTIONS
    instructions = [name for name in names if capabilities.get(name)]
    if instructions and (is_arm or kernels.startswith("AVX512")):
        return Hardware(True, f"this processor has bfloat16 instructions ({instructions[0]})")
    return Hardware(False, f"this processor ({kernels}) has no bfloat16 instructions")


def gpu(name: str, capability: tuple[int, int], has_bfloat16: bool) -> Hardware:
    """Describe a GPU. Of NVIDIA's, those from compute capability (8, 0) on have bfloat16."""
    verb = "multiplies bfloat16 natively" if has_bfloat16 else "has no native bfloat16"
    words = f"{name} (compute capability {capability[0]}.{capability[1]}) {verb}"
    return Hardware(has_bfloat16, words)
