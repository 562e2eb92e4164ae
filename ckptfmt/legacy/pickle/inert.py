"""Inert objects: what stands where a pickle wants a class, a call or an instance of code that is not run."""

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Opaque", "Ordered", "Unique"]


@dataclass(eq=False, slots=True)
class Opaque:
    """A record of a name, a call, an instance or an attribute; nothing was looked up, called or made.

    `name` is `module.qualname` of the class or function (`…()` of what a call of it gave), `args` what a call was
    given, with the placeholder in front that it was a call or an attribute of, `state` what the
    instance was given afterwards, `items` what was appended to it and `pairs` what was set in it: the contents
    are reachable as plain data. Two placeholders are equal only if they are the same object.
    """

    kind: Literal["global", "call", "instance", "attribute"]
    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


class Ordered(dict[Any, Any]):
    """A dict that the pickle called an OrderedDict, a defaultdict or a Counter: those may carry attributes."""

    __slots__ = ()


class Unique(list[Any]):
    """A list that the pickle called a set: its items came in some order and nothing may be looked up in it."""

    __slots__ = ()
