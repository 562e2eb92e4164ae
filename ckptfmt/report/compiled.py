"""Templates compiled once for an installation, as Python keeps its own modules compiled."""

import os
import sys
from contextlib import suppress
from importlib.util import cache_from_source

from jinja2 import FileSystemBytecodeCache
from jinja2.bccache import Bucket

from ckptfmt import __version__

__all__ = ["Compiled"]


class Compiled(FileSystemBytecodeCache):
    """What templates of a folder were compiled to, where Python keeps such things: `__pycache__`, or its own prefix.

    Jinja compares the text of the template with the one that was compiled. The version of this package is in the name,
    since the settings of the compilation belong to it. Where Python writes no bytecode, or must not, nothing is kept.
    """

    def __init__(self, folder: str) -> None:
        cache = os.path.dirname(cache_from_source(os.path.join(folder, "template.py")))
        super().__init__(cache, f"ckptfmt-{__version__}-%s.jinja")

    def load_bytecode(self, bucket: Bucket) -> None:
        """Take what was kept, if it is there and whole."""
        try:
            super().load_bytecode(bucket)
        except Exception:  # a damaged file, or no place that can hold one: it is compiled anew
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled, if there is a place for it."""
        if sys.dont_write_bytecode:
            return
        with suppress(OSError):
            os.makedirs(self.directory, exist_ok=True)
            super().dump_bytecode(bucket)
