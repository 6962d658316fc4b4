"""Keeps this process off the network: it raises before anything is sent or looked up.

Python's own sockets are watched. The sockets of compiled libraries, such as grpc's, and programs
in other languages are not. Tests give them addresses of the loopback interface only.
"""

import ipaddress
import socket
import sys

_HERE = {"localhost", "localhost.localdomain", "", None, socket.gethostname()}
_LOOK_UPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_SENDINGS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


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
    if event in _LOOK_UPS:
        host = arguments[0]
    elif event in _SENDINGS and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getnameinfo" and isinstance(arguments[0], tuple):
        host = arguments[0][0]
    else:
        return
    if not _is_here(host):
        raise NetworkForbidden(f"{event} to {host!r}: tests reach nothing but this machine")


sys.addaudithook(_watch)
