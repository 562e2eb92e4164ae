"""The stack, the marks and the memo of a pickle that is being read."""

from typing import Any

from ckptfmt.legacy import arrays
from ckptfmt.legacy.budget import MAX_DEPTH, MAX_MEMO, MAX_STACK, exceeded
from ckptfmt.legacy.inert import Opaque
from ckptfmt.legacy.opcodes import Reader

__all__ = ["Stack"]

# Picklers of protocols 0 and 1 hold a mark open for each container around the one they write.
_MAX_MARKS = 4 * MAX_DEPTH


class Stack:
    """Where opcodes take their operands from; taking from nothing is a `SourceError` at the reader's place."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._items: list[Any] = []
        # What lay below each mark that is open.
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        # Where arrays were put in the memo before they had their state.
        self._unfinished: dict[int, list[int]] = {}

    def push(self, value: Any) -> None:
        """Put a value on top."""
        self._items.append(value)
        if len(self._items) > MAX_STACK:
            raise exceeded(f"keeps more than {MAX_STACK:,} objects on its stack")

    def pop(self) -> Any:
        """Take the top value."""
        if not self._items:
            self._reader.damaged("it takes an object from an empty stack")
        return self._items.pop()

    def top(self) -> Any:
        """Return the top value."""
        if not self._items:
            self._reader.damaged("it takes an object from an empty stack")
        return self._items[-1]

    def mark(self) -> None:
        """Begin a group of values."""
        if len(self._below) >= _MAX_MARKS:
            raise exceeded(f"keeps more than {_MAX_MARKS} marks on its stack")
        self._below.append(self._items)
        self._items = []

    def group(self) -> list[Any]:
        """Take all values since the last mark, which ends."""
        if not self._below:
            self._reader.damaged("it looks for a mark that is not there")
        items, self._items = self._items, self._below.pop()
        return items

    def drop(self) -> None:
        """Forget the top value, or the mark if that is on top."""
        if self._items:
            self._items.pop()
        else:
            self.group()

    def last(self) -> Any:
        """Take the only value there is at the end."""
        if self._below or len(self._items) != 1:
            self._reader.damaged("it ends with more or less than one object on its stack")
        return self._items.pop()

    def remember(self, index: int | None = None) -> None:
        """Note the top value in the memo, under the next index where none is given."""
        index = len(self._memo) if index is None else index
        value = self.top()
        self._memo[index] = value
        if len(self._memo) > MAX_MEMO:
            raise exceeded(f"remembers more than {MAX_MEMO:,} objects")
        if isinstance(value, Opaque) and value.name == arrays.NDARRAY:
            self._unfinished.setdefault(id(value), []).append(index)

    def recall(self, index: int) -> None:
        """Push what the memo has under an index."""
        if index not in self._memo:
            self._reader.damaged(f"it recalls object {index}, which it did not note")
        self.push(self._memo[index])

    def replace(self, old: Any, new: Any) -> None:
        """Put a finished object where an unfinished one is on top and in the memo."""
        self._items[-1] = new
        for index in self._unfinished.pop(id(old), ()):
            if self._memo[index] is old:
                self._memo[index] = new
