"""The typed client against the real front door, over a real socket; the engine is scripted."""

import asyncio
import hashlib
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from layert2v_backend.settings import Settings
from layert2v_client import (
    BackendFull,
    BackendUnreachable,
    Client,
    DamagedArtifact,
    InvalidShot,
    JobNotFound,
    JobState,
    KeptLayer,
    LayerRole,
    LayerSpec,
    NotFound,
    NotReady,
    RequestConflict,
    Shot,
    default_address,
)
from support.running_backend import running_backend, sketch_settings
from support.scripted_engine import NUM_STEPS, ScriptedEngine
from support.waiting import HANG_S
from support.wire_shots import write_sketch_model

BACKGROUND = LayerSpec(LayerRole.BACKGROUND, "a meadow")
FOX = LayerSpec(LayerRole.FOREGROUND, "a fox")
SHOT = Shot((BACKGROUND, FOX), model="sketch", seed=3)


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_sketch_model(tmp_path / "models" / "sketch")
    return sketch_settings(tmp_path, listen=f"unix:{tmp_path / 'run' / 'b.sock'}")


@pytest.fixture
def address(settings: Settings, engine: ScriptedEngine) -> Iterator[str]:
    with running_backend(settings, engine) as running:
        yield running.address


def talk(address: str, conversation: Callable[[Client], Awaitable[None]]) -> None:
    async def within() -> None:
        async with Client.connect(address) as client:
            await asyncio.wait_for(conversation(client), HANG_S)

    asyncio.run(within())


def new_id() -> str:
    return str(uuid.uuid4())


async def finished(client: Client, shot: Shot) -> str:
    job = await client.create_job(shot, new_id())
    async for _ in client.watch_job(job.name):
        pass
    return job.name


def test_a_shot_becomes_files_on_disk(address: str, tmp_path: Path) -> None:
    async def conversation(client: Client) -> None:
        job = await client.create_job(SHOT, new_id())
        events = [event async for event in client.watch_job(job.name)]
        ended = await client.get_job(job.name)
        artifacts = await client.list_artifacts(job.name)
        for artifact in artifacts:
            await client.download(artifact, tmp_path / "take" / artifact.path)

        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert ended.state is JobState.SUCCEEDED
        assert sum(event.progress is not None for event in events) == NUM_STEPS + 1
        assert len(artifacts) == 4 * 5
        for artifact in artifacts:
            content = (tmp_path / "take" / artifact.path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == artifact.sha256

    talk(address, conversation)


def test_a_kept_layer_has_the_same_hashes(address: str) -> None:
    async def conversation(client: Client) -> None:
        source = await finished(client, SHOT)
        kept = LayerSpec(LayerRole.BACKGROUND, "", kept=KeptLayer(source, 0))
        take = await finished(client, Shot((kept, FOX), model="sketch", seed=4))

        before = {it.path: it.sha256 for it in await client.list_artifacts(source)}
        after = {it.path: it.sha256 for it in await client.list_artifacts(take)}
        same = {path for path in before if before[path] == after[path]}
        assert {path.split("/")[0] for path in same} == {"background"}

    talk(address, conversation)


def test_a_refused_shot_names_its_fields(address: str) -> None:
    async def conversation(client: Client) -> None:
        empty = LayerSpec(LayerRole.FOREGROUND, "")

        with pytest.raises(InvalidShot) as caught:
            await client.create_job(Shot((BACKGROUND, empty), model="sketch", width=7), new_id())

        fields = {violation.field for violation in caught.value.violations}
        assert fields == {"shot.layers[1].prompt", "shot.width"}

    talk(address, conversation)


def test_refusals_have_their_kinds(address: str) -> None:
    async def conversation(client: Client) -> None:
        with pytest.raises(NotFound, match="sora"):
            await client.create_job(Shot((BACKGROUND, FOX), model="sora"), new_id())
        with pytest.raises(JobNotFound):
            await client.get_job("jobs/none")
        request_id = new_id()
        await client.create_job(SHOT, request_id)
        with pytest.raises(RequestConflict):
            await client.create_job(Shot((BACKGROUND, FOX), model="sketch", seed=9), request_id)

    talk(address, conversation)


def test_a_layer_of_an_unfinished_job_is_not_ready(address: str, engine: ScriptedEngine) -> None:
    engine.may_go_on.clear()

    async def conversation(client: Client) -> None:
        job = await client.create_job(SHOT, new_id())
        kept = LayerSpec(LayerRole.BACKGROUND, "", kept=KeptLayer(job.name, 0))
        with pytest.raises(NotReady):
            await client.create_job(Shot((kept, FOX), model="sketch"), new_id())
        engine.may_go_on.set()

    talk(address, conversation)


def test_a_cancelled_job_ends_its_watch(address: str, engine: ScriptedEngine) -> None:
    engine.may_go_on.clear()

    async def conversation(client: Client) -> None:
        job = await client.create_job(SHOT, new_id())
        states = []
        async for event in client.watch_job(job.name):
            states.append(event.state)
            if event.progress is not None and JobState.CANCELLING not in states:
                await client.cancel_job(job.name)
        assert states[-1] is JobState.CANCELLED

    talk(address, conversation)


def test_a_full_backend_says_so(settings: Settings, engine: ScriptedEngine) -> None:
    async def conversation(client: Client) -> None:
        with pytest.raises(BackendFull, match="MiB"):
            await client.create_job(SHOT, new_id())

    full = settings.model_copy(update={"min_free_bytes": 1 << 60})
    with running_backend(full, engine) as running:
        talk(running.address, conversation)


def test_a_damaged_file_is_not_kept(address: str, settings: Settings, tmp_path: Path) -> None:
    async def conversation(client: Client) -> None:
        name = await finished(client, SHOT)
        artifact = (await client.list_artifacts(name))[0]
        sha256 = artifact.sha256
        stored = settings.state / "artifacts" / "sha256" / sha256[:2] / sha256
        stored.chmod(0o644)
        stored.write_bytes(b"x" * artifact.size_bytes)

        with pytest.raises(DamagedArtifact):
            await client.download(artifact, tmp_path / "frame.png")

        assert not (tmp_path / "frame.png").exists()

    talk(address, conversation)


@pytest.mark.slow
def test_a_watch_outlives_a_restart_of_the_backend(settings: Settings) -> None:
    first = ScriptedEngine()
    first.may_go_on.clear()

    async def conversation() -> None:
        def restart() -> None:
            stopping.__exit__(None, None, None)
            with running_backend(settings, ScriptedEngine()):
                assert done.wait(HANG_S)

        done = threading.Event()
        stopping = running_backend(settings, first)
        running = await asyncio.to_thread(stopping.__enter__)
        async with Client.connect(running.address) as client:
            job = await client.create_job(SHOT, new_id())
            restarting: asyncio.Future[None] | None = None
            sequences = []
            async for event in client.watch_job(job.name):
                sequences.append(event.sequence)
                if event.progress is not None and restarting is None:
                    loop = asyncio.get_running_loop()
                    restarting = loop.run_in_executor(None, restart)
            assert sequences == list(range(1, len(sequences) + 1))
            assert (await client.get_job(job.name)).state is JobState.SUCCEEDED
            done.set()
            assert restarting is not None
            await restarting

    asyncio.run(asyncio.wait_for(conversation(), HANG_S))


def test_a_backend_that_is_not_running_is_unreachable(tmp_path: Path) -> None:
    async def conversation(client: Client) -> None:
        with pytest.raises(BackendUnreachable):
            await client.server_info()

    talk(f"unix:{tmp_path / 'nobody.sock'}", conversation)


def test_client_and_backend_agree_on_the_default_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    assert Settings().address == default_address()
