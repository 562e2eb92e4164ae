"""A place in a block where things that say their own size follow one another; no size is believed beyond its end."""

import struct
from typing import Any

from ckptfmt.errors import SourceError, TooCostly
from ckptfmt.legacy.bytes.blocks import Block, Window
from ckptfmt.legacy.bytes.budget import MAX_DEPTH, Budget

__all__ = ["UNTRUSTED", "Cursor", "damaged"]

# What a source that costs more than honest ones is answered with.
UNTRUSTED = "get the weights from a source that you trust"
_AGAIN = "copy or download it again"
# Names and settings in Flax's and Torch7's files are short; byte strings and arrays stay where they lie.
_MAX_TEXT = 1 << 20


class Cursor:
    """Where reading is in a block; `budget` is spent as it moves on.

    What is read raises `SourceError` where the block ends before it, and `TooCostly` beyond the budget.
    """

    def __init__(self, block: Block, budget: Budget) -> None:
        self.block, self.budget, self.at = block, budget, 0

    def begin(self, depth: int) -> None:
        """Spend one object that lies in so many others."""
        if depth > MAX_DEPTH:
            raise TooCostly(f"is nested more than {MAX_DEPTH} deep", fix=UNTRUSTED)
        self.budget.steps(1)

    def end(self, thing: str = "") -> None:
        """Raise `SourceError` unless all of the block was read; `thing` is what the block holds, for the sentence."""
        if self.at != self.block.size:
            raise damaged(f"has {thing}{self.block.size - self.at:,} bytes behind its end")

    def number(self, form: str) -> Any:
        """Return the number that follows, in a form of `struct`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self, size: int) -> bytes:
        """Return the bytes of a text that follows."""
        if size > _MAX_TEXT:
            raise TooCostly(f"holds a text of {size:,} bytes", fix=UNTRUSTED)
        self.budget.text(max(size, 0))
        return self.take(size)

    def take(self, size: int) -> bytes:
        """Return the bytes that follow."""
        self.expect(size)
        data = self.block.read(self.at, size)
        self.at += size
        return data

    def window(self, size: int) -> Window:
        """Return the bytes that follow as they lie in the block, unread."""
        self.expect(size)
        window = Window(self.block, self.at, size)
        self.at += size
        return window

    def expect(self, size: int) -> None:
        """Raise `SourceError` unless so many bytes are left."""
        if size < 0:
            raise damaged(f"counts {size:,} of something")
        if (left := self.block.size - self.at) < size:
            what = f"is cut short: {size:,} bytes are needed where {left:,} are left"
            raise SourceError(what, fix=_AGAIN, code="source.truncated")


def damaged(what: str) -> SourceError:
    """Return the error for a source that `what`, as none is written."""
    return SourceError(what, fix=_AGAIN, code="source.damaged")
