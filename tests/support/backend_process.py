"""`layert2v-backend serve` as a process of its own, which tests may kill."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.running_backend import Client
from support.waiting import HANG_S

BACKEND = (sys.executable, "-m", "layert2v_backend")
TESTS = Path(__file__).parent.parent


class BackendProcess:
    """A serving backend and its client."""

    def __init__(self, process: "subprocess.Popen[str]", start_s: float, line: str) -> None:
        self.process = process
        self.start_s = start_s
        """Seconds from the program's start to its first line."""
        self.line = line
        """The printed address."""
        self.client = Client(line.removeprefix("serving layert2v.v1 on ").strip())

    def kill(self) -> None:
        """Kill it at once, with SIGKILL."""
        self.process.kill()
        self.process.wait(HANG_S)


def backend_environment() -> dict[str, str]:
    """The tests' own modules before those that the caller names."""
    paths = filter(None, (str(TESTS), os.environ.get("PYTHONPATH")))
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def backend_process(
    folder: Path, *flags: str, command: Sequence[str] = BACKEND
) -> Iterator[BackendProcess]:
    """Serve on a socket under `folder`, with the models under `folder/models`."""
    listen = ("--listen", f"unix:{folder / 'run' / 'b.sock'}", "--state", str(folder / "state"))
    models = ("--models-dir", str(folder / "models"), "--threads", "1", "--no-prewarm")
    begin = time.monotonic()
    with (
        (folder / "backend.log").open("a") as log,
        subprocess.Popen(
            [*command, "serve", *listen, *models, *flags],
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.PIPE,
            text=True,
            env=backend_environment(),
        ) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        backend = BackendProcess(process, time.monotonic() - begin, line)
        try:
            yield backend
        finally:
            backend.client.channel.close()
            process.terminate()
            process.wait(HANG_S)
