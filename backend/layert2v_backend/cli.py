"""The command `layert2v-backend`: flags to Settings to server. Only this file prints."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Any, NoReturn

import structlog
import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from layert2v.v1 import LOOPBACK_ADDRESS
from layert2v_backend.admission import default_format, estimate_shot
from layert2v_backend.errors import CannotServe, Refused
from layert2v_backend.models import DEFAULT_MODEL, find_models
from layert2v_backend.server.serving import serve as serve_until
from layert2v_backend.settings import Settings, default_state_folder

app = typer.Typer(
    name="layert2v-backend",
    help="Run LayerT2V for Blender with a gRPC front door on this machine and a worker.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ModelsDirs = Annotated[
    list[Path] | None,
    typer.Option(
        help="A folder that is a model (it has a layert2v.json) or holds such folders. May be "
        "repeated. The model `tiny` is always available."
    ),
]

MemoryBytes = Annotated[
    int | None,
    typer.Option(
        help="Memory of the device that jobs may use, in bytes. A shot that needs more is "
        "refused. Default: all of it. [env: LAYERT2V_MEMORY_BYTES]"
    ),
]

Precision = Annotated[
    str | None,
    typer.Option(
        help="Precision of the transformer: auto (bfloat16 if the processor or GPU has it "
        "natively, else float32), bfloat16 or float32. Default: auto. [env: LAYERT2V_PRECISION]"
    ),
]


@app.command()
def serve(
    listen: Annotated[
        str | None,
        typer.Option(
            help="unix:PATH (in a folder only you can open), or HOST:PORT on the loopback "
            "interface. Port 0 takes a free one. Default: a socket in the state folder, or on "
            f"Windows {LOOPBACK_ADDRESS}. [env: LAYERT2V_LISTEN]"
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help=f"Folder for jobs, takes and the worker's log. Only one backend at a time can "
            "use it. "
            f"Default: {default_state_folder()}. [env: LAYERT2V_STATE]"
        ),
    ] = None,
    models_dir: ModelsDirs = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of the worker. 0 means one for each processor. [env: LAYERT2V_THREADS]"
        ),
    ] = None,
    memory_bytes: MemoryBytes = None,
    offload: Annotated[
        str | None,
        typer.Option(
            help="The weights that wait in main memory if a GPU is small: auto (as few as "
            "possible), none, model (the GPU holds one part at a time) or group (one block at "
            "a time, slower). Exact. Default: auto. [env: LAYERT2V_OFFLOAD]"
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="full or fp8. fp8 keeps the transformer's weights in 8 bits, half the memory of "
            "16. APPROXIMATE: with tiny the take is 42 dB from the exact one and, on a CPU, "
            "needs 1.3 times the time. "
            "[env: LAYERT2V_WEIGHTS]"
        ),
    ] = None,
    step_cache: Annotated[
        float | None,
        typer.Option(
            help="Skip steps in which no stream changes by more than this share. 0 skips none. "
            "APPROXIMATE: of 16 steps with tiny, 0.1 skips none. 0.2 skips 7, needs 0.73 of "
            "the time and is 34 dB from the exact take. Each take records its skipped steps. "
            "[env: LAYERT2V_STEP_CACHE]"
        ),
    ] = None,
    refresh_kept_every: Annotated[
        int | None,
        typer.Option(
            help="Recompute kept layers every N steps where other layers are regenerated. 1 is "
            "exact. Larger values are faster and APPROXIMATE: with tiny and 24 steps, 4 needs "
            "0.7 "
            "of the time and is 46 dB or more from the exact take. "
            "The kept layers themselves never change. [env: LAYERT2V_REFRESH_KEPT_EVERY]"
        ),
    ] = None,
    compile_blocks: Annotated[
        bool | None,
        typer.Option(
            "--compile",
            help="Compile the transformer's blocks, for GPUs. Exact except for rounding. The "
            "first job of a kind waits for the compiler. On a CPU that takes half a minute "
            "and gains nothing. Offload by group is not compiled. Needs a C++ compiler. [env: "
            "LAYERT2V_COMPILE_BLOCKS]",
        ),
    ] = None,
    precision: Precision = None,
    prewarm: Annotated[
        bool | None,
        typer.Option(
            help="Load the model `tiny` at once instead of with the first job. Default: yes. "
            "[env: LAYERT2V_PREWARM]"
        ),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            help="Write the address (unix:PATH or HOST:PORT) into this file once calls are "
            "served. The file is written whole or not at all, and removed when the backend "
            "stops."
        ),
    ] = None,
    stop_with_stdin: Annotated[
        bool,
        typer.Option(
            help="Stop when standard input ends. A backend on a program's pipe then ends with "
            "that program, however it ends."
        ),
    ] = False,
) -> None:
    """Serve layert2v.v1 until SIGTERM or Ctrl-C. Running jobs resume at the next start.

    Prints one line, `serving layert2v.v1 on ADDRESS`, when calls are served. Exit code 2 means that
    it could not start, and standard error says why.
    """
    given = {
        "listen": listen,
        "state": state,
        "models_dirs": models_dir or None,
        "threads": threads,
        "memory_bytes": memory_bytes,
        "offload": offload,
        "weights": weights,
        "step_cache": step_cache,
        "refresh_kept_every": refresh_kept_every,
        "compile_blocks": compile_blocks,
        "precision": precision,
        "prewarm": prewarm,
    }
    _configure_logs()
    settings = _settings(given)
    try:
        asyncio.run(_serve(settings, ready_file, stop_with_stdin=stop_with_stdin))
    except CannotServe as failure:
        _refuse(str(failure))


@app.command()
def models(models_dir: ModelsDirs = None) -> None:
    """List the models that shots may name, with their abilities."""
    catalogue = find_models(_settings({"models_dirs": models_dir or None}).models_dirs)
    for model in catalogue.models.values():
        limits = model.limits
        sizes = ", ".join(f"{width}x{height}" for width, height in limits.sizes)
        lengths = ", ".join(map(str, limits.num_frames))
        print(f"{limits.id}: {limits.description}")
        print(f"    sizes {sizes}; frames {lengths}; up to {limits.max_foregrounds} foregrounds")
        print(f"    {model.folder}")
    for fault in catalogue.faults:
        print(f"damaged: {fault}")
    if not catalogue.models:
        _refuse("no model is usable: install layert2v again or name one with --models-dir")


@app.command()
def estimate(
    model: Annotated[str, typer.Option(help="The model, as `models` lists it.")] = DEFAULT_MODEL,
    width: Annotated[
        int, typer.Option(help="Width in pixels. 0 means the model's first size.")
    ] = 0,
    height: Annotated[
        int, typer.Option(help="Height in pixels. 0 means the model's first size.")
    ] = 0,
    frames: Annotated[
        int, typer.Option(help="Number of frames. 0 means the model's first length.")
    ] = 0,
    foregrounds: Annotated[int, typer.Option(min=1)] = 1,
    steps: Annotated[int, typer.Option(help="Number of steps. 0 means the model's default.")] = 0,
    models_dir: ModelsDirs = None,
    memory_bytes: MemoryBytes = None,
    precision: Precision = None,
) -> None:
    """Estimate a shot's tokens, peak memory and seconds on this machine, and say whether it fits.

    Measures this machine for a second. Exit code 1 means that the shot does not fit.
    """
    settings = _settings(
        {
            "models_dirs": models_dir or None,
            "memory_bytes": memory_bytes,
            "precision": precision,
        }
    )
    try:
        found = find_models(settings.models_dirs).find(model)
        shot = default_format(found.limits, width, height, frames, foregrounds, steps)
        cost, chosen, words = estimate_shot(shot, found, settings.memory_bytes, settings.precision)
    except Refused as refused:
        _refuse(refused.message)
    print(words)
    print(f"{shot.width}x{shot.height}, {shot.num_frames} frames, {foregrounds} foregrounds")
    print(f"tokens {cost.tokens}, peak {chosen.peak_bytes / 2**30:.2f} GiB, {cost.seconds:.0f} s")
    print(chosen.sentence)
    if not chosen.fits:
        raise typer.Exit(1)


def _settings(given: dict[str, Any]) -> Settings:
    said = {name: value for name, value in given.items() if value is not None}
    try:
        return Settings(**said)
    except ValidationError as failure:
        first = failure.errors()[0]
        field = str(first["loc"][0])
        parts = ".".join(map(str, first["loc"]))
        name = f"--{parts.replace('_', '-')}" if field in said else _variable_of(field)
        _refuse(f"{name} {first['input']}: {first['msg']}")
    except SettingsError as failure:
        # This error's sentence names the field only. A list in the environment is not JSON.
        unreadable = [
            _variable_of(name) for name in Settings.model_fields if f'"{name}"' in str(failure)
        ]
        _refuse(f'{" or ".join(unreadable) or failure}: write the list as JSON, such as ["models"]')


def _variable_of(field: str) -> str:
    """Name a field's environment variable as it is set. On POSIX its case may differ."""
    wanted = f"{Settings.model_config['env_prefix']}{field}".upper()
    return next((name for name in os.environ if name.upper() == wanted), wanted)


def _refuse(message: str) -> NoReturn:
    print(f"layert2v-backend: {message}", file=sys.stderr)
    raise typer.Exit(2)


async def _serve(settings: Settings, ready_file: Path | None, *, stop_with_stdin: bool) -> None:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    if stop_with_stdin:
        _stop_with_stdin(stop)
    with ExitStack() as at_end:
        await serve_until(settings, stop, _announcer(ready_file, at_end))


def _announcer(ready_file: Path | None, at_end: ExitStack) -> Callable[[str], None]:
    def announce(address: str) -> None:
        if ready_file:
            # The file is written only now, so that a failed start leaves another backend's file
            # alone.
            at_end.callback(ready_file.unlink, missing_ok=True)
            draft = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
            draft.write_text(address + "\n", encoding="utf-8")
            draft.replace(ready_file)
        print(f"serving layert2v.v1 on {address}", flush=True)

    return announce


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if os.name == "posix":
            loop.add_signal_handler(number, stop.set)
        else:
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))


def _stop_with_stdin(stop: asyncio.Event) -> None:
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()

    def wait_for_end() -> None:
        # This does not use sys.stdin. A waiting read holds its lock, and Python aborts at its end.
        with suppress(OSError):
            while os.read(descriptor, 4096):
                pass
        with suppress(RuntimeError):  # The loop has ended before the input.
            loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait_for_end, name="stdin", daemon=True).start()


def _configure_logs() -> None:
    """Log JSON lines to standard error. Prompts and tokens are never logged."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def main() -> None:
    """Run the command."""
    app()
