"""The process that loads torch. It runs one task after the other and is started by name only.

`python -m layert2v_backend.worker` reads commands from stdin and answers on stdout.
"""
