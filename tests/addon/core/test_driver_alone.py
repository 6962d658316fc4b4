"""A driver in the test's own loop, so that what comes between two of its steps is certain."""

import asyncio
from collections.abc import Awaitable, Callable

from blender_addon.core import driver as driver_module
from blender_addon.core.driver import Driver
from blender_addon.core.events import Event, RecordChanged
from blender_addon.core.records import RecordState
from layert2v_client import ArtifactFormat, Client
from support.fake_backend import FakeBackend, invalid_shot
from support.requests_of_session import recorded
from support.waiting import HANG_S

OnEvent = Callable[[Driver, Event], object]


def drive(
    backend: FakeBackend, on_event: OnEvent, work: Callable[[Driver], Awaitable[object]]
) -> list[RecordState]:
    """Let a driver work; give the states that it told, in order."""
    states = []

    async def live() -> None:
        def tell(event: Event) -> None:
            if isinstance(event, RecordChanged):
                states.append(event.record.state)
            on_event(driver, event)

        async with Client.connect(backend.address) as client:
            driver = Driver(
                client, backend.address, frozenset({ArtifactFormat.PNG}), tell, lambda: None
            )
            await work(driver)
            while driver.tasks:
                await asyncio.wait(driver.tasks.values())
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(live(), HANG_S))
    return states


def test_a_request_that_is_tried_again_at_once_is_not_lost(backend, journal):
    backend.script.refusals["CreateJob"].append(invalid_shot("shot.width", "97: choose 96."))
    record = recorded(address=backend.address)

    def try_again(driver: Driver, event: Event) -> None:
        if isinstance(event, RecordChanged) and event.record.state is RecordState.FAILED:
            # As a press that comes before the loop has cleared away the task that ends here.
            asyncio.get_running_loop().call_soon(driver.begin, record, journal)

    async def work(driver: Driver) -> None:
        driver.begin(record, journal)

    states = drive(backend, try_again, work)

    assert RecordState.FAILED in states
    assert states[-1] is RecordState.READY


def test_a_cancel_ends_a_fetch_and_nothing_is_begun_again(backend, journal, monkeypatch):
    is_fetching = asyncio.Event()

    async def never(*_):
        is_fetching.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(driver_module, "fetch_take", never)
    record = recorded(address=backend.address)

    async def work(driver: Driver) -> None:
        driver.begin(record, journal)
        await is_fetching.wait()
        driver.begin_cancel(record, journal)

    states = drive(backend, lambda driver, event: None, work)

    assert states[-2:] == [RecordState.FETCHING, RecordState.CANCELLED]
    assert journal.records()["one"].is_offered


def test_a_job_that_somebody_else_cancels_ends_its_request(backend, journal):
    backend.script.hold = True
    record = recorded(address=backend.address)
    is_running = asyncio.Event()

    def note(driver: Driver, event: Event) -> None:
        if isinstance(event, RecordChanged) and event.record.state is RecordState.RUNNING:
            is_running.set()

    async def work(driver: Driver) -> None:
        driver.begin(record, journal)
        await is_running.wait()
        async with Client.connect(backend.address) as other:
            await other.cancel_job("jobs/job0001")

    states = drive(backend, note, work)

    assert states[-1] is RecordState.CANCELLED
    assert not journal.records()["one"].is_cancel_asked


def test_a_job_that_is_being_cancelled_is_not_shown_as_running_again(backend, journal):
    backend.script.hold = backend.script.keep_cancelling = True
    record = recorded(address=backend.address)

    def end(driver: Driver, event: Event) -> None:
        if isinstance(event, RecordChanged) and event.record.last_sequence == 5:
            asyncio.get_running_loop().run_in_executor(None, backend.finish)

    async def work(driver: Driver) -> None:
        async with Client.connect(backend.address) as other:
            job = await other.create_job(record.asked, record.request_id)
        # As another process that has heard nothing of the job yet.
        known = recorded(address=backend.address, state=RecordState.QUEUED, job=job.name)
        driver.begin_cancel(known, journal)

    states = drive(backend, end, work)

    assert set(states) == {RecordState.CANCELLING, RecordState.CANCELLED}
