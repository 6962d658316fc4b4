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
    """The user's data folder for this program, as the operating system has it."""
    return Path(platformdirs.user_data_dir("layert2v", appauthor=False)) / "backend"


class Settings(BaseSettings):
    """What a backend may be told. Lists in the environment are JSON."""

    model_config = SettingsConfigDict(env_prefix="LAYERT2V_", frozen=True, extra="forbid")

    state: Path = Field(default_factory=default_state_folder)
    """Folder of the journal, the takes and the worker's log. Nothing is written outside it, except
    the socket where `listen` names another folder."""
    listen: str = ""
    """`unix:PATH` or `HOST:PORT` on the loopback interface; port 0 takes a free one. Empty: a
    socket in the state folder, or `LOOPBACK_ADDRESS` where there are no unix sockets: where clients
    look first."""
    models_dirs: tuple[Path, ...] = ()
    """Folders that are models, or hold models, beside the shipped `tiny`."""
    threads: int = Field(default=0, ge=0, le=1024)
    """Threads of the worker; 0: one for each processor."""
    memory_bytes: int = Field(default=0, ge=0)
    """Memory of the worker's device that jobs may use; 0: what it has. A shot that needs more in
    any way is refused."""
    offload: Literal["auto", "none", "model", "group"] = "auto"
    """What of the weights waits in main memory where a GPU is small; `auto`: as little as fits."""
    weights: Literal["full", "fp8"] = "full"
    """`fp8` halves the memory of the transformer's weights: approximate."""
    step_cache: float = Field(default=0.0, ge=0, le=1)
    """Skip steps that change less than this share: approximate; 0: skip none."""
    refresh_kept_every: int = Field(default=1, ge=1, le=200)
    """Recompute kept layers every so many steps where a layer is regenerated. 1 is exact; larger
    values are faster and approximate."""
    compile_blocks: bool = False
    """Compile the transformer's blocks: exact, slow at first, for GPUs."""
    precision: Choice = "auto"
    """Of the transformer; `auto`: bfloat16 where the processor or GPU has it natively."""
    prewarm: bool = True
    """Load the default model as soon as the backend serves, so that the first job need not."""
    min_free_bytes: int = Field(default=64 * MIB, ge=0)
    """Jobs are refused while the state folder's disk has fewer free bytes: a take of the shipped
    model needs about 2 MiB, the journal must stay writable."""
    max_queued: int = Field(default=200, ge=1)
    """Jobs are refused while this many wait."""
    max_lost_attempts: int = Field(default=3, ge=1)
    """A job fails after this many workers died on it. Source: Flamenco's default of 3."""
    hang_timeout_s: float = Field(default=300.0, gt=0)
    """A worker that reports nothing for so long, or for ten of its usual steps if that is longer,
    is killed. Covers loading a 14B model from a slow disk."""
    cancel_grace_s: float = Field(default=10.0, ge=0)
    """A cancelled job that has not stopped after so long has its worker killed."""
    watch_limit_s: float = Field(default=1800.0, gt=0)
    """`WatchJob` ends with OK after so long, so that every client exercises resuming."""
    drain_grace_s: float = Field(default=5.0, ge=0)
    """Seconds that running calls have to end when the backend is told to stop."""

    @property
    def address(self) -> str:
        """`listen`, or its default for this system."""
        if self.listen:
            return self.listen
        if os.name != "posix":
            return LOOPBACK_ADDRESS
        return f"unix:{self.state / 'run' / 'backend.sock'}"
