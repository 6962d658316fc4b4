"""One frozen `Settings`: every knob of the backend. Flags win over the environment (LAYERT2V_*)."""

import os
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from layert2v.v1 import LOOPBACK_ADDRESS
from layert2v_model.cost.precision import Choice

MIB = 1 << 20


def default_state_folder() -> Path:
    """Give the user's data folder for this program by the operating system's rules."""
    return Path(platformdirs.user_data_dir("layert2v", appauthor=False)) / "backend"


class Settings(BaseSettings):
    """The settings of a backend. Lists in the environment are JSON."""

    model_config = SettingsConfigDict(env_prefix="LAYERT2V_", frozen=True, extra="forbid")

    state: Path = Field(default_factory=default_state_folder)
    """Folder of the journal, the takes and the worker's log. Nothing is written outside it, "
    "except a socket that `listen` puts into another folder."""
    listen: str = ""
    """`unix:PATH` or `HOST:PORT` on the loopback interface. Port 0 takes a free one. Empty means "
    "a socket in the state folder, or `LOOPBACK_ADDRESS` on systems without unix sockets. Clients "
    "look there first."""
    models_dirs: tuple[Path, ...] = ()
    """Folders that are models, or hold models, beside the shipped `tiny`."""
    threads: int = Field(default=0, ge=0, le=1024)
    """Threads of the worker. 0 means one for each processor."""
    memory_bytes: int = Field(default=0, ge=0)
    """Memory of the worker's device that jobs may use, in bytes. 0 means all of it. A shot that "
    "cannot fit into it is refused."""
    offload: Literal["auto", "none", "model", "group"] = "auto"
    """The part of the weights that waits in main memory if a GPU is small. `auto` keeps it as "
    "small as possible."""
    weights: Literal["full", "fp8"] = "full"
    """`fp8` halves the memory of the transformer's weights, but is approximate."""
    step_cache: float = Field(default=0.0, ge=0, le=1)
    """Skip steps that change less than this share, which is approximate. 0 skips none."""
    refresh_kept_every: int = Field(default=1, ge=1, le=200)
    """Recompute kept layers every so many steps when a layer is regenerated. 1 is exact. Larger "
    "values are faster and approximate."""
    compile_blocks: bool = False
    """Compile the transformer's blocks, for GPUs. This is exact, but slow at first."""
    precision: Choice = "auto"
    """Precision of the transformer. `auto` is bfloat16 if the processor or GPU has it natively."""
    prewarm: bool = True
    """Load the default model as soon as the backend serves, instead of with the first job."""
    min_free_bytes: int = Field(default=64 * MIB, ge=0)
    """Jobs are refused while the state folder's disk has fewer free bytes. A take of the shipped "
    "model needs about 2 MiB, and the journal must stay writable."""
    max_queued: int = Field(default=200, ge=1)
    """Jobs are refused while this many wait."""
    max_lost_attempts: int = Field(default=3, ge=1)
    """A job fails after this many workers died on it. Source: Flamenco's default of 3."""
    hang_timeout_s: float = Field(default=300.0, gt=0)
    """Seconds without a report after which a worker is killed. Ten of its usual steps count if "
    "they are longer. The default covers loading a 14B model from a slow disk."""
    cancel_grace_s: float = Field(default=10.0, ge=0)
    """Seconds that a cancelled job has to stop before its worker is killed."""
    watch_limit_s: float = Field(default=1800.0, gt=0)
    """Seconds after which `WatchJob` ends with OK, so that every client exercises resuming."""
    drain_grace_s: float = Field(default=5.0, ge=0)
    """Seconds that running calls have to end when the backend is told to stop."""

    @property
    def address(self) -> str:
        """Give `listen`, or its default for this system."""
        if self.listen:
            return self.listen
        if os.name != "posix":
            return LOOPBACK_ADDRESS
        return f"unix:{self.state / 'run' / 'backend.sock'}"
