# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts and stops a backend on this machine. Nothing blocks except `close`."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

COMMAND = "layert2v-backend"
"""The command that the distribution `layert2v` installs."""
TAIL_BYTES = 4000
"""Bytes at the end of the log that are read for display."""


class LaunchState(StrEnum):
    """State of the local backend."""

    STOPPED = "stopped"
    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"
    ENDED = "ended by itself"


class BackendNotFound(Exception):
    """Raised when no command can be started. The message names the places searched."""


@dataclass(frozen=True)
class LaunchCommand:
    """The command in front of `serve`."""

    arguments: tuple[str, ...]
    """Program and its first arguments."""


def find_command(configured: str) -> LaunchCommand:
    """Find the backend: the configured command, or `layert2v-backend` on PATH.

    `configured` may be a program, a program with arguments in shell quoting, a Python
    interpreter, or the folder of a virtual environment.

    Raises:
        BackendNotFound: Nothing is configured and none is on PATH, or it does not exist.
    """
    configured = configured.strip()
    if not configured:
        found = shutil.which(COMMAND)
        if found is None:
            raise BackendNotFound(
                f"There is no '{COMMAND}' on PATH. Install the backend as README.md of the project "
                "says, and set Backend Command in the preferences to it or to its virtual "
                "environment."
            )
        return LaunchCommand((found,))
    if Path(configured).is_dir():
        return _from_folder(Path(configured))
    words = [configured] if Path(configured).is_file() else _split(configured)
    if shutil.which(words[0]) is None:
        raise BackendNotFound(
            f"The backend command '{words[0]}' does not exist or cannot run. "
            "Correct it in the preferences."
        )
    if Path(words[0]).stem.startswith("python") and len(words) == 1:
        words += ["-m", "layert2v_backend"]
    return LaunchCommand(tuple(words))


def _split(text: str) -> list[str]:
    # In POSIX mode, shlex would drop the backslashes of Windows paths.
    return [word.strip('"') for word in shlex.split(text, posix=os.name == "posix")]


def _from_folder(folder: Path) -> LaunchCommand:
    for name in (f"bin/{COMMAND}", f"Scripts/{COMMAND}.exe", COMMAND):
        if (folder / name).is_file():
            return LaunchCommand((str(folder / name),))
    raise BackendNotFound(f"The folder {folder} holds no '{COMMAND}'. Install layert2v there.")


class Launcher:
    """One local backend that this program started, or none.

    The backend stops when this program ends, however it ends, because its standard input is a
    pipe that closes then. Jobs resume at its next start.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._stopping = False
        self.address = ""
        """Address of the backend that was started last."""

    @property
    def state(self) -> LaunchState:
        """Present state of the backend. Reading it is cheap enough for every redraw."""
        if self._process is None:
            return LaunchState.STOPPED
        if self._process.poll() is not None:
            stopped = self._stopping or self._process.returncode == 0
            return LaunchState.STOPPED if stopped else LaunchState.ENDED
        if self._stopping:
            return LaunchState.STOPPING
        return LaunchState.SERVING if self._ready_file.exists() else LaunchState.STARTING

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_stopped_on_purpose(self) -> bool:
        """Whether the backend was asked to stop and has stopped."""
        was_started = self._process is not None
        return was_started and self._stopping and self.state is LaunchState.STOPPED

    def failure(self) -> str:
        """Say in a sentence why the backend has ended by itself."""
        lines = [line.strip() for line in self.log_tail().splitlines() if line.strip()]
        said = [line for line in lines if line.startswith(f"{COMMAND}: ")]
        if said:
            reason = said[-1].removeprefix(f"{COMMAND}: ")
            return f"The backend did not start: {reason}."
        code = self.exit_code or 0
        end = f"signal {-code}" if code < 0 else f"code {code}"
        told = _sentence_of(lines[-1]) if lines else ""
        return f"The backend ended with {end}{': ' if told else '.'}{told}"

    @property
    def exit_code(self) -> int | None:
        """Exit code of the backend. None while it runs, and if none was started."""
        return None if self._process is None else self._process.poll()

    def start(self, command: LaunchCommand, address: str, *, state_folder: str = "") -> None:
        """Start a backend at `address`, unless one runs already.

        Raises:
            BackendNotFound: The command cannot be run.
        """
        if self.is_running:
            return
        self._forget()
        self._folder = tempfile.TemporaryDirectory(prefix="layert2v-")
        arguments = [*command.arguments, "serve", "--listen", address, "--stop-with-stdin"]
        arguments += ["--ready-file", str(self._ready_file)]
        if state_folder:
            arguments += ["--state", state_folder]
        self._stopping, self.address = False, address
        with self._log_file.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=_environment(),
                    creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                )
            except OSError as error:
                raise BackendNotFound(
                    f"'{arguments[0]}' cannot be run ({error.strerror}). Correct the backend "
                    "command in the preferences."
                ) from None

    def stop(self) -> None:
        """Ask the backend to stop and return at once. Running jobs resume at its next start."""
        if self._process is not None and self._process.poll() is None:
            self._stopping = True
            _close_input(self._process)

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop the backend at the end of the program. It is killed after `timeout_s`."""
        self.stop()
        if self._process is not None:
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._forget()

    def log_tail(self) -> str:
        """Give the end of the backend's log."""
        if self._folder is None or not self._log_file.exists():
            return ""
        with self._log_file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            return log.read().decode("utf-8", "replace")

    @property
    def _log_file(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "backend.log"

    @property
    def _ready_file(self) -> Path:
        assert self._folder is not None
        return Path(self._folder.name) / "ready"

    def _forget(self) -> None:
        if self._process is not None:
            _close_input(self._process)
        self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _sentence_of(line: str) -> str:
    """Give the readable sentence in a line of the log. For JSON it is the message.

    It is empty if the line explains no end, as with the line that announces the address.
    """
    try:
        values = json.loads(line)
    except ValueError:
        return "" if line.startswith("serving ") else line
    if not isinstance(values, dict):
        return line
    return str(next((values[name] for name in ("message", "why", "error") if name in values), ""))


def _close_input(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()


def _environment() -> dict[str, str]:
    """Give the backend our environment without the variables that name Blender's modules."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONHOME", "PYTHONSTARTUP", "PYTHONEXECUTABLE")
    } | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": sys.getdefaultencoding()}
