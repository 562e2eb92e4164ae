"""What the config of a family is made of: fields that are checked however the config is built."""

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ckptfmt.errors import ConfigError
from ckptfmt.format.document import fields_of, object_schema
from ckptfmt.format.kinds import Kind, named

__all__ = ["Config", "Data", "config_schema", "divisor", "flag", "number", "one_of", "positive", "refused", "text"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """A JSON object in a config, or the config itself: its fields are checked however it is built.

    Fields are declared with `document.value`, each with its kind, its default if it has one and what it is; those
    without a default are required for ever. A kind takes what it gives. A field that is wrong raises `ConfigError` that
    names it, whether it comes from Python or from a manifest.
    """

    # Rules between fields, as keywords of JSON Schema.
    rules: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self) -> None:
        for name, field in fields_of(type(self)).items():
            try:
                item = field.kind.parse(getattr(self, name), f"$.config.{name}", False)
            except ConfigError as e:
                raise refused(name, e.what) from None
            object.__setattr__(self, name, item)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return every field as it stands in the manifest."""
        return {name: _plain(getattr(self, name)) for name in fields_of(type(self))}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build it from its manifest form; raise `ManifestError` at the first field that is wrong."""
        known = fields_of(cls)
        if unknown := sorted(map(str, set(data) - set(known))):
            raise refused(unknown[0], "is no field of a model config")
        if missing := [name for name in object_schema(cls)[0]["required"] if name not in data]:
            raise refused(missing[0], "is missing")
        return cls(**data)


@dataclass(frozen=True, kw_only=True)
class Config(Data):
    """What a network of one family is rebuilt from; the base of every family's own config.

    `family` is the name under which the family is found.
    """

    family: ClassVar[str]


def config_schema(kind: type[Config]) -> dict[str, Any]:
    """Return the JSON Schema of a family's config."""
    schema, defs = object_schema(kind)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:ckptfmt:schema:v1:{kind.family}",
        "title": f"The config of the family {kind.family}",
        "description": f"What config holds in a manifest whose architecture.family is {kind.family}.",
        **schema,
        **({"$defs": defs} if defs else {}),
    }


def refused(name: str, what: str) -> ConfigError:
    """Return the error for one field of a config."""
    return ConfigError(f"{name} {what}", where=f"$.config.{name}")


def _plain(item: Any) -> Any:
    if hasattr(item, "to_dict"):
        return item.to_dict()
    return [_plain(entry) for entry in item] if isinstance(item, tuple) else item


def _kind(parse: Callable[[Any], Any], demand: str, schema: Mapping[str, Any]) -> Kind:
    """Return a kind of which `parse` returns None for what is none of it."""

    def checked(item: Any, where: str, relaxed: bool) -> Any:
        parsed = parse(item)
        if parsed is None:
            raise ConfigError(f"must be {demand}, not {item!r}", where=where)
        return parsed

    return Kind(checked, schema)


def _whole(item: Any) -> int | None:
    try:
        found = -1 if isinstance(item, bool) else operator.index(item)
    except TypeError:
        return None
    # The largest number of 32 bits with a sign: no size comes near it, and every reader holds it.
    return found if 1 <= found < 2**31 else None


def _flag(item: Any) -> bool | None:
    # NumPy has its own bool type, recognised by its name so that NumPy need not be imported.
    return bool(item) if isinstance(item, bool) or type(item).__name__ in ("bool_", "bool") else None


def _number(item: Any) -> float | None:
    try:
        found = math.nan if isinstance(item, bool | str) else float(item)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _divisor(item: Any) -> float | None:
    found = _number(item)
    return found if found is not None and found > 0 else None


def _text(item: Any) -> str | None:
    return item if isinstance(item, str) else None


def one_of(*words: str) -> Kind:
    """Return the kind of one of a few words."""
    return _kind(lambda item: item if item in words else None, f"one of {', '.join(words)}", {"enum": list(words)})


positive = named(
    "positive",
    _kind(_whole, "a whole number of 1 or more", {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}),
    "A size of at least one.",
)
flag = _kind(_flag, "true or false", {"type": "boolean"})
number = _kind(_number, "a finite number", {"type": "number"})
divisor = _kind(_divisor, "a finite number of more than 0", {"type": "number", "exclusiveMinimum": 0})
text = _kind(_text, "text", {"type": "string"})
