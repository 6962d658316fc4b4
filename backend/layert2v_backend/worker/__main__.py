"""`python -m layert2v_backend.worker`: the worker process."""

from layert2v_backend.worker.generate import Worker
from layert2v_backend.worker.pipe import serve_pipe

serve_pipe(Worker)
