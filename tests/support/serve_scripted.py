"""A front door with the scripted worker. Its arguments are those of `layert2v-backend serve`."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import structlog

from layert2v_backend.process_engine import ProcessEngine, ProcessOptions
from layert2v_backend.server.serving import serve
from layert2v_backend.settings import Settings
from support import scripted_worker


def announce(address: str) -> None:
    sys.stdout.write(f"serving layert2v.v1 on {address}\n")
    sys.stdout.flush()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("--listen")
    parser.add_argument("--state", type=Path)
    parser.add_argument("--models-dir", type=Path)
    parser.add_argument("--max-lost", type=int, default=3)
    flags, _ = parser.parse_known_args()
    settings = Settings(
        listen=flags.listen,
        state=flags.state,
        models_dirs=(flags.models_dir,),
        max_lost_attempts=flags.max_lost,
    )
    options = ProcessOptions(
        settings.state / "worker.log", command=(sys.executable, scripted_worker.__file__)
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await serve(settings, stop, announce, ProcessEngine(options))


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main())
