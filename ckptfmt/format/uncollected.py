"""Work on a manifest without looks for garbage: it makes no cycles, and each look is at all that it made."""

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["OF_A_TENSOR", "uncollected"]

# What is made of each tensor takes some hundred bytes, whatever it is made for.
OF_A_TENSOR = 512

# Manifests of more bytes are made of so many objects that looking for cycles among them takes a good part of the time.
_LARGE = 1 << 20


@contextlib.contextmanager
def uncollected(size: int) -> Iterator[None]:
    """While the block runs, look for no cycles of garbage.

    For a manifest of `size` bytes that is small nothing is gained, and nothing done.
    """
    paused = size >= _LARGE and gc.isenabled()
    if paused:
        gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()
