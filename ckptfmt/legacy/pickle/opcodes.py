"""The bytes of a pickle: its opcodes' arguments, read in bounded steps and never past the end."""

import codecs
import re
import struct
from typing import NoReturn

from ckptfmt.errors import BadPickle, SourceError
from ckptfmt.legacy.bytes.blocks import Block, Window
from ckptfmt.legacy.bytes.budget import MAX_TEXT, Budget, exceeded

__all__ = ["Reader", "parse_float", "parse_int", "parse_unicode", "text_of_python2", "unescape"]

# Small objects are read from a page in memory, not from the file one by one.
_PAGE = 64 << 10
# Longer byte strings (arrays) stay in the source until they are asked for.
_IN_MEMORY = 64 << 10
# As many digits as the bytes below make; Python takes quadratic time for longer ones.
_MAX_LINE_NUMBER = 2500
_MAX_INT_BYTES = 1024
_INT = re.compile(rb"[+-]?[0-9]+")
_FLOAT = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|inf|nan)")


class Reader:
    """A cursor over a block, from `start`."""

    def __init__(self, block: Block, start: int, budget: Budget) -> None:
        self._block = block
        self._budget = budget
        self._base = start
        self._page = b""
        self._at = 0
        # Where the frame that is being read ends, or 0 outside of frames.
        self._frame_end = 0

    @property
    def offset(self) -> int:
        """Return where in the block the next byte lies."""
        return self._base + self._at

    def damaged(self, what: str) -> NoReturn:
        """Raise the `SourceError` for a pickle that no pickler writes."""
        raise BadPickle(f"its pickle is damaged near byte {self.offset:,}: {what}", fix="copy or download it again")

    def opcode(self) -> int:
        """Return the next opcode; where a frame ends, an opcode must begin."""
        if self._frame_end and self.offset >= self._frame_end:
            if self.offset > self._frame_end:
                self.damaged("a frame ends inside an opcode")
            self._frame_end = 0
        if self._at >= len(self._page):
            self._turn(1)
        self._at += 1
        return self._page[self._at - 1]

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        if self._at + size > len(self._page):
            self._turn(size)
        data = self._page[self._at : self._at + size]
        self._at += size
        return data

    def number(self, width: int) -> int:
        """Return the next little-endian unsigned number of `width` bytes."""
        return int.from_bytes(self.take(width), "little")

    def line(self) -> bytes:
        """Return the bytes up to the next newline, which is passed over."""
        end = self._page.find(b"\n", self._at)
        size = _PAGE
        while end < 0:
            rest = self._block.size - self.offset
            self._turn(min(size, rest))
            end = self._page.find(b"\n", self._at)
            if end < 0 and size >= rest:
                self._cut()
            if end < 0 and size > MAX_TEXT:
                raise exceeded(f"holds a line of more than {MAX_TEXT >> 20} MiB")
            # Each time four times as much, so that a line of n bytes is read less than twice.
            size *= 4
        line = self._page[self._at : end]
        self._at = end + 1
        return line

    def text(self, width: int) -> str:
        """Return a string whose length in bytes is a number of `width` bytes."""
        size = self.number(width)
        self._need(size)
        self._budget.text(size)
        return self.decoded(self.take(size))

    def decoded(self, data: bytes) -> str:
        """Return UTF-8 as text; half a pair of surrogates is refused, as nothing could write it out again."""
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.damaged("a string is not UTF-8")

    def data(self, width: int) -> bytes | Window:
        """Return a byte string with its length before it; a long one is left where it lies."""
        size = self.number(width)
        self._need(size)
        if size > _IN_MEMORY:
            window = Window(self._block, self.offset, size)
            self._base, self._page, self._at = self.offset + size, b"", 0
            return window
        self._budget.text(size)
        return self.take(size)

    def signed(self, width: int) -> int:
        """Return a little-endian two's complement number whose length in bytes comes before it."""
        size = self.number(width)
        if size > _MAX_INT_BYTES:
            raise exceeded(f"holds an integer of {size:,} bytes")
        return int.from_bytes(self.take(size), "little", signed=True)

    def float(self) -> float:
        """Return the next big-endian 64-bit float."""
        value: float = struct.unpack(">d", self.take(8))[0]
        return value

    def frame(self) -> None:
        """Note a frame: frames follow each other, and all of one is there."""
        size = self.number(8)
        if self._frame_end:
            self.damaged("a frame begins inside another")
        self._need(size)
        self._frame_end = self.offset + size

    def stop(self) -> None:
        """Refuse an end in the middle of a frame."""
        if self.offset < self._frame_end:
            self.damaged("it stops before its frame does")

    def _need(self, size: int) -> None:
        if self.offset + size > self._block.size:
            self._cut()

    def _turn(self, size: int) -> None:
        """Read on, so that `size` bytes from the cursor are in the page."""
        self._need(size)
        base = self.offset
        self._page = self._block.read(base, max(size, min(_PAGE, self._block.size - base)))
        self._base, self._at = base, 0

    def _cut(self) -> NoReturn:
        raise SourceError(
            f"is cut short: its pickle goes on after byte {self._block.size:,}",
            fix="copy or download it again",
            code="source.truncated",
        )


def parse_int(line: bytes) -> int | bool | None:
    """Return what the text of an INT or LONG opcode stands for, or None where it is no number."""
    # How protocols 0 and 1 write false and true.
    if line in (b"00", b"01"):
        return line == b"01"
    digits = line.removesuffix(b"L")
    if len(digits) > _MAX_LINE_NUMBER:
        raise exceeded(f"holds an integer of {len(digits):,} digits")
    return int(digits) if _INT.fullmatch(digits) else None


def parse_float(line: bytes) -> float | None:
    """Return the number of a FLOAT opcode, or None where it is none."""
    # repr() of a float takes 24 characters at most.
    return float(line) if len(line) < 1000 and _FLOAT.fullmatch(line) else None


def unescape(line: bytes) -> bytes | None:
    """Return the bytes of a quoted Python 2 string, or None where it is none."""
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        return None
    try:
        return codecs.escape_decode(line[1:-1])[0]
    except (ValueError, DeprecationWarning):
        # A number that is none, or (where warnings are errors) an escape that no pickler writes.
        return None


def parse_unicode(line: bytes) -> str | None:
    """Return the text of a UNICODE opcode, or None where it is none."""
    try:
        # A narrow Python 2 wrote one character as two surrogates; a single one is no text. Codecs that are called by
        # name would be imported now, in the middle of a file.
        units = codecs.utf_16_le_encode(codecs.raw_unicode_escape_decode(line)[0], "surrogatepass")[0]
        return codecs.utf_16_le_decode(units, "strict", True)[0]
    except UnicodeDecodeError:
        return None


def text_of_python2(data: bytes) -> str | bytes:
    """Return a byte string of Python 2 as text where it is UTF-8, which encoding undoes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
