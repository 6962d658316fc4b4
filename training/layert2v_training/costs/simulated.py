"""Peak memory of a computation that is only simulated: tensors have shapes and no numbers.

The program's own code runs on PyTorch's fake tensors, and what is alive is added up. That follows
every change of the code by itself, needs no device, and takes seconds at any size. Memory that
kernels take for themselves is not seen.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Module = TypeVar("Module", bound=nn.Module)


class LiveBytes(TorchDispatchMode):
    """Adds up the bytes of the tensors that are alive, made since it was entered."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        """Bytes that are alive."""
        self.peak = 0
        """Most that were alive since the last `restart`."""
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in tree_leaves(made):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage())
        return made

    def restart(self) -> int:
        """Return the peak and begin another at what is alive now."""
        peak, self.peak = self.peak, self.now
        return peak

    def restart_at_now(self) -> int:
        """Begin another peak, and return what is alive."""
        self.peak = self.now
        return self.now

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, storage.nbytes())

    def _forget(self, num_bytes: int) -> None:
        self.now -= num_bytes


def on_meta(make: Callable[[], Module]) -> Module:
    """Make a module without numbers, for `fake`; outside `simulated`."""
    with torch.device("meta"):
        return make()


def fake(module: Module) -> Module:
    """Give a module that `on_meta` made simulated tensors, in place."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                made = torch.empty(parameter.shape, dtype=parameter.dtype)
                part._parameters[name] = nn.Parameter(made, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)
    return module


@contextmanager
def simulated() -> Iterator[LiveBytes]:
    """Make every tensor a fake one, and count those that are made."""
    live = LiveBytes()
    with FakeTensorMode(allow_non_fake_inputs=True), live:
        yield live
