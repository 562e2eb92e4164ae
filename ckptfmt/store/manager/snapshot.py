"""Copies of tensors as they are now, which the trainer may go on changing."""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ckptfmt.errors import WriteError
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import tensor_bytes
from ckptfmt.format.tensors import ArrayPayload, Part, payloads

__all__ = ["Buffers", "Snapshot", "abandoned"]


@record(slots=False)
class Snapshot(ArrayPayload):
    """A copied tensor, whose parts stop coming once `abandoned` is set."""

    abandoned: threading.Event

    # As large as a writer's blocks, so that an abandoned save stops within one of them.
    def chunks(self, size: int = 4 << 20) -> Iterator[memoryview]:
        """Return the bytes in parts of `size`; raise `WriteError` where the save was abandoned."""
        for part in super().chunks(size):
            if self.abandoned.is_set():
                raise abandoned()
            yield part


def abandoned() -> WriteError:
    """Return the error of a save that did not end in time."""
    fix = "allow it more time, or save to a faster disk"
    return WriteError("the save was abandoned, its time was up", fix=fix, code="write.abandoned")


class Buffers:
    """Memory for copies, used again from save to save: fresh memory costs more than the copying."""

    def __init__(self, abandoned: threading.Event) -> None:
        self._abandoned = abandoned
        self._free: defaultdict[int, list[bytearray]] = defaultdict(list)

    def copy(self, tensors: Mapping[str, Any]) -> dict[str, Snapshot | Part]:
        """Return copies of arrays or torch tensors by name; names of one tensor get one copy, a `Part` stays one."""
        stored, tied = payloads(tensors)
        copies = {name: self._copy(payload) for name, payload in stored.items()}
        return {
            name: replace(given, array=copies[tied.get(name, name)])
            if isinstance(given, Part)
            else copies[tied.get(name, name)]
            for name, given in tensors.items()
        }

    def give_back(self, copies: Mapping[str, Snapshot | Part]) -> None:
        """Take the memory of copies that nobody reads any more; giving back twice is allowed."""
        for copy in (kept.array if isinstance(kept, Part) else kept for kept in copies.values()):
            buffer = copy.data.obj
            free = self._free[len(copy.data)]
            # A buffer that lay here twice would be lent to two copies at once. By identity: equal ones are still two.
            if isinstance(buffer, bytearray) and not any(buffer is other for other in free):
                free.append(buffer)

    def _copy(self, payload: ArrayPayload) -> Snapshot:
        size = tensor_bytes(payload.dtype, payload.shape)
        free = self._free[size]
        buffer = free.pop() if free else bytearray(size)
        view, position = memoryview(buffer), 0
        # Part by part: those of another process come when they are asked for.
        for part in payload.chunks():
            view[position : position + len(part)] = part
            position += len(part)
        return Snapshot(payload.dtype, payload.shape, view, self._abandoned)
