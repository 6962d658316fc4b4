"""No program reaches beyond the loopback interface, and few files can open a connection at all."""

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "backend",
    "proto/layert2v_client",
    "proto/layert2v_domain",
    "proto/layert2v_wire",
    "proto/layert2v_words",
    "training",
    "blender_addon",
)
LIBRARIES = {
    "aiohttp", "asyncio.streams", "ftplib", "grpc", "grpclib", "http", "httpx", "requests",
    "smtplib", "socket", "socketserver", "urllib.request", "urllib3", "webbrowser", "websockets",
}  # fmt: skip
"""What opens connections, or listens."""
DOORS = {
    "backend/layert2v_backend/errors.py",
    "backend/layert2v_backend/server/border.py",
    "backend/layert2v_backend/server/listening.py",
    "backend/layert2v_backend/server/serving.py",
    "backend/layert2v_backend/service.py",
    "blender_addon/core/unsaved.py",
    "proto/layert2v_client/client.py",
    "proto/layert2v_client/errors.py",
    "proto/layert2v_client/status.py",
}
"""Files that may import such a library: the front door, the client, and the names of hosts."""


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _opens_connections(path: Path) -> bool:
    return any(
        name == library or name.startswith(f"{library}.")
        for name in _imported(path)
        for library in LIBRARIES
    )


def test_only_the_doors_can_open_a_connection() -> None:
    files = (path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))

    doors = {str(path.relative_to(ROOT)) for path in files if _opens_connections(path)}

    assert doors == DOORS


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "example.org"])
def test_neither_a_test_nor_what_it_starts_reaches_another_machine(address: str) -> None:
    script = f"import socket; socket.create_connection(({address!r}, 9), 0.1)"

    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert "NetworkForbidden" in child.stderr
    with pytest.raises(RuntimeError, match="nothing but this machine"):
        socket.create_connection((address, 9), 0.1)


@pytest.mark.parametrize(
    "call",
    [
        "socket.gethostbyname('example.org')",
        "socket.gethostbyname_ex('example.org')",
        "socket.gethostbyaddr('192.0.2.1')",
        "socket.getnameinfo(('192.0.2.1', 9), 0)",
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 9))",
        "socket.socket(type=socket.SOCK_DGRAM).sendmsg([b''], [], 0, ('192.0.2.1', 9))",
    ],
)
def test_neither_names_nor_datagrams_leave_this_machine(call: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", f"import socket; {call}"], capture_output=True, text=True
    )

    assert "NetworkForbidden" in child.stderr


def test_a_child_that_is_given_the_paths_of_this_process_is_watched_too() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = "import socket; socket.create_connection(('192.0.2.1', 9), 0.1)"

    child = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )

    assert "NetworkForbidden" in child.stderr


def test_a_childs_own_sitecustomize_is_run_as_well(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('the other one')")
    paths = [os.environ["PYTHONPATH"], str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    child = subprocess.run(
        [sys.executable, "-c", "pass"], capture_output=True, text=True, env=environment
    )

    assert (child.stdout.strip(), child.stderr) == ("the other one", "")


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
