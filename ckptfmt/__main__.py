"""`python -m ckptfmt` is `ckpt`."""

import sys

from ckptfmt.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
