import asyncio
import errno
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import google_crc32c
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpclib.const import Status
from grpclib.exceptions import ProtocolError, StreamTerminatedError
from hypothesis import given
from hypothesis import strategies as st

import layert2v_client
from build_addon import OWN_PACKAGES
from layert2v.v1 import LOOPBACK_ADDRESS, job_pb2
from layert2v_client import (
    BackendTimeout,
    BackendUnreachable,
    BadAddress,
    Client,
    JobStage,
    TokenInClear,
    default_address,
    parse_address,
)
from layert2v_client import address as address_module
from layert2v_client import crc32c as crc32c_module
from layert2v_client.convert import event_from_proto
from layert2v_client.crc32c import crc32c_numpy
from layert2v_client.errors import REMEDIES, translated
from layert2v_client.status import StatusDetails, Violation, pack_details, parse_details


@given(st.binary(max_size=3000))
def test_the_numpy_crc_equals_the_compiled_one(data):
    assert crc32c_numpy(data) == google_crc32c.value(data)


@pytest.mark.parametrize("size", [65535, 65536, 65537, 1 << 20])
def test_the_numpy_crc_of_long_data_equals_the_compiled_one(size):
    data = bytes(range(251)) * (size // 251 + 1)

    assert crc32c_numpy(data[:size]) == google_crc32c.value(data[:size])


def test_details_are_read_as_google_writes_them():
    status = status_pb2.Status(code=3, message="no")
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="shot.width", description="97 is not offered")
    for detail in (
        bad,
        error_details_pb2.ErrorInfo(reason="INVALID_SHOT", domain="layert2v"),
        error_details_pb2.RetryInfo(),
        error_details_pb2.LocalizedMessage(locale="en", message="Choose 96 x 64."),
    ):
        status.details.add().Pack(detail)

    details = parse_details(status.SerializeToString())

    assert details == StatusDetails(
        (Violation("shot.width", "97 is not offered"),), "INVALID_SHOT", "Choose 96 x 64."
    )


def test_packed_details_are_read_back():
    details = StatusDetails((Violation("a", "b"), Violation("c", "d")), "WHY", "how")

    assert parse_details(pack_details(Status.INVALID_ARGUMENT, "no", details)) == details


@pytest.mark.parametrize(
    ("text", "is_local"),
    [
        ("127.0.0.1:50461", True),
        ("localhost:1", True),
        ("[::1]:50461", True),
        ("unix:/run/layert2v.sock", True),
        ("render.example.org:443", False),
        ("192.168.0.3:50461", False),
    ],
)
def test_an_address_knows_whether_it_leaves_the_machine(text, is_local):
    assert parse_address(text).is_local is is_local


@pytest.mark.parametrize("text", ["", "host", "host:", ":1", "host:0", "host:70000", "unix:a"])
def test_an_address_that_makes_no_sense_is_refused_with_the_forms(text):
    with pytest.raises(BadAddress, match="Use `127"):
        parse_address(text)


@pytest.mark.parametrize(
    ("platform", "start"), [("win32", LOOPBACK_ADDRESS), ("darwin", "unix:/"), ("linux", "unix:/")]
)
def test_every_system_has_a_default_address(platform, start, monkeypatch):
    monkeypatch.setattr(address_module.sys, "platform", platform)

    assert default_address().startswith(start)


def test_windows_has_no_unix_sockets(monkeypatch):
    monkeypatch.setattr(address_module.sys, "platform", "win32")

    with pytest.raises(BadAddress, match="no Unix sockets"):
        parse_address("unix:/x")


def test_without_the_compiled_crc_numpy_is_used(monkeypatch):
    monkeypatch.setattr(crc32c_module, "google_crc32c", None)

    # Source: RFC 3720, B.4: 32 bytes of zeroes.
    assert crc32c_module.crc32c(bytes(32)) == 0x8A9136AA


def test_the_default_address_is_the_backends_default():
    settings = pytest.importorskip("layert2v_backend.settings")

    assert default_address() == settings.Settings().address


def test_without_unix_sockets_the_default_address_is_the_backends_default_too(monkeypatch):
    settings = pytest.importorskip("layert2v_backend.settings")
    monkeypatch.setattr(address_module.sys, "platform", "win32")
    system = types.SimpleNamespace(**vars(os) | {"name": "nt"})
    monkeypatch.setattr(settings, "os", system)

    assert default_address() == settings.Settings().address == LOOPBACK_ADDRESS


def test_texts_name_the_default_address_and_no_other():
    root = Path(layert2v_client.__file__).parents[2]
    packages = [f"proto/layert2v_{name}" for name in ("client", "domain", "wire")]
    folders = ("backend", *packages, "blender_addon", "docs")
    files = [path for folder in folders for path in (root / folder).rglob("*")]
    texts = [path for path in files if path.suffix in (".py", ".md")] + [root / "README.md"]

    for path in texts:
        named = set(re.findall(r"127\.0\.0\.1:\d{4,5}\b", path.read_text(encoding="utf-8")))
        assert named <= {LOOPBACK_ADDRESS}, path


@pytest.mark.parametrize("address", ["192.168.0.3:50461", "example.org:443", "[2001:db8::1]:1"])
def test_a_token_is_not_sent_in_clear_to_another_computer(address):
    with pytest.raises(TokenInClear, match="encrypted connection"):
        Client.connect(address, token="secret")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/x"])
def test_a_token_is_sent_to_this_computer(address):
    async def connect():
        Client.connect(address, token="secret").close()

    asyncio.run(connect())


def test_every_reason_of_being_full_has_a_remedy_of_its_own():
    grpc = pytest.importorskip("grpc")
    errors = pytest.importorskip("layert2v_backend.errors")
    kinds = [errors.Refused]
    for kind in kinds:
        kinds += kind.__subclasses__()
    full = grpc.StatusCode.RESOURCE_EXHAUSTED
    reasons = {kind.reason for kind in kinds[1:] if kind.code is full}

    remedies = [REMEDIES[reason] for reason in reasons]

    assert {"DISK_FULL", "QUEUE_FULL", "TOO_MANY_CALLS"} <= reasons
    assert len(set(remedies)) == len(remedies)


def test_the_public_names_are_these():
    assert len(layert2v_client.__all__) == len(set(layert2v_client.__all__))
    for name in layert2v_client.__all__:
        assert hasattr(layert2v_client, name)


def test_the_add_on_ships_every_package_that_the_client_imports():
    code = "import sys, layert2v_client; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    ours = {name for name in loaded.stdout.split() if name.startswith("layert2v")}

    assert ours == set(OWN_PACKAGES)


def test_the_client_needs_neither_grpcio_nor_bpy_nor_torch():
    code = (
        "import sys, layert2v_client;"
        "heavy = {'grpc', 'bpy', 'torch', 'google.rpc'} & set(sys.modules);"
        "sys.exit(repr(heavy) if heavy else 0)"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("number", [job_pb2.JOB_STAGE_UNSPECIFIED, 99])
def test_a_stage_that_only_a_newer_backend_has_is_unknown(number):
    event = job_pb2.JobEvent(progress=job_pb2.JobProgress(stage=number))

    assert event_from_proto(event).progress.stage is JobStage.UNKNOWN


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (TimeoutError(), BackendTimeout, "did not answer in time"),
        (StreamTerminatedError(), BackendUnreachable, "was lost"),
        (ProtocolError(), BackendUnreachable, "was lost"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), BackendUnreachable, "refused"),
        (OSError(), BackendUnreachable, "No backend answers at box:1."),
    ],
)
def test_no_failure_of_the_transport_gets_out_as_it_is(failure, kind, words):
    async def fail():
        async with translated("box:1"):
            raise failure

    with pytest.raises(kind, match=words):
        asyncio.run(fail())
