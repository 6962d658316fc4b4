"""The backend's listener: a private unix socket or a loopback port, and nothing wider."""

import errno
import ipaddress
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import psutil

from layert2v_backend.errors import CannotServe
from layert2v_backend.server.border import Border
from layert2v_backend.settings import MIB

OPTIONS = (
    ("grpc.max_receive_message_length", 8 * MIB),
    ("grpc.max_send_message_length", 8 * MIB),
    ("grpc.max_metadata_size", 16 << 10),
    # A second backend on the same port must be refused, not share it.
    ("grpc.so_reuseport", 0),
    # Clients ping every 30 s, and the library's default answers that with GOAWAY too_many_pings.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # This limit, 60 s by default, decides when a ping without answer ends a connection. The line
    # above does not. A vanished client is freed after 40 s. Source: measured with grpcio 1.85.
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)
MAX_CONCURRENT_RPCS = 10_000
"""A last limit on calls that never send their request. It counts every call, health included. So "
"it lies far above the sum of `limits.LIMITS`, which counts each kind of call."""
_MAX_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
"""Bytes of `sockaddr_un.sun_path` without the final zero. Source: unix(7)."""
_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p"})


@asynccontextmanager
async def listening(address: str) -> AsyncIterator[tuple[grpc.aio.Server, str]]:
    """Give a bound server that is not started, and its address. Remove the socket afterwards.

    Raises:
        CannotServe: The address is malformed, not private to this machine, or in use.
    """
    server = grpc.aio.server(
        interceptors=[Border()], options=OPTIONS, maximum_concurrent_rpcs=MAX_CONCURRENT_RPCS
    )
    if address.startswith("unix:"):
        path = Path(address.removeprefix("unix:").removeprefix("//")).absolute()
        _prepare_socket(path)
        _bind(server, f"unix:{path}")
        path.chmod(0o600)
        try:
            yield server, f"unix:{path}"
        except BaseException:
            # A stopped server has removed its socket, and another backend may have bound it since.
            path.unlink(missing_ok=True)
            raise
    else:
        host, port = _loopback(address)
        _check_port(host, port)
        bound = _bind(server, f"{host}:{port}")
        yield server, f"{host}:{bound}"


def _bind(server: grpc.aio.Server, address: str) -> int:
    try:
        return server.add_insecure_port(address)
    except RuntimeError as failure:
        raise CannotServe(f"cannot listen on {address}: choose another address") from failure


def _loopback(address: str) -> tuple[str, int]:
    """Split `HOST:PORT` and check that only this machine can reach it."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise CannotServe(
            f"--listen {address} is neither unix:PATH nor HOST:PORT with a port from 0 to 65535"
        )
    numeric = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        is_loopback = ipaddress.ip_address(numeric).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise CannotServe(
            f"--listen {address} can be reached from other machines, which needs TLS and a token, "
            f"and this version has neither: listen on 127.0.0.1:{port} and use an SSH tunnel"
        )
    return (f"[{numeric}]" if ":" in numeric else numeric), int(port)


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as failure:
            in_use = failure.errno == errno.EADDRINUSE
            why = "the port is in use" if in_use else f"{failure.strerror}"
            raise CannotServe(
                f"cannot listen on {host}:{port} ({why}): stop the program that uses it, choose "
                f"another port, or 0 for any free port"
            ) from failure


def prepare_folder(folder: Path) -> None:
    """Make a private folder on a local disk.

    Raises:
        CannotServe: The folder cannot be made, or is on a network drive.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as failure:
        raise CannotServe(
            f"the folder {folder} cannot be made ({failure.strerror}): name another"
        ) from failure
    kind = _file_system(folder)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise CannotServe(
            f"the state folder {folder} is on a network drive ({kind}), which can lose jobs: "
            f"name a folder on a local disk with --state"
        )


def _file_system(folder: Path) -> str:
    """Give the type of a folder's file system, or an empty text if the system does not tell it."""
    resolved = folder.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    return next((mounts[path] for path in [resolved, *resolved.parents] if path in mounts), "")


def _prepare_socket(path: Path) -> None:
    """Check that a socket at `path` is possible and that only this user can reach it."""
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise CannotServe(
            f"the socket path {path} has {len(os.fsencode(path))} bytes, and the limit is "
            f"{_MAX_SOCKET_PATH}: choose a shorter one with --listen unix:PATH"
        )
    if not path.parent.is_dir():
        prepare_folder(path.parent)
    if stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
        raise CannotServe(
            f"the folder {path.parent} of the socket is open to other users: "
            f"chmod 700 it or choose a private folder"
        )
    if not path.exists():
        return
    if not path.is_socket():
        raise CannotServe(f"{path} exists and is not a socket: choose another --listen unix:PATH")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise CannotServe(
                f"another backend already listens on unix:{path}: stop it or choose another path"
            )
    path.unlink()
