"""What this process and every process it starts are told, before any library reads it."""

import os
import sys
import tempfile
from pathlib import Path

_CAPABILITY = os.environ.get("ATEN_CPU_CAPABILITY", "native")
"""What PyTorch is told to compute with, where a processor with less is pretended."""

os.environ |= {
    # One thread each, on any machine: sizes are so small that threads cost more than they bring,
    # and where cores are busy they only wait for each other.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
    "LAYERT2V_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    # Kernels that were compiled for one kind of processor make NaN of the other's numbers.
    "TORCHINDUCTOR_CACHE_DIR": str(
        Path(tempfile.gettempdir()) / f"layert2v-inductor-{_CAPABILITY}"
    ),
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}

_NO_NETWORK = str(Path(__file__).parent / "support" / "no_network")
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [_NO_NETWORK, os.environ.get("PYTHONPATH", "")])
)
if _NO_NETWORK not in sys.path:
    # It stays, for children that are given the paths of this process.
    sys.path.insert(0, _NO_NETWORK)
import forbid_network  # noqa: E402, F401 - it watches from here on

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:  # A bpy module of its own has none, and no test there needs it.
    pass
else:
    # No test fails because the machine is busy: deadlines of examples are timed tests.
    settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("busy")
