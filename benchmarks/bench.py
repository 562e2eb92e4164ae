"""What every row gets: a folder, the sizes, and ways to start things in other processes."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import Comparison, Result

__all__ = ["Bench", "Row", "forget", "peer"]

_PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclass(frozen=True, slots=True)
class Bench:
    """Where data goes and how much of it: with `short` tiny data and one round."""

    folder: str
    short: bool = False

    def path(self, *names: str) -> str:
        """Return a path in the folder."""
        return os.path.join(self.folder, *names)

    def rounds(self, full: int) -> int:
        """Return how many rounds count."""
        return 1 if self.short else full

    def size(self, full: int, short: int) -> int:
        """Return a size, in whatever unit."""
        return short if self.short else full

    def ckpt(self, *words: str) -> list[str]:
        """Return the command line of `ckpt` as users have it."""
        script = os.path.join(os.path.dirname(sys.executable), "ckpt")
        return [script, *words] if os.path.exists(script) else [sys.executable, "-P", "-m", "ckptfmt", *words]

    def clean_slate(self, *names: str) -> Callable[[], None]:
        """Return what removes these and lets the disk come to rest, before a measurement that writes."""

        def settle() -> None:
            for name in names:
                shutil.rmtree(self.path(name), ignore_errors=True)
                if os.path.exists(self.path(name)):
                    os.unlink(self.path(name))
            os.sync()

        return settle

    def inside(self, module: str, *words: str) -> dict[str, Comparison]:
        """Return the comparisons that a module of ours makes within one process of its own."""
        return {name: Comparison.of(sides) for name, sides in self.answer(module, *words).items()}

    def answer(self, module: str, *words: str) -> dict[str, Any]:
        """Return what a module of ours finds within one process of its own."""
        command = [sys.executable, "-m", f"benchmarks.{module}", *words]
        answer: dict[str, Any] = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=_ROOT).stdout
        )
        return answer


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: its number, and the function that measures it."""

    number: int
    measure: Callable[[Bench], list[Result]]


def forget(files: Sequence[str]) -> None:
    """Let the system drop what it holds of these files, so that they are read from the disk."""
    os.sync()
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def peer(name: str, *words: str) -> list[str]:
    """Return the command line of a script in `peers`."""
    return [sys.executable, os.path.join(_PEERS, f"{name}.py"), *words]
