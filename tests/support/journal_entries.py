"""Values for a journal. As a program, a writer that goes on until it is killed."""

import sys
from pathlib import Path

from layert2v_backend.jobs import Artifact
from layert2v_backend.journal import Journal
from layert2v_backend.worker_protocol import Finished
from layert2v_domain.artifact import ArtifactFormat, ArtifactKind
from layert2v_domain.job import FinishingReport, JobStage, Progress
from layert2v_domain.shot import LayerRole, LayerSpec, Shot

LAYERS = (
    LayerSpec(LayerRole.BACKGROUND, "a meadow", 1),
    LayerSpec(LayerRole.FOREGROUND, "a fox", 2**63 - 1),
)
SHOT = Shot(
    LAYERS, model="sketch", width=64, height=48, num_frames=5, num_inference_steps=4,
    guidance_scale=3.0,
)  # fmt: skip
REPORT = FinishingReport(20.0, 50.0, 48.0, 3, 0.7, 0.01, 0.02, 0.1, 0.2, (2,), (0, 9))
FRAME = Artifact(
    "full/png/full_0001.png", ArtifactKind.FULL, ArtifactFormat.PNG, -1, 0, 3, "ab" * 32
)
FINISHED = Finished((FRAME,), REPORT, {"denoising": 1.0})
PROGRESS = Progress(JobStage.DENOISING, 1, 4, 0.2, None)


def write_for_ever(path: Path) -> None:
    """Make and finish jobs, and name each on stdout once it is acknowledged."""
    journal = Journal(path)
    journal.recover(3, 0.0)
    while True:
        job, _ = journal.create(SHOT, "hash", 1.0)
        sys.stdout.write(f"created {job.id}\n")
        sys.stdout.flush()
        begun = journal.begin_next(2.0)
        assert begun is not None
        journal.add_progress(begun.id, begun.attempt, PROGRESS, 2.5)
        journal.succeed(begun.id, begun.attempt, FINISHED, 3.0)
        sys.stdout.write(f"succeeded {begun.id}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    write_for_ever(Path(sys.argv[1]))
