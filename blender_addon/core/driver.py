# SPDX-License-Identifier: GPL-3.0-or-later
"""Drives requests against one backend to their ends.

A request is created, watched and fetched, or it is cancelled.

Everything here runs on the session's thread.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from layert2v_client import (
    ArtifactFormat,
    ArtifactNotFound,
    BackendFailed,
    BackendTimeout,
    BackendUnreachable,
    Client,
    ClientError,
    Job,
    JobNotFound,
    JobState,
    NotAuthorised,
    RequestConflict,
)

from .events import Event, FetchProgressed, LinkDown, ProgressChanged, RecordChanged
from .fetch import fetch_take
from .journal import Journal, merged
from .records import JobRecord, RecordState

RETRY_DELAY_S = 1.0
"""Seconds before a request that reached no backend is sent again."""
LONGEST_RETRY_S = 30.0
"""Most seconds between two attempts to send a cancel. The first wait is `RETRY_DELAY_S`."""

_STATES = {
    JobState.QUEUED: RecordState.QUEUED,
    JobState.RUNNING: RecordState.RUNNING,
    JobState.CANCELLING: RecordState.CANCELLING,
    JobState.CANCELLED: RecordState.CANCELLED,
}

_log = logging.getLogger(__name__)


class Driver:
    """Drives every request of a session, each in a task of its own.

    Args:
        client: The connection. None if the address is invalid, so that requests fail.
        address: Address of the backend.
        formats: Kinds of files that are fetched.
        tell: Receives every event, in order.
        look: Asks the session to look for the backend now.
    """

    def __init__(
        self,
        client: Client | None,
        address: str,
        formats: frozenset[ArtifactFormat],
        tell: Callable[[Event], None],
        look: Callable[[], None],
    ):
        self.tasks: dict[str, asyncio.Task[None]] = {}
        """The running task of each request."""
        self._client = client
        self._address = address
        self._formats = formats
        self._tell = tell
        self._look = look
        self._live: dict[str, tuple[JobRecord, Journal]] = {}
        self._unsent: set[str] = set()

    @property
    def _backend(self) -> Client:
        assert self._client is not None
        return self._client

    def attach(self, journals: Sequence[Journal], project_uid: str) -> None:
        """Resume every unfinished request of a project, as `Session.attach` says."""
        for record, journal in merged(journals).values():
            if record.project_uid != project_uid or self._is_driven(record.request_id):
                continue
            if record.state.is_active and record.address == self._address:
                self.begin(record, journal)
            elif _waits_here(record):
                self._tell(RecordChanged(record, str(journal.folder)))

    def begin(self, record: JobRecord, journal: Journal) -> None:
        """Run a request to its end, as `Session.submit` says."""
        if self._client is None:
            error = f"'{self._address}' is no address of a backend."
            remedy = "Correct the backend address in the preferences."
            failed = replace(record, state=RecordState.FAILED, error=error, remedy=remedy)
            self.record(failed, journal)
            return
        if not self._is_driven(record.request_id):
            self._live[record.request_id] = record, journal
            if not record.revision:
                self._unsent.add(record.request_id)
            self._start(record.request_id, self._drive(record, journal))

    def _is_driven(self, request_id: str) -> bool:
        """Whether a task still runs. An ended task stays in `tasks` for another instant."""
        task = self.tasks.get(request_id)
        return task is not None and not task.done()

    def _start(self, request_id: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks[request_id] = task
        task.add_done_callback(lambda _: self._forget(request_id, task))

    def _forget(self, request_id: str, task: asyncio.Task[None]) -> None:
        if self.tasks.get(request_id) is task:
            del self.tasks[request_id]

    def record(self, record: JobRecord, journal: Journal) -> JobRecord:
        """Write a change to the journal, then report it. A failure to write is reported too."""
        known = self._live.get(record.request_id, (record, journal))[0]
        revision = 1 + max(record.revision, known.revision)
        record = replace(record.kept_promises(known), revision=revision)
        self._live[record.request_id] = record, journal
        try:
            journal.append(record)
        except OSError as error:
            # A cancel is sent even if it cannot be written.
            is_cancel = record.is_cancel_pending or record.state is RecordState.CANCELLED
            record = replace(
                record,
                state=record.state if is_cancel else RecordState.FAILED,
                error=f"{error.filename or journal.path} cannot be written ({error.strerror}).",
                remedy="Free some space or choose another folder for the .blend file.",
            )
            self._live[record.request_id] = record, journal
        self._tell(RecordChanged(record, str(journal.folder)))
        return record

    async def _drive(self, record: JobRecord, journal: Journal) -> None:
        # This is the border of the thread. A fault of one request must reach the artist and
        # must not end the thread.
        try:
            await self._drive_to_end(record, journal)
        except ClientError as error:
            self._fail(record.request_id, error.message, error.remedy, error)
        except OSError as error:
            message = f"{error.filename or journal.folder} cannot be written ({error.strerror})."
            self._fail(record.request_id, message, "Check the folder and its disk.", error)
        except Exception as error:  # noqa: BLE001
            _log.exception("request %s", record.request_id)
            message = f"The add-on met a fault of its own: {type(error).__name__}: {error}"
            self._fail(record.request_id, message, "See Blender's console.", error)

    def _fail(self, request_id: str, message: str, remedy: str, error: Exception) -> None:
        record, journal = self._live[request_id]
        violations = getattr(error, "violations", ())
        if violations:
            message = " ".join(f"{item.field}: {item.description}" for item in violations)
        failed = replace(
            record,
            state=RecordState.FAILED,
            error=message,
            remedy=remedy,
            is_over=isinstance(error, JobNotFound | ArtifactNotFound | RequestConflict),
        )
        self.record(failed, journal)

    async def _drive_to_end(self, record: JobRecord, journal: Journal) -> None:
        record = self.record(replace(record, error="", remedy=""), journal)
        if record.state is RecordState.FAILED:
            return
        if record.is_cancel_asked and not record.is_import_asked:
            await self._finish_cancel(record.request_id)
            return
        if not record.job:
            record = await self._create(record.request_id)
        job = await self._watch(record.request_id)
        if job.state is JobState.FAILED:
            message = job.error.message if job.error else "The backend gave no reason."
            self._change(record.request_id, state=RecordState.FAILED, error=message, is_over=True)
        elif job.state is JobState.SUCCEEDED:
            await self._fetch(job, journal, record.request_id)

    def _change(self, request_id: str, **changes: Any) -> JobRecord:
        record, journal = self._live[request_id]
        return self.record(replace(record, **changes), journal)

    async def _create(self, request_id: str) -> JobRecord:
        record = self._live[request_id][0]
        while True:
            try:
                if request_id in self._unsent:
                    # A cancel must know whether the backend can have heard of the request.
                    await self._backend.server_info()
                    self._unsent.discard(request_id)
                job = await self._backend.create_job(record.asked, request_id)
            except (BackendUnreachable, BackendTimeout) as error:
                self._tell_link(error)
                await asyncio.sleep(RETRY_DELAY_S)
            else:
                state = self._live[request_id][0].state
                is_new = state is RecordState.SUBMITTING
                return self._change(
                    request_id, job=job.name, state=RecordState.QUEUED if is_new else state
                )

    async def _watch(self, request_id: str) -> Job:
        """Follow the job to its end, and report events and changes of state on the way."""
        record = self._live[request_id][0]
        async for event in self._backend.watch_job(
            record.job, record.last_sequence, on_link=self._tell_link
        ):
            if event.progress is not None:
                self._tell(ProgressChanged(request_id, event.progress))
            elif event.state in _STATES:
                state = _STATES[event.state]
                if self._live[request_id][0].is_cancel_pending and state.is_active:
                    state = RecordState.CANCELLING
                self._change(request_id, state=state, last_sequence=event.sequence)
        while True:
            try:
                return await self._backend.get_job(record.job)
            except (BackendUnreachable, BackendTimeout) as error:
                self._tell_link(error)
                await asyncio.sleep(RETRY_DELAY_S)

    def _tell_link(self, error: ClientError | None) -> None:
        if error is not None:
            self._tell(LinkDown(error.message, error.remedy))
        self._look()

    async def _fetch(self, job: Job, journal: Journal, request_id: str) -> None:
        record = self._change(request_id, state=RecordState.FETCHING, is_made=True)
        shot_folder = journal.folder.joinpath(*record.shot_folder.split("/"))

        def tell(fraction: float) -> None:
            self._tell(FetchProgressed(request_id, fraction))

        while True:
            try:
                take = await fetch_take(
                    self._backend, job, record, shot_folder, self._formats, tell
                )
                break
            except (BackendUnreachable, BackendTimeout) as error:
                self._tell_link(error)
                await asyncio.sleep(RETRY_DELAY_S)
        folder = take.folder.relative_to(journal.folder).as_posix()
        # Another process may have journaled the artist's cancel meanwhile.
        record = record.kept_promises(journal.records().get(request_id, record))
        self.record(replace(record, state=RecordState.READY, take_folder=folder), journal)

    def begin_cancel(self, record: JobRecord, journal: Journal) -> None:
        """Promise that a request ends, as `Session.cancel` says."""
        request_id = record.request_id
        record, journal = self._live.get(request_id, (record, journal))
        self._live[request_id] = record, journal
        if not record.state.is_active:
            self._change(request_id, is_cancel_asked=True)
            return
        is_known = bool(record.job) or request_id not in self._unsent
        is_open = is_known and record.state is not RecordState.FETCHING
        state = RecordState.CANCELLING if is_open else RecordState.CANCELLED
        self._change(request_id, is_cancel_asked=True, state=state)
        can_tell = self._client is not None and record.address == self._address
        if can_tell and not record.is_cancel_pending:
            self._start(request_id, self._drive_again(request_id, self.tasks.get(request_id)))

    async def _drive_again(self, request_id: str, running: asyncio.Task[None] | None) -> None:
        if running is not None:
            await cancel_all({running})
        record, journal = self._live[request_id]
        if record.state.is_active:
            await self._drive(record, journal)

    async def _finish_cancel(self, request_id: str) -> None:
        """Send the cancel until the backend confirms it, then follow the job to its end."""
        job = await self._tell_cancel(request_id)
        if self._live[request_id][0].error:
            self._change(request_id, error="")
        if job is not None and not job.state.is_terminal:
            try:
                job = await self._watch(request_id)
            except ClientError:  # The cancel arrived, but the job's end is lost.
                job = None
        is_made = job is not None and job.state is JobState.SUCCEEDED
        self._change(request_id, state=RecordState.CANCELLED, is_made=is_made)

    async def _tell_cancel(self, request_id: str) -> Job | None:
        """Send the cancel until it succeeds. Give None if the backend has no job for it.

        A request whose reply was lost is sent again first. The reply names its job.
        """
        delay_s = RETRY_DELAY_S
        while True:
            try:
                record = self._live[request_id][0]
                if not record.job:
                    record = await self._create(request_id)
                return await self._backend.cancel_job(record.job)
            except (BackendUnreachable, BackendTimeout, BackendFailed, NotAuthorised) as error:
                self._tell_link(error if isinstance(error, BackendUnreachable) else None)
                message = f"The backend has not heard the cancel yet: {error.message}"
                if self._live[request_id][0].error != message:
                    self._change(request_id, error=message)
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, LONGEST_RETRY_S)
            except ClientError:
                return None  # A refused request or a vanished job runs nowhere.


def _waits_here(record: JobRecord) -> bool:
    """Whether a request has ended with a take that the artist has not seen yet."""
    is_failed = record.state is RecordState.FAILED and record.is_made
    return record.state is RecordState.READY or record.is_offered or is_failed


async def cancel_all(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel until all have ended, because grpclib loses a cancellation with a lost stream."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=0.1)
