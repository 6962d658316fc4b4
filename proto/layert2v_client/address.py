"""Addresses of backends: `unix:/path`, `host:port`, `[::1]:port`."""

import ipaddress
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from layert2v.v1 import LOOPBACK_ADDRESS
from layert2v_client.errors import BadAddress


@dataclass(frozen=True)
class Address:
    """The address of a backend: a socket's path, or a host and port."""

    path: str = ""
    """Path of a Unix socket. Empty for host and port."""
    host: str = ""
    """Name or number of the host."""
    port: int = 0
    """Port number, 1 to 65535."""

    @property
    def is_local(self) -> bool:
        """Say whether the address cannot leave this machine."""
        if self.path or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def default_address() -> str:
    """Give the address of a backend that was started on this machine without options.

    It is a socket in the user's data folder, which only the user can open. On Windows it is
    loopback.
    """
    if sys.platform == "win32":
        return LOOPBACK_ADDRESS
    if sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return f"unix:{data / 'layert2v' / 'backend' / 'run' / 'backend.sock'}"


def parse_address(text: str) -> Address:
    """Read an address as the user writes it.

    Raises:
        BadAddress: It is neither `unix:/path` nor `host:port` with a port of 1 to 65535.
    """
    text = text.strip()
    if text.startswith("unix:"):
        return _parse_unix(text)
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise BadAddress(f"The backend address '{text}' has no host and port of 1 to 65535.")
    return Address(host=host.strip("[]"), port=int(port))


def _parse_unix(text: str) -> Address:
    path = text.removeprefix("unix:").removeprefix("//")
    if sys.platform == "win32":
        raise BadAddress(f"'{text}': Python on Windows has no Unix sockets.")
    if not path.startswith("/"):
        raise BadAddress(f"'{text}' has no absolute path.")
    return Address(path=path)
