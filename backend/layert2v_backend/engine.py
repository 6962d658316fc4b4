"""The scheduler's view of an engine, which runs one task at a time and can stop it."""

from collections.abc import AsyncGenerator
from typing import Protocol

from layert2v_backend.worker_protocol import Task, WorkerMessage


class Engine(Protocol):
    """One slot in which tasks run, outside the front door. It keeps no records."""

    @property
    def is_model_loaded(self) -> bool:
        """Say whether a worker holds a model, so that a task starts at once."""

    async def end_former_workers(self) -> None:
        """End any workers that a former backend of this state folder left behind."""

    async def warm(self, model_folder: str) -> None:
        """Prepare for tasks with this model and return at once. The task reports failures.

        Does nothing while a task runs, because the task loads its own model.
        """

    def run(self, task: Task) -> AsyncGenerator[WorkerMessage, None]:
        """Run one task and yield its worker's messages. Only the last is no `StageProgress`.

        Called again only after the former generator has ended or was closed. Closing it early
        stops the worker.

        Raises:
            WorkerLost: The worker died or hung.
            WorkerNotStarted: No worker could be started, and another try would fail too.
        """

    async def cancel(self, job: str, attempt: int) -> None:
        """Ask a task to stop. Its run soon ends with `Stopped`, or `WorkerLost` if it was killed.

        No other attempt is touched, not even a later one.
        """

    async def close(self) -> None:
        """Stop any running task within seconds."""
