"""The opcodes of pickle protocols 0 to 5, as operations on a stack of plain values and placeholders."""

from collections.abc import Callable
from typing import Any

from ckptfmt.errors import SourceError
from ckptfmt.legacy.bytes.budget import Budget
from ckptfmt.legacy.pickle.calls import Calls
from ckptfmt.legacy.pickle.inert import Opaque, Unique
from ckptfmt.legacy.pickle.opcodes import Reader, parse_float, parse_int, parse_unicode, text_of_python2, unescape
from ckptfmt.legacy.pickle.refusal import refused
from ckptfmt.legacy.pickle.stack import Stack

__all__ = ["Machine", "Persistent"]

Persistent = Callable[[Any], Any]

_STOP = ord(".")
# PEP 574; nothing newer is defined.
_MAX_PROTOCOL = 5
# Opcodes are paid for by this many at a time.
_STEPS = 1000


class Machine:
    """One run over one pickle."""

    def __init__(self, reader: Reader, budget: Budget, calls: Calls, persistent: Persistent | None) -> None:
        self.protocol = 0
        self._reader = reader
        self._budget = budget
        self._calls = calls
        self._persistent = persistent
        self._start = reader.offset
        self._stack = Stack(reader)

    def run(self) -> Any:
        """Return the object; the reader is behind the STOP then."""
        reader, done = self._reader, 0
        while (code := reader.opcode()) != _STOP:
            done += 1
            if done % _STEPS == 0:
                self._budget.steps(_STEPS)
            operation = _OPERATIONS.get(code)
            if operation is None:
                reader.damaged(f"{code:#04x} is no opcode")
            operation(self)
        self._budget.steps(done % _STEPS)
        reader.stop()
        return self._stack.last()

    def _proto(self) -> None:
        # The opcode itself has been read.
        if self._reader.offset != self._start + 1:
            self._reader.damaged("it states its protocol in the middle")
        self.protocol = self._reader.byte()
        if self.protocol > _MAX_PROTOCOL:
            raise SourceError(
                f"uses pickle protocol {self.protocol}, this code reads protocols up to {_MAX_PROTOCOL}",
                fix="update ckptfmt, or save it again with an older protocol",
                code="source.unsupported",
            )

    # Numbers and text

    def _int_line(self) -> None:
        value = parse_int(self._reader.line())
        if value is None:
            self._reader.damaged("an integer is not written as one")
        self._stack.push(value)

    def _float_line(self) -> None:
        value = parse_float(self._reader.line())
        if value is None:
            self._reader.damaged("a float is not written as one")
        self._stack.push(value)

    def _string_line(self) -> None:
        data = unescape(self._reader.line())
        if data is None:
            self._reader.damaged("a string is not in quotes, or has escapes that Python does not write")
        self._budget.text(len(data))
        self._stack.push(text_of_python2(data))

    def _unicode_line(self) -> None:
        line = self._reader.line()
        self._budget.text(len(line))
        text = parse_unicode(line)
        if text is None:
            self._reader.damaged("a string has escapes that Python does not write")
        self._stack.push(text)

    def _string(self, width: int) -> None:
        data = self._reader.data(width)
        self._stack.push(text_of_python2(data) if isinstance(data, bytes) else data)

    # Containers

    def _tuple(self, size: int) -> None:
        items = [self._stack.pop() for _ in range(size)]
        self._stack.push(tuple(reversed(items)))

    def _dict(self) -> None:
        items = self._stack.group()
        made: dict[Any, Any] = {}
        self._fill(made, items)
        self._stack.push(made)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack.top()
        if isinstance(target, dict):
            self._fill(target, items)
        elif self._calls.holds(target):
            target.pairs.extend(self._pairs(items))
        else:
            raise refused("sets an item of something that is no dictionary")

    def _pairs(self, items: list[Any]) -> list[tuple[Any, Any]]:
        if len(items) % 2:
            self._reader.damaged("a dictionary has a key without a value")
        return list(zip(items[::2], items[1::2], strict=True))

    def _fill(self, target: dict[Any, Any], items: list[Any]) -> None:
        for key, value in self._pairs(items):
            self._budget.key(target, key)
            target[key] = value

    def _append(self, items: list[Any]) -> None:
        target = self._stack.top()
        if type(target) is list:
            target.extend(items)
        elif self._calls.holds(target):
            target.items.extend(items)
        else:
            raise refused("appends to something that is no list")

    def _add_items(self) -> None:
        items = self._stack.group()
        target = self._stack.top()
        if isinstance(target, Unique):
            target.extend(items)
        elif self._calls.holds(target):
            target.items.extend(items)
        else:
            raise refused("adds to something that is no set")

    def _drop_group(self) -> None:
        self._stack.group()

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    # The memo

    def _line_number(self) -> int:
        index = parse_int(self._reader.line())
        if type(index) is not int or index < 0:
            self._reader.damaged("a memo index is no number")
        return index

    # Names, calls, instances

    def _global(self) -> None:
        self._stack.push(self._line_global())

    def _line_global(self) -> Opaque:
        module = self._reader.decoded(self._reader.line())
        name = self._reader.decoded(self._reader.line())
        return self._calls.name(module, name)

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._stack.push(self._calls.name(module, name))

    def _reduce(self) -> None:
        args, target = self._stack.pop(), self._stack.pop()
        self._stack.push(self._calls.call(target, args))

    def _newobj(self) -> None:
        args, target = self._stack.pop(), self._stack.pop()
        self._stack.push(self._calls.make(target, args))

    def _newobj_ex(self) -> None:
        keywords, args, target = self._stack.pop(), self._stack.pop(), self._stack.pop()
        if not isinstance(keywords, dict) or not isinstance(args, tuple):
            self._reader.damaged("an instance is made without arguments")
        self._stack.push(self._calls.make(target, (*args, keywords) if keywords else args))

    def _obj(self) -> None:
        items = self._stack.group()
        if not items:
            self._reader.damaged("an instance is made of no class")
        self._stack.push(self._calls.make(items[0], tuple(items[1:])))

    def _inst(self) -> None:
        target = self._line_global()
        self._stack.push(self._calls.make(target, tuple(self._stack.group())))

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack.top()
        finished = self._calls.state(target, state)
        if finished is not target:
            # An array is made before its state; the memo may hold it in many places by now.
            self._stack.replace(target, finished)

    def _binpersid(self) -> None:
        pid = self._stack.pop()
        if self._persistent is None:
            raise refused("refers to an object outside of it")
        self._stack.push(self._persistent(pid))

    def _no_persid(self) -> None:
        raise refused("refers to an object outside of it by a line of text")

    def _no_extension(self) -> None:
        raise refused("uses the extension registry of the program that reads it")

    def _no_buffer(self) -> None:
        raise refused("refers to a buffer outside of it")


_Operation = Callable[[Machine], None]


# What each opcode does; the letters are those of the format.
_LETTERS: dict[bytes, _Operation] = {
    b"\x80": Machine._proto,
    b"\x95": lambda m: m._reader.frame(),
    b"N": lambda m: m._stack.push(None),
    b"\x88": lambda m: m._stack.push(True),
    b"\x89": lambda m: m._stack.push(False),
    b"I": Machine._int_line,
    b"L": Machine._int_line,
    b"F": Machine._float_line,
    b"S": Machine._string_line,
    b"V": Machine._unicode_line,
    # Arguments are 1, 2, 4 or 8 bytes as pickletools.opcodes has it, lengths as well as numbers; J alone has a sign.
    b"J": lambda m: m._stack.push(int.from_bytes(m._reader.take(4), "little", signed=True)),
    b"K": lambda m: m._stack.push(m._reader.byte()),
    b"M": lambda m: m._stack.push(m._reader.number(2)),
    b"\x8a": lambda m: m._stack.push(m._reader.signed(1)),
    b"\x8b": lambda m: m._stack.push(m._reader.signed(4)),
    b"G": lambda m: m._stack.push(m._reader.float()),
    b"T": lambda m: m._string(4),
    b"U": lambda m: m._string(1),
    b"X": lambda m: m._stack.push(m._reader.text(4)),
    b"\x8c": lambda m: m._stack.push(m._reader.text(1)),
    b"\x8d": lambda m: m._stack.push(m._reader.text(8)),
    b"B": lambda m: m._stack.push(m._reader.data(4)),
    b"C": lambda m: m._stack.push(m._reader.data(1)),
    b"\x8e": lambda m: m._stack.push(m._reader.data(8)),
    b"\x96": lambda m: m._stack.push(m._reader.data(8)),
    b"(": lambda m: m._stack.mark(),
    b"0": lambda m: m._stack.drop(),
    b"1": Machine._drop_group,
    b"2": lambda m: m._stack.push(m._stack.top()),
    b")": lambda m: m._stack.push(()),
    b"]": lambda m: m._stack.push([]),
    b"}": lambda m: m._stack.push({}),
    b"\x8f": lambda m: m._stack.push(Unique()),
    b"t": lambda m: m._stack.push(tuple(m._stack.group())),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"l": lambda m: m._stack.push(m._stack.group()),
    b"d": Machine._dict,
    # A frozenset: what it holds need not be hashable here, so it is a tuple.
    b"\x91": lambda m: m._stack.push(tuple(m._stack.group())),
    b"a": lambda m: m._append([m._stack.pop()]),
    b"e": lambda m: m._append(m._stack.group()),
    b"s": Machine._set_item,
    b"u": lambda m: m._set_items(m._stack.group()),
    b"\x90": Machine._add_items,
    b"g": lambda m: m._stack.recall(m._line_number()),
    b"h": lambda m: m._stack.recall(m._reader.byte()),
    b"j": lambda m: m._stack.recall(m._reader.number(4)),
    b"p": lambda m: m._stack.remember(m._line_number()),
    b"q": lambda m: m._stack.remember(m._reader.byte()),
    b"r": lambda m: m._stack.remember(m._reader.number(4)),
    b"\x94": lambda m: m._stack.remember(),
    b"c": Machine._global,
    b"\x93": Machine._stack_global,
    b"R": Machine._reduce,
    b"\x81": Machine._newobj,
    b"\x92": Machine._newobj_ex,
    b"o": Machine._obj,
    b"i": Machine._inst,
    b"b": Machine._build,
    b"Q": Machine._binpersid,
    b"P": Machine._no_persid,
    b"\x82": Machine._no_extension,
    b"\x83": Machine._no_extension,
    b"\x84": Machine._no_extension,
    b"\x97": Machine._no_buffer,
    b"\x98": Machine._no_buffer,
}
_OPERATIONS = {code[0]: operation for code, operation in _LETTERS.items()}
