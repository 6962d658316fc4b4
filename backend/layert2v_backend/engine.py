"""What the scheduler asks of an engine: run one task at a time, stop it, go away."""

from collections.abc import AsyncGenerator
from typing import Protocol

from layert2v_backend.worker_protocol import Task, WorkerMessage


class Engine(Protocol):
    """One slot in which tasks run, somewhere else than in the front door. Keeps no truth."""

    @property
    def is_model_loaded(self) -> bool:
        """Whether a worker holds a model, so that a task starts at once."""

    async def end_former_workers(self) -> None:
        """End workers that a former backend of this state folder left behind, if any live."""

    async def warm(self, model_folder: str) -> None:
        """Make ready for tasks with this model; returns at once, failures show in the task.

        Does nothing while a task runs: that loads what it needs.
        """

    def run(self, task: Task) -> AsyncGenerator[WorkerMessage, None]:
        """Run one task and yield what its worker says; the last message is no `StageProgress`.

        Called again only after the former generator has ended or was closed. Closing it early
        stops the worker.

        Raises:
            WorkerLost: The worker died or hung.
            WorkerNotStarted: There could be no worker; another try would end as this one.
        """

    async def cancel(self, job: str, attempt: int) -> None:
        """Ask a task to stop: its run soon ends with `Stopped`, or `WorkerLost` if it was killed.

        Another attempt than the one named is never touched, also not a later one.
        """

    async def close(self) -> None:
        """Stop whatever runs, within seconds."""
