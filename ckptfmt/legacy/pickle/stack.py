"""The stack, the marks and the memo of a pickle that is being read."""

from typing import Any

from ckptfmt.errors import printable
from ckptfmt.legacy.bytes.budget import MAX_DEPTH, MAX_MEMO, MAX_STACK, exceeded
from ckptfmt.legacy.pickle import ndarray as arrays
from ckptfmt.legacy.pickle.inert import Opaque
from ckptfmt.legacy.pickle.opcodes import Reader

__all__ = ["Stack"]

# Picklers of protocols 0 and 1 hold a mark open for each container around the one they write.
_MAX_MARKS = 4 * MAX_DEPTH
# Picklers count up from 0; the rest of an index is taken as it comes, as long as there are few.
_MAX_INDEX = 2**32
_MAX_STRAYS = 10_000


class Stack:
    """Where opcodes take their operands from; taking from nothing is a `SourceError` at the reader's place."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._items: list[Any] = []
        # What lay below each mark that is open.
        self._below: list[list[Any]] = []
        # Picklers count up from their first index; the few that lie elsewhere must not be many, because their
        # writer could choose them so that looking them up is slow.
        self._memo: list[Any] = []
        self._first = 0
        self._strays: dict[int, Any] = {}
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
        if index is None:
            index = self._first + len(self._memo)
        elif not self._memo:
            self._first = index
        value = self.top()
        self._note(index, value)
        if isinstance(value, Opaque) and value.name == arrays.NDARRAY:
            self._unfinished.setdefault(id(value), []).append(index)

    def _note(self, index: int, value: Any) -> None:
        place = index - self._first
        if place == len(self._memo):
            self._memo.append(value)
            if place >= MAX_MEMO:
                raise exceeded(f"remembers more than {MAX_MEMO:,} objects")
        elif 0 <= place < len(self._memo):
            self._memo[place] = value
        else:
            self._strays[index] = value
            if index > _MAX_INDEX or len(self._strays) > _MAX_STRAYS:
                raise exceeded("remembers objects under numbers that no pickler gives")

    def _noted(self, index: int) -> Any:
        place = index - self._first
        if 0 <= place < len(self._memo):
            return self._memo[place]
        if index not in self._strays:
            self._reader.damaged(f"it recalls object {printable(index, 20)}, which it did not note")
        return self._strays[index]

    def recall(self, index: int) -> None:
        """Push what the memo has under an index."""
        self.push(self._noted(index))

    def replace(self, old: Any, new: Any) -> None:
        """Put a finished object where an unfinished one is on top and in the memo."""
        self._items[-1] = new
        for index in self._unfinished.pop(id(old), ()):
            if self._noted(index) is old:
                self._note(index, new)
