"""The worker process, `python -m layert2v_backend.worker [OPTIONS]`. The options are JSON."""

import sys
from functools import partial

from layert2v_backend.worker.leash import end_with_door


def main() -> None:
    """Serve tasks until the front door leaves, however it leaves."""
    end_with_door()
    # Loading torch takes seconds, in which the front door may die.
    from layert2v_backend.json_text import from_json
    from layert2v_backend.worker.generate import Worker
    from layert2v_backend.worker.pipe import serve_pipe
    from layert2v_backend.worker_protocol import EXACT, WorkerOptions

    options = from_json(WorkerOptions, sys.argv[1]) if len(sys.argv) > 1 else EXACT
    serve_pipe(partial(Worker, options=options))


main()
