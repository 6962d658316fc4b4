# SPDX-License-Identifier: GPL-3.0-or-later
"""The session: one daemon thread with one asyncio loop, which alone talks to a backend.

Commands go in as method calls, and events come out of `Session.events`. No method blocks. Every
request is written into its journal before it is sent and with every change of state.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from layert2v_client import ArtifactFormat, Client, ClientError

from .driver import Driver, cancel_all
from .events import Event, LinkDown, LinkUp
from .journal import Journal
from .records import JobRecord, RecordState

FIRST_PROBE_S = 0.1
"""Seconds before the second look for a backend that does not answer. They double from there. A
backend that is being started serves after 0.8 s."""
PROBE_WHEN_DOWN_S = 2.0
"""Most seconds between two looks for a backend that does not answer."""
PROBE_WHEN_UP_S = 15.0
"""Seconds between two looks at a backend that answers. While its model loads, the first look comes
after `FIRST_PROBE_S`, and each wait is twice as long as the one before."""
_log = logging.getLogger(__name__)


class Session:
    """Runs requests against one backend until closed.

    The owner drains `events`, which holds all events in order. Closing stops watching, but never
    the backend's jobs, which are found again through the journal.
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
        self._driver: Driver | None = None
        self._backlog: list[Callable[[Driver], object]] = []
        self._stop, self._wake = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="layert2v", daemon=True)
        self._thread.start()

    # -- commands, from any thread ------------------------------------------------------------

    def submit(self, record: JobRecord, journal: Journal) -> None:
        """Create, watch and fetch a request to its end. A request with a job continues it."""
        self._call(lambda driver: driver.begin(record, journal))

    def attach(self, journals: Sequence[Journal], project_uid: str) -> None:
        """Resume every unfinished request of a project, as its journals say.

        Requests to other backends are left alone, but takes that wait here are announced.
        """
        self._call(lambda driver: driver.attach(journals, project_uid))

    def cancel(self, record: JobRecord, journal: Journal) -> None:
        """Promise in the journal that a request ends, and send the cancel until it is received."""
        self._call(lambda driver: driver.begin_cancel(record, journal))

    def mark(self, record: JobRecord, journal: Journal, state: RecordState) -> None:
        """Note in the journal that the main thread imported or dismissed a take."""
        self._call(lambda driver: driver.record(replace(record, state=state), journal))

    def probe(self) -> None:
        """Look for the backend now."""
        self._call(lambda _: self._wake.set())

    def close(self, timeout_s: float = 2.0) -> None:
        """End the thread and wait at most `timeout_s`. The backend's jobs continue."""
        if self._loop.is_closed():
            return
        self._call(lambda _: self._stop.set())
        self._thread.join(timeout_s)

    # -- the thread -----------------------------------------------------------------------------

    def _call(self, command: Callable[[Driver], object]) -> None:
        """Run a command on the thread, in order. It waits until the driver is ready."""

        def run_or_keep() -> None:
            if self._driver is None:
                self._backlog.append(command)
            else:
                command(self._driver)

        try:
            self._loop.call_soon_threadsafe(run_or_keep)
        except RuntimeError:  # The loop is closed, and nothing runs any more.
            _log.debug("a command came after the session's end")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _main(self) -> None:
        client = None
        try:
            client = Client.connect(self.address, token=self._token)
        except ClientError as error:
            self.events.put(LinkDown(error.message, error.remedy))
        driver = Driver(client, self.address, self._formats, self.events.put, self._wake.set)
        self._driver = driver
        for command in self._backlog:
            command(driver)
        monitor = {asyncio.create_task(self._monitor(client))} if client else set()
        await self._stop.wait()
        await cancel_all({*monitor, *driver.tasks.values()})
        if client:
            client.close()

    async def _monitor(self, client: Client) -> None:
        down_s = loading_s = FIRST_PROBE_S
        while True:
            try:
                info = await client.server_info()
                self.events.put(LinkUp(info, await client.list_models()))
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
