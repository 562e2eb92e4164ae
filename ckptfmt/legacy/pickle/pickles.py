"""Pickles read without running them: an interpreter of the opcodes that builds plain data and placeholders.

It knows protocols 0 to 5 (PEP 307, 3154, 574). Nothing that a pickle names is looked up, imported or called;
what may stand for a call is in `builders`, what a name may be in `names`, what it all may cost in `budget`.
"""

from typing import Any

from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.blocks import Block, MemoryBlock
from ckptfmt.legacy.bytes.budget import Budget
from ckptfmt.legacy.pickle import graph
from ckptfmt.legacy.pickle.calls import Calls, Nested
from ckptfmt.legacy.pickle.inert import Opaque
from ckptfmt.legacy.pickle.machine import Machine, Persistent
from ckptfmt.legacy.pickle.opcodes import Reader

__all__ = ["Opaque", "Pickle", "load"]


@record
class Pickle:
    """An object read from a pickle; `end` is the offset behind it.

    `globals` are the names it holds as they are written, `placeholders` those of them that stayed placeholders
    because they belong to code that is not known here.
    """

    value: Any
    end: int
    protocol: int
    globals: tuple[str, ...]
    placeholders: tuple[str, ...]


def load(
    data: Block | bytes,
    *,
    start: int = 0,
    persistent: Persistent | None = None,
    nested: Nested | None = None,
    allow_unsafe: bool = False,
    budget: Budget | None = None,
) -> Pickle:
    """Return the pickle that begins at `start`, as plain data, `LegacyTensor` and `Opaque` placeholders.

    `nested` reads a storage that was pickled as bytes of its own (`pickle.dump` of tensors); without it they
    are refused. `persistent` gives what a binary persistent id stands for (a `Storage`); without it they are refused.
    With `allow_unsafe` names that would be refused become placeholders; nothing runs even then. Pickles of one
    source may share a `budget`. Byte strings above 64 KiB stay in the source, as blocks.

    Raises `UnsafeSource` for a name or call that is refused, `SourceError` for a pickle that is damaged, or
    that costs more than an honest one.
    """
    block = MemoryBlock(data) if isinstance(data, bytes) else data
    budget = budget or Budget()
    reader = Reader(block, start, budget)
    calls = Calls(budget, nested, allow_unsafe)
    machine = Machine(reader, budget, calls, persistent)
    value = machine.run()
    graph.check(value)
    return Pickle(value, reader.offset, machine.protocol, tuple(calls.globals), tuple(calls.placeholders))
