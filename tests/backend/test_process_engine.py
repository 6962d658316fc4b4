import asyncio
import errno
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from layert2v_backend import process_engine as process_engine_module
from layert2v_backend.errors import WorkerLost, WorkerNotStarted
from layert2v_backend.process_engine import ProcessEngine, ProcessOptions
from layert2v_backend.worker_protocol import Finished, StageProgress, Stopped, Task, WorkerMessage
from support import scripted_worker
from support.journal_entries import SHOT
from support.waiting import HANG_S, await_that

WORKER = (sys.executable, scripted_worker.__file__)

pytestmark = pytest.mark.slow


def task(folder: Path, prompt: str = "", job: str = "a", attempt: int = 1) -> Task:
    shot = replace(SHOT, prompt=prompt)
    return Task(job, attempt, shot, str(folder), str(folder / "artifacts"))


@asynccontextmanager
async def process_engine(folder: Path, **options: Any) -> AsyncIterator[ProcessEngine]:
    engine = ProcessEngine(ProcessOptions(folder / "worker.log", command=WORKER, **options))
    try:
        yield engine
    finally:
        await engine.close()


async def messages(engine: ProcessEngine, wanted: Task) -> list[WorkerMessage]:
    return [message async for message in engine.run(wanted)]


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await asyncio.wait_for(test(), HANG_S)

    asyncio.run(within())


def test_a_task_reports_its_steps_and_its_take(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            *steps, last = await messages(engine, task(tmp_path))

        assert [step.step for step in steps if isinstance(step, StageProgress)] == [0, *range(7)]
        assert isinstance(last, Finished)
        assert "noise" in (tmp_path / "worker.log").read_text()

    run(test)


def test_the_worker_stays_warm_between_tasks(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            await engine.warm(str(tmp_path / "some-model"))
            pid = engine.pid
            await messages(engine, task(tmp_path))
            await messages(engine, task(tmp_path, job="b"))

            assert engine.pid == pid
        assert "warm some-model" in (tmp_path / "worker.log").read_text()

    run(test)


def test_it_says_when_a_warmed_worker_holds_its_model(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            assert not engine.is_model_loaded
            await engine.warm(str(tmp_path / "some-model"))
            assert engine._warming is not None
            await engine._warming
            assert engine.is_model_loaded

            with pytest.raises(WorkerLost):
                await messages(engine, task(tmp_path, "die"))
            assert not engine.is_model_loaded

    run(test)


def test_a_damaged_model_is_not_loaded_and_the_worker_still_takes_tasks(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            await engine.warm(str(tmp_path / "damaged"))
            assert engine._warming is not None
            await engine._warming
            assert not engine.is_model_loaded

            last = (await messages(engine, task(tmp_path)))[-1]
            assert isinstance(last, Finished)
            assert engine.is_model_loaded

    run(test)


@pytest.mark.parametrize(("prompt", "words"), [("die", "signal 9"), ("garbage", "cannot be read")])
def test_a_worker_that_breaks_is_lost_and_the_next_task_gets_another(
    tmp_path: Path, prompt: str, words: str
) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            with pytest.raises(WorkerLost, match=words):
                await messages(engine, task(tmp_path, prompt))

            again = await messages(engine, task(tmp_path, "die", attempt=2))
            assert isinstance(again[-1], Finished)

    run(test)


def test_a_worker_whose_device_failed_is_ended_and_its_task_can_be_tried_again(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            await engine.warm("x")
            pid = engine.pid
            with pytest.raises(WorkerLost, match="the device failed"):
                await messages(engine, task(tmp_path, "device"))
            assert engine.pid is None

            again = await messages(engine, task(tmp_path, "device", attempt=2))
            assert isinstance(again[-1], Finished)
            assert engine.pid != pid

    run(test)


def test_an_engine_ends_the_worker_that_its_folder_names(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as former, process_engine(tmp_path) as engine:
            await former.warm("x")
            child = former._child
            assert child is not None
            os.kill(child.pid, signal.SIGSTOP)

            await engine.end_former_workers()

            assert not psutil.pid_exists(child.pid)
            await child.wait()

    run(test)


def test_a_worker_that_died_while_idle_is_replaced(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            await messages(engine, task(tmp_path, "leave"))
            child = engine._child
            assert child is not None
            await child.wait()

            last = (await messages(engine, task(tmp_path, job="b")))[-1]
            assert isinstance(last, Finished)

    run(test)


def test_a_worker_that_hangs_is_killed_and_lost(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path, hang_timeout_s=0.5) as engine:
            await engine.warm("x")
            with pytest.raises(WorkerLost, match="reported nothing"):
                await messages(engine, task(tmp_path, "hang"))

            assert engine.pid is None

    run(test)


def test_a_worker_that_is_stopped_by_a_signal_is_killed_and_lost(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path, hang_timeout_s=0.5) as engine:

            async def stop_it() -> None:
                async for _ in engine.run(task(tmp_path, "wait")):
                    if engine.pid is not None:
                        os.kill(engine.pid, signal.SIGSTOP)

            with pytest.raises(WorkerLost, match="reported nothing"):
                await stop_it()

    run(test)


def test_cancel_stops_at_the_next_step(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            seen: list[WorkerMessage] = []
            async for report in engine.run(task(tmp_path, "wait")):
                seen.append(report)
                if len(seen) == 2:
                    await engine.cancel("a", 1)
            assert isinstance(seen[-1], Stopped)
            pid = engine.pid

            assert isinstance((await messages(engine, task(tmp_path, job="b")))[-1], Finished)
            assert engine.pid == pid

    run(test)


def test_cancel_of_another_attempt_or_job_stops_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path, cancel_grace_s=0.0) as engine:
            seen: list[WorkerMessage] = []
            async for report in engine.run(task(tmp_path, "slow", attempt=2)):
                seen.append(report)
                await engine.cancel("a", 1)
                await engine.cancel("b", 2)

            assert isinstance(seen[-1], Finished)

    run(test)


def test_cancel_before_the_worker_is_there_is_heard(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            await engine.cancel("a", 1)

            last = (await messages(engine, task(tmp_path, "wait")))[-1]
            assert isinstance(last, Stopped)

    run(test)


def test_a_worker_that_does_not_hear_a_cancel_is_killed(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path, cancel_grace_s=0.2) as engine:

            async def cancel_it() -> None:
                async for message in engine.run(task(tmp_path, "hang")):
                    # It hangs from step 2 on. Before that it hears a cancel at its next step.
                    if isinstance(message, StageProgress) and message.step == 2:
                        await engine.cancel("a", 1)

            with pytest.raises(WorkerLost, match="signal 9"):
                await cancel_it()
            assert engine.pid is None

    run(test)


def test_closing_the_engine_ends_the_worker(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            await engine.warm("x")
            pid = engine.pid
            assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(WorkerLost, match="stopping"):
            await messages(engine, task(tmp_path))

    run(test)


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("can't start new thread"),
    ],
)
def test_a_worker_that_cannot_be_started_fails_the_task_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    async def fail(*args: object, **kwargs: object) -> None:
        raise failure

    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            with monkeypatch.context() as patch:
                patch.setattr(asyncio, "create_subprocess_exec", fail)
                await engine.warm("some-model")
                with pytest.raises(WorkerNotStarted, match=r"too many|no memory") as caught:
                    await messages(engine, task(tmp_path))
                assert str(failure) not in str(caught.value)

            assert isinstance((await messages(engine, task(tmp_path)))[-1], Finished)

    run(test)


def test_a_log_that_cannot_be_opened_costs_the_log_and_not_the_task(tmp_path: Path) -> None:
    (tmp_path / "worker.log").mkdir()

    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            assert isinstance((await messages(engine, task(tmp_path)))[-1], Finished)

    run(test)


def test_warming_while_a_task_runs_does_not_disturb_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            seen: list[WorkerMessage] = []
            async for report in engine.run(task(tmp_path, "slow")):
                seen.append(report)
                await engine.warm(str(tmp_path / "some-model"))

            assert isinstance(seen[-1], Finished)
            assert isinstance((await messages(engine, task(tmp_path, job="b")))[-1], Finished)

    run(test)


def test_a_task_that_comes_while_the_worker_starts_to_warm_is_not_disturbed(
    tmp_path: Path,
) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            warming, seen = await asyncio.gather(
                engine.warm(str(tmp_path / "some-model")), messages(engine, task(tmp_path))
            )
            assert warming is None
            assert isinstance(seen[-1], Finished)

    run(test)


def test_closing_loses_a_task_that_waits_for_a_model_and_cancels_nobody(tmp_path: Path) -> None:
    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            await engine.warm(str(tmp_path / "endless"))
            running = engine.run(task(tmp_path))
            await anext(running)
            following = asyncio.create_task(anext(running))
            log = tmp_path / "worker.log"
            await asyncio.to_thread(await_that, lambda: "endless" in log.read_text(), "the load")

            await engine.close()

            with pytest.raises(WorkerLost):
                await following

    run(test)


def test_a_report_that_is_too_long_loses_the_worker_and_not_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_engine_module, "_MAX_LINE_BYTES", 50)

    async def test() -> None:
        async with process_engine(tmp_path) as engine:
            with pytest.raises(WorkerLost, match="too long"):
                await messages(engine, task(tmp_path))

    run(test)
