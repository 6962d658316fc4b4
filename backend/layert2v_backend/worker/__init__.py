"""The process in which torch lives: one task after the other, synchronous, started by name only.

`python -m layert2v_backend.worker` reads commands from stdin and answers on stdout.
"""
