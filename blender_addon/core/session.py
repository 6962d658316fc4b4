# SPDX-License-Identifier: GPL-3.0-or-later
"""One daemon thread with one asyncio loop: the only part that talks to a backend.

Commands go in as method calls, events come out of `Session.events`. No method blocks. Every
request is written into its journal before it is sent and with every change of state.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from layert2v_client import (
    ArtifactFormat,
    BackendTimeout,
    BackendUnreachable,
    Client,
    ClientError,
    Job,
    JobState,
)

from .events import Event, FetchProgressed, LinkDown, LinkUp, Logged, ProgressChanged, RecordChanged
from .fetch import fetch_take
from .journal import Journal
from .records import JobRecord, RecordState

FIRST_PROBE_S = 0.1
"""Seconds before the second look for a backend that does not answer; it doubles from there. One
that is being started serves after 0.8 s."""
PROBE_WHEN_DOWN_S = 2.0
"""Most seconds between two looks for a backend that does not answer."""
PROBE_WHEN_UP_S = 15.0
"""Seconds between two looks at a backend that answers. While its model loads it is looked at after
`FIRST_PROBE_S` and then after twice as long each time."""
RETRY_DELAY_S = 1.0
"""Seconds before a request that met no backend is sent again."""

_STATES = {
    JobState.QUEUED: RecordState.QUEUED,
    JobState.RUNNING: RecordState.RUNNING,
    JobState.CANCELLING: RecordState.CANCELLING,
    JobState.CANCELLED: RecordState.CANCELLED,
}

_log = logging.getLogger(__name__)


class Session:
    """Runs requests against one backend until closed.

    `events` holds what happened, in order; the owner drains it. Closing stops watching, never
    the backend's jobs: they are found again through the journal.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str = "",
        formats: frozenset[ArtifactFormat] = frozenset({ArtifactFormat.PNG}),
    ):
        self.address = address
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._token = token
        self._formats = formats
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._live: dict[str, tuple[JobRecord, Journal]] = {}
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="layert2v", daemon=True)
        self._thread.start()

    # -- commands, from any thread ------------------------------------------------------------

    def submit(self, record: JobRecord, journal: Journal) -> None:
        """Run a request to its end: create, watch, fetch. One that has a job goes on with it."""
        self._call(self._begin, record, journal)

    def attach(self, journal: Journal, project_uid: str) -> None:
        """Go on with every unfinished request of a project, as its journal says.

        Requests to other backends are left alone, but ready takes are announced.
        """
        self._call(self._attach, journal, project_uid)

    def cancel(self, request_id: str) -> None:
        """Ask the backend to stop a request's job, or drop it when none was made yet."""
        self._call(self._begin_cancel, request_id)

    def mark(self, record: JobRecord, journal: Journal, state: RecordState) -> None:
        """Write what the main thread did with a take: imported or dismissed."""
        self._call(self._record, replace(record, state=state), journal)

    def probe(self) -> None:
        """Look for the backend now."""
        self._call(self._wake.set)

    def close(self, timeout_s: float = 2.0) -> None:
        """End the thread; waits at most `timeout_s`. The backend's jobs go on."""
        if self._loop.is_closed():
            return
        self._call(self._stop.set)
        self._thread.join(timeout_s)

    # -- the thread -----------------------------------------------------------------------------

    def _call(self, function: Any, *arguments: Any) -> None:
        self._ready.wait(5)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _main(self) -> None:
        self._stop, self._wake = asyncio.Event(), asyncio.Event()
        try:
            self._client = Client.connect(self.address, token=self._token)
        except ClientError as error:
            self._ready.set()
            self.events.put(LinkDown(error.message, error.remedy))
            await self._stop.wait()
            return
        self._ready.set()
        monitor = asyncio.create_task(self._monitor())
        await self._stop.wait()
        await _cancel_all({monitor, *self._tasks.values()})
        self._client.close()

    async def _monitor(self) -> None:
        down_s = loading_s = FIRST_PROBE_S
        while True:
            try:
                info = await self._client.server_info()
                self.events.put(LinkUp(info, await self._client.list_models()))
                delay_s = PROBE_WHEN_UP_S if info.is_model_loaded else loading_s
                loading_s = min(2 * delay_s, PROBE_WHEN_UP_S)
                down_s = FIRST_PROBE_S
            except ClientError as error:
                self.events.put(LinkDown(error.message, error.remedy))
                delay_s, down_s = down_s, min(down_s * 2, PROBE_WHEN_DOWN_S)
                loading_s = FIRST_PROBE_S
            try:
                await asyncio.wait_for(self._wake.wait(), delay_s)
                down_s = FIRST_PROBE_S
            except TimeoutError:
                continue
            finally:
                self._wake.clear()

    def _attach(self, journal: Journal, project_uid: str) -> None:
        for record in journal.records().values():
            if record.project_uid != project_uid:
                continue
            if record.state is RecordState.READY:
                self.events.put(RecordChanged(record, str(journal.folder)))
            elif record.state.is_active and record.address == self.address:
                self._begin(record, journal)

    def _begin(self, record: JobRecord, journal: Journal) -> None:
        if not hasattr(self, "_client"):
            self._record(replace(record, state=RecordState.FAILED, error="No backend."), journal)
            return
        if record.request_id not in self._tasks:
            self._live[record.request_id] = record, journal
            self._start(record.request_id, self._drive(record, journal))

    def _start(self, request_id: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks[request_id] = task
        task.add_done_callback(lambda _: self._forget(request_id, task))

    def _forget(self, request_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(request_id) is task:
            del self._tasks[request_id]

    def _record(self, record: JobRecord, journal: Journal) -> JobRecord:
        """Journal a change, then tell it. A journal that cannot be written is told, too."""
        self._live[record.request_id] = record, journal
        try:
            journal.append(record)
        except OSError as error:
            record = replace(
                record,
                state=RecordState.FAILED,
                error=f"{journal.path} cannot be written ({error.strerror}).",
                remedy="Free some space or choose another folder for the .blend file.",
            )
            self._live[record.request_id] = record, journal
        self.events.put(RecordChanged(record, str(journal.folder)))
        return record

    async def _drive(self, record: JobRecord, journal: Journal) -> None:
        # The border of the thread: whatever goes wrong with one request must reach the artist
        # and must not end the thread.
        try:
            await self._drive_to_end(record, journal)
        except ClientError as error:
            self._fail(record.request_id, str(error.message), error.remedy, error)
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
        failed = replace(record, state=RecordState.FAILED, error=message, remedy=remedy)
        self._record(failed, journal)

    async def _drive_to_end(self, record: JobRecord, journal: Journal) -> None:
        record = self._record(replace(record, error="", remedy=""), journal)
        if record.state is RecordState.FAILED:
            return
        if not record.job:
            job = await self._create(record)
            record = replace(record, job=job.name, state=RecordState.QUEUED)
            record = self._record(record, journal)
        job = await self._watch(record, journal)
        if job.state is JobState.FAILED:
            error = job.error
            message = error.message if error else "The backend gave no reason."
            failed = replace(self._live[record.request_id][0], state=RecordState.FAILED)
            self._record(replace(failed, error=message), journal)
        elif job.state is JobState.SUCCEEDED:
            await self._fetch(job, journal, record.request_id)

    async def _create(self, record: JobRecord) -> Job:
        while True:
            try:
                return await self._client.create_job(record.asked, record.request_id)
            except (BackendUnreachable, BackendTimeout) as error:
                self.events.put(LinkDown(error.message, error.remedy))
                await asyncio.sleep(RETRY_DELAY_S)

    async def _watch(self, record: JobRecord, journal: Journal) -> Job:
        """Follow the job to its end; events and changes of state go out on the way."""
        request_id = record.request_id
        async for event in self._client.watch_job(
            record.job, record.last_sequence, on_link=self._tell_link
        ):
            if event.progress is not None:
                self.events.put(ProgressChanged(request_id, event.progress))
            elif event.message is not None:
                self.events.put(Logged(request_id, event.message))
            elif event.state in _STATES:
                current = replace(
                    self._live[request_id][0],
                    state=_STATES[event.state],
                    last_sequence=event.sequence,
                )
                self._record(current, journal)
        while True:
            try:
                return await self._client.get_job(record.job)
            except (BackendUnreachable, BackendTimeout) as error:
                self._tell_link(error)
                await asyncio.sleep(RETRY_DELAY_S)

    def _tell_link(self, error: ClientError | None) -> None:
        if error is not None:
            self.events.put(LinkDown(error.message, error.remedy))
        self._wake.set()

    async def _fetch(self, job: Job, journal: Journal, request_id: str) -> None:
        record = self._record(
            replace(self._live[request_id][0], state=RecordState.FETCHING), journal
        )
        shot_folder = journal.folder.joinpath(*record.shot_folder.split("/"))

        def tell(fraction: float) -> None:
            self.events.put(FetchProgressed(request_id, fraction))

        while True:
            try:
                take = await fetch_take(self._client, job, record, shot_folder, self._formats, tell)
                break
            except (BackendUnreachable, BackendTimeout) as error:
                self._tell_link(error)
                await asyncio.sleep(RETRY_DELAY_S)
        folder = take.folder.relative_to(journal.folder).as_posix()
        self._record(replace(record, state=RecordState.READY, take_folder=folder), journal)

    def _begin_cancel(self, request_id: str) -> None:
        if request_id in self._live:
            self._start(f"cancel {request_id}", self._cancel(request_id))

    async def _cancel(self, request_id: str) -> None:
        record, journal = self._live[request_id]
        if not record.state.is_active:
            return
        if not record.job or record.state is RecordState.FETCHING:
            task = self._tasks.get(request_id)
            if task is not None:
                task.cancel()
            self._record(replace(record, state=RecordState.CANCELLED), journal)
            return
        self._record(replace(record, state=RecordState.CANCELLING), journal)
        try:
            await self._client.cancel_job(record.job)
        except ClientError as error:
            self.events.put(Logged(request_id, f"Cancel was not heard: {error}"))


async def _cancel_all(tasks: set[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: grpclib replaces a cancellation that meets a lost stream."""
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=0.1)
