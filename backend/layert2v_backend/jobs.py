"""A job, its history and its files, as the journal holds them.

Frozen values only: no wire, no torch.
"""

import re
from dataclasses import dataclass, field

from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_domain.job import FinishingReport, JobError, JobState, Progress
from layert2v_domain.shot import Shot
from layert2v_words import UnknownWords

JOB_NAME = re.compile(r"jobs/([a-z0-9][a-z0-9-]{0,62})")
"""A job's name on the wire and in `KeptLayer`. Its group is the id inside the backend."""


@dataclass(frozen=True)
class Artifact:
    """One stored file of a take, known by its SHA-256."""

    path: str
    """Its path in a take's folder, such as `foreground_1/png/foreground_1_0001.png`."""
    kind: ArtifactKind
    """The picture or data that it holds."""
    format: ArtifactFormat
    """Its file format."""
    layer_index: int
    """The layer's place in the stack, where 0 is the background. -1 for full and manifest."""
    frame_index: int
    """Number of the frame, from 0. -1 if the file is not a frame."""
    size_bytes: int
    """Length."""
    sha256: str
    """The SHA-256 as 64 lower-case hexadecimal digits."""
    checksums: str = ""
    """Checksums of each MiB, 16 hexadecimal digits. See `checksums.sums_at`. Empty for takes of "
    "versions without checksums."""

    @property
    def id(self) -> str:
        """Its id within the job, `[a-z0-9-]{1,63}`, such as `foreground-1-png-0001`."""
        folder, _, name = self.path.rpartition("/")
        stem = name.rpartition(".")[0]
        number = stem.rpartition("_")[2]
        return f"{folder}/{number}".replace("/", "-").replace("_", "-") if folder else stem


def layer_folder(kind: ArtifactKind, layer_index: int) -> str:
    """Name a layer's folder in a take: `full`, `background`, `foreground_1`, `matte_1`."""
    is_numbered = kind in (ArtifactKind.FOREGROUND, ArtifactKind.MATTE)
    return f"{kind}_{layer_index}" if is_numbered else kind.value


def take_path(kind: ArtifactKind, form: ArtifactFormat, layer_index: int, frame_index: int) -> str:
    """Give a frame's path in a take's folder, such as `foreground_1/png/foreground_1_0001.png`.

    Frame files count from 0001, `frame_index` from 0.
    """
    folder = layer_folder(kind, layer_index)
    return f"{folder}/{form}/{folder}_{frame_index + 1:04d}.{form}"


@dataclass(frozen=True)
class Job:
    """The backend's unit of work, as the journal holds it."""

    id: str
    """`[a-z0-9-]{1,63}`."""
    shot: Shot
    """The shot, with every default filled in."""
    state: JobState
    """Its state."""
    attempt: int
    """Number of times that a worker has begun it."""
    last_sequence: int
    """Its latest event."""
    create_time: float
    """Time of its creation, in Unix seconds."""
    update_time: float
    """Time of its latest event, in Unix seconds."""
    error: JobError | None = None
    """The reason of its failure. Present when FAILED."""
    report: FinishingReport | None = None
    """The report of finishing. Present when SUCCEEDED and finishing ran."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Seconds per stage, keyed by `JobStage`. Present when SUCCEEDED."""
    unknown_words: tuple[UnknownWords, ...] = ()
    """Prompts that the model's vocabulary did not cover when the job was created."""


@dataclass(frozen=True)
class JobEvent:
    """One entry of a job's history."""

    sequence: int
    """Number of the event within its job, gapless, from 1."""
    attempt: int
    """The attempt that wrote it. 0 means the front door."""
    time: float
    """Time of the event, in Unix seconds."""
    what: JobState | Progress | str
    """A change of state, progress, or a sentence."""
