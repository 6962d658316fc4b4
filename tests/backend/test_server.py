import os
import socket
import stat
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from layert2v_backend.errors import CannotServe
from layert2v_backend.server import listening
from layert2v_backend.settings import Settings
from support.running_backend import Client, running_backend
from support.scripted_engine import ScriptedEngine
from support.waiting import HANG_S
from support.wire_shots import make_shot


def refuse_to_serve(settings: Settings, **change: Any) -> str:
    with (
        pytest.raises(CannotServe) as caught,
        running_backend(settings.model_copy(update=change), ScriptedEngine()),
    ):
        pass
    return str(caught.value)


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("0.0.0.0:5000", "needs TLS and a token"),
        ("[::]:5000", "needs TLS and a token"),
        ("example.org:5000", "SSH tunnel"),
        ("127.0.0.1", "neither unix:PATH nor HOST:PORT"),
        ("127.0.0.1:70000", "port from 0 to 65535"),
        ("127.0.0.1:http", "port from 0 to 65535"),
        ("unix:/" + "x" * 120, "the limit is 10"),
    ],
)
def test_an_address_that_cannot_be_served_is_refused(
    settings: Settings, listen: str, words: str
) -> None:
    assert words in refuse_to_serve(settings, listen=listen)


def test_a_port_in_use_is_refused_with_the_remedy(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        message = refuse_to_serve(settings, listen=f"127.0.0.1:{port}")

    assert f"127.0.0.1:{port} (the port is in use)" in message
    assert "choose another port" in message


def test_a_second_backend_on_the_same_port_is_refused(client: Client, settings: Settings) -> None:
    message = refuse_to_serve(settings, listen=client.address, state=settings.state / "other")

    assert "is in use" in message


def test_a_second_backend_on_the_same_state_is_refused(client: Client, settings: Settings) -> None:
    assert "another backend already uses" in refuse_to_serve(settings)
    assert client.create(make_shot())


def test_a_unix_socket_is_private_and_goes_with_its_backend(
    settings: Settings, engine: ScriptedEngine, tmp_path: Path
) -> None:
    path = tmp_path / "run" / "b.sock"
    on_socket = settings.model_copy(update={"listen": f"unix:{path}"})

    with running_backend(on_socket, engine) as client:
        assert client.address == f"unix:{path}"
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert client.create(make_shot())
        other = {"listen": f"unix:{path}", "state": tmp_path / "other"}
        assert "already listens" in refuse_to_serve(settings, **other)

    assert not path.exists()


def test_a_socket_left_by_a_killed_backend_is_replaced(
    settings: Settings, engine: ScriptedEngine, tmp_path: Path
) -> None:
    path = tmp_path / "b.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    with running_backend(settings.model_copy(update={"listen": f"unix:{path}"}), engine) as client:
        assert client.create(make_shot())


def test_a_socket_in_an_open_folder_is_refused(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)

    assert "chmod 700" in refuse_to_serve(settings, listen=f"unix:{folder}/b.sock")


def test_a_file_in_the_place_of_the_socket_is_left_alone(
    settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "letter"
    path.write_text("dear all")

    assert "is not a socket" in refuse_to_serve(settings, listen=f"unix:{path}")
    assert path.read_text() == "dear all"


def test_a_state_folder_that_cannot_be_made_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert "cannot be made" in refuse_to_serve(settings, state=tmp_path / "file" / "state")


def test_a_state_folder_on_a_network_drive_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_file_system", lambda folder: "nfs4")

    assert "network drive (nfs4)" in refuse_to_serve(settings)


def test_health_is_told_for_every_service(client: Client) -> None:
    stub = health_pb2_grpc.HealthStub(client.channel)

    for name in ["", "layert2v.v1.JobService", "layert2v.v1.ArtifactService"]:
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(client: Client) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")

    (answer,) = stub.ServerReflectionInfo(iter([request]))

    names = {service.name for service in answer.list_services_response.service}
    assert {"layert2v.v1.JobService", "grpc.health.v1.Health"} <= names


@pytest.mark.parametrize("method", ["JobService/CreateJob", "JobService/WatchJob"])
@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x05ab", os.urandom(1) + b"\x80" * 11])
def test_a_malformed_message_is_an_invalid_argument(
    client: Client, method: str, body: bytes
) -> None:
    if method.endswith("WatchJob"):
        call: Any = client.channel.unary_stream(f"/layert2v.v1.{method}")
    else:
        call = client.channel.unary_unary(f"/layert2v.v1.{method}")

    with pytest.raises(grpc.RpcError) as caught:
        list(call(body, timeout=HANG_S) or [])

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "Traceback" not in str(caught.value.details())


def test_an_unknown_rpc_is_unimplemented(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.channel.unary_unary("/layert2v.v1.JobService/Nonsense")(b"")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_oversize_message_is_refused(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.create(make_shot(prompt="x" * (9 << 20)))

    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
