"""`python -m layert2v_model.released verify FILE...`; see `fixtures`."""

import sys

from layert2v_model.released.fixtures import main

if __name__ == "__main__":
    sys.exit(main())
