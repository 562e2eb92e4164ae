"""Records: frozen dataclasses that cost little to define.

`dataclasses` writes and compiles six functions for each frozen class, a millisecond in all; a command defines some
eighty before it reads its first byte, a third of its start. Here one is compiled, the constructor, and all records
share the others. Everything else is `dataclasses`' own: fields, `replace`, `asdict`, slots, pattern matching.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError
from typing import Any, NoReturn, TypeVar, dataclass_transform, overload

__all__ = ["record"]

_Class = TypeVar("_Class", bound=type[Any])


@overload
def record(cls: _Class) -> _Class: ...
@overload
def record(*, kw_only: bool = False, slots: bool = True, eq: bool = True) -> Callable[[_Class], _Class]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def record(cls: Any = None, *, kw_only: bool = False, slots: bool = True, eq: bool = True) -> Any:
    """Return the class as a frozen dataclass, with slots unless its instances keep what they compute.

    Records are derived from records only: `dataclasses` refuses to mix frozen classes with others, and to it these are
    others. With `eq=False` an instance equals itself alone.
    """

    def make(cls: Any) -> Any:
        own = {name: function for name, function in _SHARED.items() if name not in cls.__dict__}
        compared = {"__eq__": _eq, "__hash__": _hash} if eq and "__eq__" not in cls.__dict__ else {}
        made = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only, slots=slots)(cls)
        for name, function in {"__init__": _constructor(made), **own, **compared}.items():
            setattr(made, name, function)
        return made

    return make if cls is None else make(cls)


def _constructor(cls: type[Any]) -> Callable[..., None]:
    """Return `__init__`, which takes the fields and sets them past the lock that all others meet."""
    fields = [field for field in dataclasses.fields(cls) if field.init]
    # Keywords come last in a signature, wherever their fields stand.
    taken = [_parameter(field) for field in fields if not field.kw_only]
    keywords = [_parameter(field) for field in fields if field.kw_only]
    signature = ", ".join(["self", *taken, *(["*", *keywords] if keywords else [])])
    lines = [f"set(self, {field.name!r}, {_given(field)})" for field in dataclasses.fields(cls) if _is_set(field)]
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    scope: dict[str, Any] = {"set": object.__setattr__, "MADE": _MADE}
    for field in dataclasses.fields(cls):
        scope |= {f"default_{field.name}": field.default, f"make_{field.name}": field.default_factory}
    exec(f"def __init__({signature}):\n " + "\n ".join(lines or ["pass"]), scope)
    made: Callable[..., None] = scope["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"
    made.__annotations__ = {field.name: field.type for field in fields} | {"return": None}
    return made


class _Made:
    """What stands for a default that is made anew for each instance."""

    def __repr__(self) -> str:
        return "<factory>"


_MADE = _Made()


def _parameter(field: Field[Any]) -> str:
    if field.default_factory is not MISSING:
        return f"{field.name}=MADE"
    return field.name if field.default is MISSING else f"{field.name}=default_{field.name}"


def _is_set(field: Field[Any]) -> bool:
    return field.init or field.default_factory is not MISSING


def _given(field: Field[Any]) -> str:
    if field.default_factory is MISSING:
        return field.name
    made = f"make_{field.name}()"
    return f"{made} if {field.name} is MADE else {field.name}" if field.init else made


def _values(self: Any, which: str) -> tuple[Any, ...]:
    return tuple([getattr(self, field.name) for field in dataclasses.fields(self) if getattr(field, which)])


def _repr(self: Any) -> str:
    shown = (f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: Any, other: object) -> bool:
    return _values(self, "compare") == _values(other, "compare") if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self, "compare"))


def _set(self: Any, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delete(self: Any, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _restore(self: Any, state: list[Any]) -> None:
    for field, item in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, item)


_SHARED: dict[str, Callable[..., Any]] = {
    "__repr__": _repr, "__setattr__": _set, "__delattr__": _delete, "__getstate__": _state, "__setstate__": _restore,
}  # fmt: skip
