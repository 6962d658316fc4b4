import asyncio
import errno
import os
import uuid

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from layert2v.v1 import job_pb2, system_pb2
from layert2v_client import (
    ArtifactFormat,
    ArtifactKind,
    BackendBusy,
    BackendFailed,
    BackendFull,
    BackendUnreachable,
    Client,
    ClientError,
    InvalidShot,
    JobNotFound,
    JobStage,
    JobState,
    KeptLayer,
    LayerRole,
    LayerSpec,
    RequestConflict,
    Shot,
)
from layert2v_client import client as client_module
from layert2v_client.errors import STATUS_TO_ERROR
from layert2v_client.status import StatusDetails
from layert2v_words import UnknownWords, Vocabulary
from support.fake_backend import FakeBackend, invalid_shot
from support.waiting import HANG_S

SHOT = Shot(
    layers=(
        LayerSpec(LayerRole.BACKGROUND, "a beach"),
        LayerSpec(LayerRole.FOREGROUND, "a red ball", seed=7),
    ),
    seed=3,
)


@pytest.fixture
def backend():
    with FakeBackend() as running:
        yield running


@pytest.fixture(autouse=True)
def quick_reconnection(monkeypatch):
    monkeypatch.setattr(client_module, "FIRST_DELAY_S", 0.01)


def ask(backend, question):
    async def session():
        async with Client.connect(backend.address) as client:
            return await question(client)

    return asyncio.run(session())


async def collect(events):
    return [event async for event in events]


async def create(client, shot=SHOT):
    return await client.create_job(shot, str(uuid.uuid4()))


def test_a_refused_connection_has_the_systems_reason_and_no_words_of_python():
    with FakeBackend() as stopped:
        pass

    with pytest.raises(BackendUnreachable) as caught:
        ask(stopped, lambda client: client.server_info())

    assert caught.value.message == (
        f"No backend answers at {stopped.address} ({os.strerror(errno.ECONNREFUSED)})."
    )


def test_a_created_job_echoes_the_shot_with_defaults_filled_in(backend):
    job = ask(backend, create)

    assert job.name == "jobs/job0001"
    assert (job.shot.width, job.shot.height, job.shot.num_frames) == (96, 64, 9)
    assert job.shot.layers == SHOT.layers
    assert job.shot.layers[0].seed is None


def test_a_kept_layer_survives_the_wire(backend):
    kept = LayerSpec(LayerRole.BACKGROUND, "", kept=KeptLayer("jobs/job0001", 0))

    async def question(client):
        await create(client)
        return await create(client, Shot(layers=(kept, SHOT.layers[1])))

    assert ask(backend, question).shot.layers[0] == kept


def test_the_same_request_id_gives_the_same_job(backend):
    async def question(client):
        first = await client.create_job(SHOT, "one")
        return first.name, (await client.create_job(SHOT, "one")).name

    first, second = ask(backend, question)

    assert first == second


def test_a_refused_shot_names_the_field_and_the_remedy(backend):
    backend.script.refusals["CreateJob"].append(
        invalid_shot("shot.layers[1].prompt", "The prompt is empty: say what foreground 1 shows.")
    )

    with pytest.raises(InvalidShot) as refused:
        ask(backend, create)

    (violation,) = refused.value.violations
    assert violation.field == "shot.layers[1].prompt"
    assert "say what foreground 1 shows" in violation.description


def test_every_status_is_translated_and_says_something(backend):
    for status in Status:
        if status is Status.OK:
            continue
        backend.script.refusals["CreateJob"].append(GRPCError(status, "what happened"))
        with pytest.raises(ClientError, match="what happened") as failed:
            ask(backend, create)
        assert isinstance(failed.value, STATUS_TO_ERROR[status])


def test_a_job_that_does_not_exist_is_job_not_found(backend):
    with pytest.raises(JobNotFound, match="jobs/none"):
        ask(backend, lambda client: client.get_job("jobs/none"))


def test_a_reused_request_id_is_a_conflict(backend):
    backend.script.refusals["CreateJob"].append(GRPCError(Status.ALREADY_EXISTS, "used before"))

    with pytest.raises(RequestConflict, match="makes a new request"):
        ask(backend, create)


def test_no_backend_at_the_address_is_unreachable_with_the_address():
    async def question():
        async with Client.connect("127.0.0.1:9") as client:
            await client.server_info()

    with pytest.raises(BackendUnreachable, match=r"127\.0\.0\.1:9.*Start the backend"):
        asyncio.run(question())


def test_a_missing_unix_socket_is_unreachable(tmp_path):
    async def question():
        async with Client.connect(f"unix:{tmp_path}/none.sock") as client:
            await client.server_info()

    with pytest.raises(BackendUnreachable, match=r"none\.sock"):
        asyncio.run(question())


def test_a_watch_gives_every_event_in_order_and_ends_with_the_job(backend):
    async def question(client):
        job = await create(client)
        return await collect(client.watch_job(job.name))

    events = ask(backend, question)

    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert events[2].progress.stage is JobStage.DENOISING
    assert events[2].progress.fraction == pytest.approx(0.4)
    assert events[-1].state is JobState.SUCCEEDED


def test_a_watch_can_begin_in_the_middle(backend):
    async def question(client):
        job = await create(client)
        return await collect(client.watch_job(job.name, 3))

    assert [event.sequence for event in ask(backend, question)] == [4, 5]


def test_a_watch_resumes_when_streams_break_and_tells_about_the_link(backend):
    backend.script.break_watches_after.extend([0, 2, 1, 0, 0])
    links = []

    async def question(client):
        job = await create(client)
        return await collect(client.watch_job(job.name, on_link=links.append))

    events = ask(backend, question)

    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert isinstance(links[0], BackendUnreachable)
    assert links[-1] is None


def test_a_watch_that_nobody_asks_of_the_link_resumes_too(backend):
    backend.script.break_watches_after.extend([2])

    async def question(client):
        job = await create(client)
        return await collect(client.watch_job(job.name))

    assert [event.sequence for event in ask(backend, question)] == [1, 2, 3, 4, 5]


def test_a_watch_survives_a_restart_of_the_backend(backend):
    backend.script.hold = True

    async def question(client):
        job = await create(client)
        events = client.watch_job(job.name)
        first = [await anext(events) for _ in range(4)]
        await asyncio.to_thread(backend.stop)
        await asyncio.to_thread(backend.start)
        await asyncio.to_thread(backend.finish)
        return first + await collect(events)

    events = ask(backend, question)

    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]


def test_a_watch_after_the_last_event_of_an_ended_job_ends(backend):
    async def question(client):
        job = await client.create_job(SHOT, str(uuid.uuid4()))
        events = await collect(client.watch_job(job.name))
        return await asyncio.wait_for(
            collect(client.watch_job(job.name, events[-1].sequence)), timeout=HANG_S
        )

    assert ask(backend, question) == []


def test_a_watch_of_an_unknown_job_is_not_repeated(backend):
    with pytest.raises(JobNotFound):
        ask(backend, lambda client: collect(client.watch_job("jobs/none")))


def test_cancelling_ends_the_watch_as_cancelled(backend):
    backend.script.hold = True

    async def question(client):
        job = await create(client)
        cancelled = await client.cancel_job(job.name)
        return cancelled, await collect(client.watch_job(job.name))

    cancelled, events = ask(backend, question)

    assert cancelled.state is JobState.CANCELLED
    assert events[-1].state is JobState.CANCELLED


def test_a_failed_job_says_why(backend):
    backend.script.fail_with = job_pb2.JobError(
        reason="DISK_FULL", message="The disk is full: free 2 GB."
    )

    async def question(client):
        return await client.get_job((await create(client)).name)

    job = ask(backend, question)

    assert job.state is JobState.FAILED
    assert job.error.reason == "DISK_FULL"


def test_jobs_are_listed_over_all_pages_newest_first(backend):
    async def question(client):
        for _ in range(5):
            await create(client)
        return await client.list_jobs()

    assert [job.name[-1] for job in ask(backend, question)] == ["5", "4", "3", "2", "1"]


def test_artifacts_are_listed_over_all_pages(backend):
    async def question(client):
        return await client.list_artifacts((await create(client)).name)

    artifacts = ask(backend, question)

    assert len(artifacts) == 4 * 9 + 1
    assert artifacts[0].kind is ArtifactKind.BACKGROUND
    assert artifacts[0].format is ArtifactFormat.PNG
    assert artifacts[0].path == "background/png/background_0001.png"


def test_models_and_server_info_are_read(backend):
    async def question(client):
        return await client.list_models(), await client.server_info()

    (model,), info = ask(backend, question)

    assert model.sizes == ((96, 64), (48, 32))
    assert model.max_foregrounds == 3
    assert info.api_version == "layert2v.v1"
    assert info.is_model_loaded


def test_what_a_model_knows_and_what_it_does_not_know_of_a_job_are_read(backend):
    backend.script.vocabulary = system_pb2.Vocabulary(
        foregrounds=["a fox"], backgrounds=["a sea"], motions=["rising"], cameras=["a pan"]
    )
    backend.script.unknown_words.append(
        job_pb2.UnknownWords(layer_index=1, words="dragon", nearest=["a fox"], message="No dragon.")
    )

    async def question(client):
        return await client.list_models(), await create(client)

    (model,), job = ask(backend, question)

    assert model.vocabulary == Vocabulary(("a fox",), ("a sea",), ("rising",), ("a pan",))
    assert job.unknown_words == (UnknownWords(1, "dragon", ("a fox",), "No dragon."),)


def test_a_model_that_says_nothing_of_its_words_has_no_vocabulary(backend):
    async def question(client):
        return await client.list_models()

    (model,) = ask(backend, question)

    assert model.vocabulary is None


def test_a_fault_of_the_backend_is_not_blamed_on_the_request(backend):
    backend.script.refusals["CreateJob"].append(GRPCError(Status.INTERNAL, "a fault"))

    with pytest.raises(BackendFailed, match="log"):
        ask(backend, create)


def full(reason):
    details = StatusDetails((), reason=reason)
    return GRPCError(Status.RESOURCE_EXHAUSTED, "there is no room", details)


@pytest.mark.parametrize(
    ("reason", "kind", "remedy"),
    [
        ("DISK_FULL", BackendFull, "Free disk space"),
        ("QUEUE_FULL", BackendFull, "cancel some"),
        ("TOO_MANY_CALLS", BackendBusy, "try again in a moment"),
        ("OVERLOADED", BackendBusy, "Close other programs"),
        ("", BackendFull, "no room for this now"),
    ],
)
def test_each_reason_of_being_full_has_its_own_remedy(backend, reason, kind, remedy):
    backend.script.refusals["CreateJob"].append(full(reason))

    with pytest.raises(kind, match=remedy) as refused:
        ask(backend, create)

    assert refused.value.reason == reason
    assert ("disk" in refused.value.remedy.lower()) == (reason == "DISK_FULL")


@pytest.mark.parametrize("reason", ["TOO_MANY_CALLS", ""])
def test_a_watch_that_is_refused_for_load_resumes(backend, reason):
    backend.script.refusals["WatchJob"].extend([full(reason), full(reason)])
    links = []

    async def question(client):
        job = await create(client)
        return await collect(client.watch_job(job.name, on_link=links.append))

    events = ask(backend, question)

    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert [type(link).__name__ for link in links[:2]] == [
        "BackendBusy" if reason else "BackendFull"
    ] * 2
    assert links[-1] is None


def test_an_event_that_comes_twice_is_told_once_and_a_lost_end_is_asked_for(backend):
    async def question(client):
        job = await create(client)
        events = backend.jobs[job.name].events
        events.insert(1, events[0])
        events[-1].message = "This entry of the job's history is damaged."
        return await asyncio.wait_for(collect(client.watch_job(job.name)), timeout=HANG_S)

    events = ask(backend, question)

    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert events[-1].state is None
