"""Keeps tests off the network. Each Python that they start has this folder in its PYTHONPATH.

An address outside the loopback interface raises before anything is sent or looked up.
"""

import ipaddress
import socket
import sys

_HERE = {"localhost", "localhost.localdomain", "", None, socket.gethostname()}


class NetworkForbidden(RuntimeError):
    """Raised if a test would reach beyond this machine."""


def _is_here(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in _HERE:
        return True
    try:
        address = ipaddress.ip_address(str(name).partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if not _is_here(host):
        raise NetworkForbidden(f"{event} to {host!r}: tests reach nothing but this machine")


sys.addaudithook(_watch)
