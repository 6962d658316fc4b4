"""`python -m layert2v_backend` is `layert2v-backend`."""

from layert2v_backend.cli import main

main()
