"""The ranks of torch.distributed, as they talk to one another while they save."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from weakref import ref

import torch
from torch import distributed

from ckptfmt.errors import WriteError
from ckptfmt.rl.pieces import pieces

__all__ = ["PATIENCE", "Ranks", "ranks_now"]

# Seconds until a rank that says nothing counts as gone: longer than any of them writes its part.
PATIENCE = 600.0
# What most messages fit into goes in one round, behind the length of the message; the rest of longer ones in another.
_FRAME, _LENGTH = 4096, 8


class Ranks:
    """All processes of torch.distributed, on a group of their own: a save in the background disturbs no training.

    All must make it at the same place of the program. A rank that does not answer within `patience` seconds, because it
    ended or stalled, makes the save fail in all others. They talk by tensors of bytes on the CPU, over gloo.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self.broken = False
        # Torch holds its groups until they are destroyed. Held here as well they would outlive that, and a thread of
        # gloo that lets go of a tensor while the interpreter ends aborts the process.
        self._world = ref(distributed.group.WORLD)
        try:
            self._group = ref(distributed.new_group(backend="gloo", timeout=timedelta(seconds=patience)))
        except RuntimeError:
            raise self._silent() from None

    @property
    def usable(self) -> bool:
        """Return whether these are the processes of now, and all of them have answered so far."""
        world = self._world()
        return not self.broken and world is not None and world is distributed.group.WORLD

    @property
    def rank(self) -> int:
        """Return the number of this process."""
        return distributed.get_rank()

    @property
    def size(self) -> int:
        """Return how many processes there are."""
        return distributed.get_world_size()

    def exchange(self, message: bytes) -> list[bytes]:
        """Return the messages of all ranks, in their order; raise `WriteError` where one does not answer in time."""
        try:
            told = self._gathered(_framed(message))
            sizes = [int.from_bytes(bytes(part[:_LENGTH].numpy()), "little") for part in told]
            if max(sizes) > _FRAME:
                rest = self._gathered(_padded(message[_FRAME:], max(sizes) - _FRAME))
                told = [torch.cat(both) for both in zip(told, rest, strict=True)]
        except RuntimeError:  # gloo's error for a time that is up, and for a process that is gone
            self.broken = True
            raise self._silent() from None
        return [bytes(part[_LENGTH : _LENGTH + size].numpy()) for part, size in zip(told, sizes, strict=True)]

    def pieces(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Return what this rank holds of tensors: all of a plain one, its slice of one that is spread over ranks."""
        return pieces(tensors)

    def _gathered(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        answers = [torch.zeros_like(tensor) for _ in range(self.size)]
        distributed.all_gather(answers, tensor, group=self._group())
        return answers

    def _silent(self) -> WriteError:
        return WriteError(
            f"a rank did not answer within {self.patience:g} seconds: it ended, or it stalls",
            fix="look at the errors of the other ranks; where one only takes long, wait longer for it",
            code="write.silent-rank",
        )


def _framed(message: bytes) -> torch.Tensor:
    return _padded(len(message).to_bytes(_LENGTH, "little") + message[:_FRAME], _LENGTH + _FRAME)


def _padded(data: bytes, size: int) -> torch.Tensor:
    return torch.frombuffer(bytearray(data.ljust(size, b"\0")), dtype=torch.uint8)


# One for all saves in the foreground: to make a group is a step of all ranks.
_NOW: list[Ranks] = []


def ranks_now(patience: float = PATIENCE) -> Ranks | None:
    """Return the ranks that save together now; None where this process trains by itself."""
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return None
    known = _NOW[0] if _NOW else None
    if known is None or not known.usable or known.patience != patience:
        _NOW[:] = [Ranks(patience)]
    return _NOW[0]
