"""Documents: frozen dataclasses that are parsed, not merely checked, from JSON and written back to it.

Each field carries a parser from whatever JSON holds to its own type. An error names its path and grows it on
the way up, so a reader sees `$.files.weights.safetensors.bytes` and not a traceback.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from ckptfmt.errors import ManifestError, printable
from ckptfmt.format.jsontext import RESERVED, decode_free, encode_free, encode_key

__all__ = [
    "Document",
    "Parser",
    "choice",
    "count",
    "document",
    "flag",
    "free",
    "listing",
    "mapping",
    "optional",
    "pattern",
    "text",
    "value",
    "wrong",
]

# (value, path, relaxed) -> parsed value; relaxed reading keeps unknown fields of newer minor versions.
Parser = Callable[[Any, str, bool], Any]
_PARSERS: dict[type, dict[str, Parser]] = {}


@dataclass(frozen=True, kw_only=True)
class Document:
    """A JSON object with known fields; `unknown` keeps what a newer minor version added."""

    unknown: Mapping[str, Any] = field(default_factory=dict)

    # Fields that are left out of the JSON while they hold nothing.
    sparse: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def from_dict(cls, data: Any, where: str = "$", *, relaxed: bool = False) -> Self:
        """Parse a JSON object; raise `ManifestError` at the first field that is missing, unknown or wrong."""
        if not isinstance(data, dict):
            raise wrong("must be an object", where)
        known = _parsers(cls)
        surplus = {name: item for name, item in data.items() if name not in known}
        if surplus and not relaxed:
            raise wrong(
                "is no field of this version", f"{where}.{printable(next(iter(surplus)), 60)}", "manifest.unknown"
            )
        missing = [name for name in known if name not in data and name not in cls.sparse]
        if missing:
            raise wrong("is missing", f"{where}.{missing[0]}", "manifest.missing")
        parsed = {name: parse(data[name], f"{where}.{name}", relaxed) for name, parse in known.items() if name in data}
        return cls(**parsed, unknown=surplus)

    def to_dict(self) -> dict[str, Any]:
        """Return the document as JSON holds it, fields in their fixed order."""
        pairs = {name: getattr(self, name) for name in _parsers(type(self))}
        kept = {name: item for name, item in pairs.items() if name not in self.sparse or _holds(item)}
        return {**{name: _dump(item, f"$.{name}") for name, item in kept.items()}, **self.unknown}


def _parsers(kind: type[Document]) -> dict[str, Parser]:
    """Return how each field of a document is read, in their order."""
    if kind not in _PARSERS:
        _PARSERS[kind] = {f.name: f.metadata["parse"] for f in fields(kind) if f.name != "unknown"}
    return _PARSERS[kind]


def wrong(what: str, where: str, code: str = "manifest.value") -> ManifestError:
    """Return the error for one wrong value of a manifest."""
    return ManifestError(what, where=where, code=code)


def value(parse: Parser, **options: Any) -> Any:
    """Return a dataclass field that is read with `parse`."""
    return field(metadata={"parse": parse}, **options)


def document(kind: type[Document]) -> Parser:
    """Return a parser for a nested document."""
    return lambda item, where, relaxed: kind.from_dict(item, where, relaxed=relaxed)


def optional(parse: Parser) -> Parser:
    """Return a parser that lets null through."""
    return lambda item, where, relaxed: None if item is None else parse(item, where, relaxed)


def listing(parse: Parser) -> Parser:
    """Return a parser for a list; it becomes a tuple."""

    def parse_list(item: Any, where: str, relaxed: bool) -> tuple[Any, ...]:
        if not isinstance(item, list):
            raise wrong("must be a list", where)
        try:
            return tuple([parse(entry, where, relaxed) for entry in item])
        except ManifestError:  # the place is told for the one that is wrong, not made up for all that are right
            return tuple(parse(entry, f"{where}[{i}]", relaxed) for i, entry in enumerate(item))

    return parse_list


def mapping(parse: Parser) -> Parser:
    """Return a parser for an object whose keys are free and whose values are alike."""

    def parse_mapping(item: Any, where: str, relaxed: bool) -> dict[str, Any]:
        if not isinstance(item, dict):
            raise wrong("must be an object", where)
        if len(item) == 1 and (tag := next(iter(item))) in RESERVED:
            raise wrong(f"the key {tag} is reserved for numbers", where)
        try:
            return {name: parse(entry, where, relaxed) for name, entry in item.items()}
        except ManifestError:
            return {name: parse(entry, f"{where}.{printable(name, 80)}", relaxed) for name, entry in item.items()}

    return parse_mapping


def text(item: Any, where: str, relaxed: bool = False) -> str:
    """Parse text."""
    if not isinstance(item, str):
        raise wrong("must be text", where)
    return item


def flag(item: Any, where: str, relaxed: bool = False) -> bool:
    """Parse true or false."""
    if not isinstance(item, bool):
        raise wrong("must be true or false", where)
    return item


def count(item: Any, where: str, relaxed: bool = False) -> int:
    """Parse a whole number of 0 or more."""
    if type(item) is not int or item < 0:
        raise wrong("must be a whole number of 0 or more", where)
    return item


def pattern(expression: str, meaning: str) -> Parser:
    """Return a parser for text that matches `expression` from end to end."""
    compiled = re.compile(expression)

    def parse_pattern(item: Any, where: str, relaxed: bool = False) -> str:
        if not isinstance(item, str) or not compiled.fullmatch(item):
            raise wrong(f"must be {meaning}, not '{printable(item, 60)}'", where)
        return item

    return parse_pattern


def choice(*words: str) -> Parser:
    """Return a parser for one of a few words; a newer minor version may have more of them."""

    def parse_choice(item: Any, where: str, relaxed: bool) -> str:
        if not isinstance(item, str) or (item not in words and not relaxed):
            raise wrong(f"must be one of {', '.join(words)}, not '{printable(item, 60)}'", where)
        return item

    return parse_choice


def free(item: Any, where: str, relaxed: bool = False) -> Any:
    """Parse a free-form object; tagged numbers come back as floats and integers."""
    decoded = decode_free(item, where=where)
    if not isinstance(decoded, dict):
        raise wrong("must be an object", where)
    return decoded


def _holds(item: Any) -> bool:
    return item is not None and item != () and item != {}


def _dump(item: Any, where: str) -> Any:
    if isinstance(item, Document):
        return item.to_dict()
    if isinstance(item, tuple | list):
        return [_dump(entry, f"{where}[{i}]") for i, entry in enumerate(item)]
    if isinstance(item, Mapping) and item and all(isinstance(entry, Document) for entry in item.values()):
        return {encode_key(name, where=where): entry.to_dict() for name, entry in item.items()}
    return encode_free(item, where=where)
