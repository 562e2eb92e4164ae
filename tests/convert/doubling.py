"""Work that a worker of another process imports by its name."""

import os
from pathlib import Path


def double(number: int, *, deadly: int = -1, once: Path | None = None) -> int:
    """Twice the number; of the deadly one its worker dies, or only the first time."""
    if number == deadly and not (once and once.exists()):
        if once:
            once.touch()
        os._exit(9)
    return 2 * number
