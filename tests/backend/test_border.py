"""Attacks on the front door's calls: too many at once, and too much in one.

Nothing here measures time: what must be bounded is counted.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from layert2v.v1 import artifact_pb2, job_pb2, shot_pb2, system_pb2
from layert2v_backend.ledger import Ledger
from layert2v_backend.server import border, listening
from layert2v_backend.server.border import Border, bounded
from layert2v_backend.server.limits import LIMITS, CallLimit
from layert2v_backend.server.serving import SERVICES
from layert2v_backend.settings import Settings
from support.running_backend import Client, running_backend
from support.scripted_engine import ScriptedEngine
from support.waiting import HANG_S
from support.wire_shots import BACKGROUND, make_shot
from support.wire_status import Refusal, refusal_in, refusal_of

CREATE = "/layert2v.v1.JobService/CreateJob"


def create_raw(client: Client, shot: shot_pb2.Shot) -> Refusal:
    """Refusal of a CreateJob that is sent as bytes."""
    message = job_pb2.CreateJobRequest(shot=shot).SerializeToString()
    return refusal_of(client.channel.unary_unary(CREATE), message, timeout=HANG_S)


def with_limits(monkeypatch: pytest.MonkeyPatch, **limits: CallLimit) -> None:
    """Serve with other limits for the methods of these names."""
    changed = {
        method: limits.get(method.rpartition("/")[2], limit) for method, limit in LIMITS.items()
    }
    monkeypatch.setattr(listening, "Border", lambda: Border(changed, HANG_S))


def health(client: Client) -> Any:
    stub = health_pb2_grpc.HealthStub(client.channel)
    return stub.Check(health_pb2.HealthCheckRequest(), timeout=HANG_S).status


def empty_layers(num_layers: int) -> shot_pb2.Shot:
    return shot_pb2.Shot(model="sketch", layers=[shot_pb2.LayerSpec() for _ in range(num_layers)])


def kept_layers(num_layers: int) -> shot_pb2.Shot:
    names = (f"jobs/{number:016x}" for number in range(num_layers))
    layers = [
        shot_pb2.LayerSpec(role=BACKGROUND, kept=shot_pb2.KeptLayer(job=name)) for name in names
    ]
    return shot_pb2.Shot(model="sketch", layers=layers)


FREEZES: dict[str, Callable[[], shot_pb2.Shot]] = {
    "400 000 empty layers": lambda: empty_layers(400_000),
    "a prompt of 7 MiB": lambda: make_shot(prompt="x" * (7 << 20)),
    "100 000 kept jobs": lambda: kept_layers(100_000),
}


@pytest.mark.parametrize("attack", FREEZES)
def test_a_request_that_would_freeze_everybody_is_refused_before_it_is_parsed(
    client: Client, attack: str
) -> None:
    refused = create_raw(client, FREEZES[attack]())

    assert (refused.code, refused.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "REQUEST_TOO_LARGE",
    )
    assert "the limit of CreateJob is 262144: send less" in refused.message


def test_a_request_over_its_limit_is_never_parsed() -> None:
    parsed: list[bytes] = []
    parse = bounded(parsed.append, 10)

    parse(b"x" * 11)
    parse(b"x" * 10)

    assert parsed == [b"x" * 10]


@pytest.mark.parametrize("method", ["GetJob", "CancelJob", "ListJobs", "WatchJob"])
def test_every_method_has_a_limit_of_bytes(client: Client, method: str) -> None:
    call: Any = client.channel.unary_unary
    if method == "WatchJob":
        call = client.channel.unary_stream
    body = job_pb2.GetJobRequest(name="j" * (9 << 10)).SerializeToString()

    refused = refusal_of(call(f"/layert2v.v1.JobService/{method}"), body, timeout=HANG_S)

    assert refused.reason == "REQUEST_TOO_LARGE"


def test_the_limits_name_methods_that_exist() -> None:
    theirs = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")

    for method in LIMITS:
        assert method.split("/")[1] in (*SERVICES, *theirs)


def test_layers_are_counted_before_anything_walks_them(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = count_calls(monkeypatch)

    refused = create_raw(client, empty_layers(100_000))

    assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_SHOT")
    assert "there are 100000 layers" in refused.message
    assert asked == []


def test_the_journal_is_not_asked_once_for_each_kept_layer(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = count_calls(monkeypatch)

    create_raw(client, kept_layers(64))

    assert asked == ["find_jobs"]


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the journal's methods as calls of clients ask them."""
    asked: list[str] = []
    call_journal = Ledger.call

    async def counted(self: Ledger, call: Any, *args: Any, **kwargs: Any) -> Any:
        if call.__name__ not in ("referenced", "kept_before", "close"):
            asked.append(call.__name__)
        return await call_journal(self, call, *args, **kwargs)

    monkeypatch.setattr(Ledger, "call", counted)
    return asked


def test_a_page_of_jobs_stays_under_what_clients_take(
    client: Client, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.may_go_on.clear()
    monkeypatch.setattr("layert2v_backend.service._PAGE_BYTES", 1000)
    names = [client.create(make_shot()).name for _ in range(8)]
    listed: list[str] = []
    token = ""
    while token or not listed:
        page = client.jobs.ListJobs(job_pb2.ListJobsRequest(page_size=8, page_token=token))
        assert 1 <= len(page.jobs) < 8
        listed += [job.name for job in page.jobs]
        token = page.next_page_token

    assert listed == names[::-1]


def watching(client: Client, num_watches: int, name: str) -> Iterator[Any]:
    """Open watches and wait for the first event of each."""
    for _ in range(num_watches):
        stream = client.watch(name)
        next(stream)
        yield stream


def test_watches_lock_out_no_other_call(
    settings: Settings, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_limits(monkeypatch, WatchJob=CallLimit(open_calls=4))
    engine.may_go_on.clear()

    with running_backend(settings, engine) as client:
        job = client.create(make_shot())
        streams = list(watching(client, 4, job.name))
        refused = refusal_of(client.watch, job.name)

        assert (refused.code, refused.reason) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "TOO_MANY_CALLS",
        )
        assert "4 calls of WatchJob are open, and the limit is 4: try again" in refused.message
        assert health(client) == health_pb2.HealthCheckResponse.SERVING
        assert client.system.GetServerInfo(system_pb2.GetServerInfoRequest()).num_running == 1
        assert client.cancel(job.name).state in (
            job_pb2.JOB_STATE_CANCELLING,
            job_pb2.JOB_STATE_CANCELLED,
        )
        for stream in streams:
            stream.cancel()


def test_a_call_that_has_ended_makes_room_for_the_next(
    settings: Settings, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_limits(monkeypatch, WatchJob=CallLimit(open_calls=1))

    with running_backend(settings, engine) as client:
        job = client.create(make_shot())
        histories = [client.events(job.name) for _ in range(3)]

    assert histories[0] == histories[1] == histories[2]


def test_health_and_cancel_are_never_refused_for_load() -> None:
    for method in ("/grpc.health.v1.Health/Check", "/layert2v.v1.JobService/CancelJob"):
        assert LIMITS[method].open_calls is None
    others = sum(limit.open_calls or 0 for limit in LIMITS.values())
    assert others < listening.MAX_CONCURRENT_RPCS / 2


def test_a_client_that_vanished_is_noticed_within_45_seconds() -> None:
    options: dict[str, int] = dict(listening.OPTIONS)

    idle_ms = options["grpc.keepalive_time_ms"]

    assert idle_ms + options["grpc.http2.ping_timeout_ms"] <= 45_000
    assert border.WRITE_TIMEOUT_S <= 45


@pytest.mark.slow
@pytest.mark.parametrize("listen", ["tcp", "unix"])
def test_a_reader_that_takes_nothing_gives_its_place_back(
    settings: Settings,
    engine: ScriptedEngine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    listen: str,
) -> None:
    limits = {**LIMITS, "/layert2v.v1.ArtifactService/ReadArtifact": CallLimit(open_calls=1)}
    guard = Border(limits, HANG_S)
    monkeypatch.setattr(listening, "Border", lambda: guard)
    engine.full_bytes = 8 << 20
    if listen == "unix":
        settings = settings.model_copy(update={"listen": f"unix:{tmp_path}/run/b.sock"})

    with running_backend(settings, engine) as client:
        job = client.wait(client.create(make_shot(1)).name)
        listed = client.artifacts.ListArtifacts(artifact_pb2.ListArtifactsRequest(parent=job.name))
        full = next(it for it in listed.artifacts if it.size_bytes > 1000)
        small = next(it for it in listed.artifacts if it.size_bytes < 1000)
        stalled = client.artifacts.ReadArtifact(artifact_pb2.ReadArtifactRequest(name=full.name))
        # Only now, for on a busy machine any reader may take nothing for so long.
        monkeypatch.setattr(guard, "_write_timeout_s", 5.0)
        next(stalled)

        read_when_there_is_room(client, small.name)
        with pytest.raises(grpc.RpcError) as caught:
            list(stalled)

    assert refusal_in(caught.value).code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    )


def test_a_reader_that_takes_not_even_the_first_message_is_told_why(
    settings: Settings, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "Border", lambda: Border(LIMITS, 0.0))

    with running_backend(settings, engine) as client:
        job = client.create(make_shot(1))
        refused = refusal_of(client.watch, job.name)

    assert refused.code is grpc.StatusCode.UNAVAILABLE
    assert "read nothing for 0 s" in refused.message


def read_when_there_is_room(client: Client, name: str) -> None:
    """Read a file, again and again while readers are too many."""
    request = artifact_pb2.ReadArtifactRequest(name=name)
    while (reason := reason_of(client.artifacts.ReadArtifact, request)) is not None:
        assert reason == "TOO_MANY_CALLS"
        time.sleep(0.05)


def reason_of(call: Any, request: Any) -> str | None:
    """Why a stream is refused; None where it is read to its end."""
    try:
        list(call(request, timeout=HANG_S))
    except grpc.RpcError as error:
        return refusal_in(error).reason
    return None


def test_a_thousand_calls_at_once_leave_the_queue_at_its_limit(
    settings: Settings, engine: ScriptedEngine
) -> None:
    engine.may_go_on.clear()
    settings = settings.model_copy(update={"max_queued": 20})
    request = job_pb2.CreateJobRequest(shot=make_shot())

    with running_backend(settings, engine) as client:
        first = client.create(make_shot())
        assert engine.is_holding.wait(HANG_S)
        calls = [client.jobs.CreateJob.future(request, timeout=HANG_S) for _ in range(1000)]
        reasons = [refusal_in(call).reason for call in calls if call.exception()]
        queued = client.system.GetServerInfo(system_pb2.GetServerInfoRequest()).num_queued

        assert first.name
        assert queued == 20
        assert len(reasons) == 980
        assert set(reasons) <= {"QUEUE_FULL", "TOO_MANY_CALLS"}
        assert "QUEUE_FULL" in reasons
