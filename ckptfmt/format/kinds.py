"""Kinds of values in a document: how each is read from JSON, and the JSON Schema that says the same.

An error names its path and grows it on the way up, so that a reader sees `$.files.weights.safetensors.bytes` and not
a traceback.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from ckptfmt.errors import ManifestError, printable
from ckptfmt.format.freeform import RESERVED, decode_free
from ckptfmt.format.record import record

__all__ = [
    "Kind",
    "Parser",
    "choice",
    "count",
    "flag",
    "free",
    "listing",
    "mapping",
    "named",
    "optional",
    "pattern",
    "text",
    "wrong",
]

# (value, path, relaxed) -> parsed value; relaxed reading lets words and fields of newer minor versions pass.
Parser = Callable[[Any, str, bool], Any]
Schema = Mapping[str, Any]
_TAGGED = [{"required": [tag]} for tag in sorted(RESERVED)]


@record
class Kind:
    """What a field may hold; `defs` are the definitions to which its schema refers by name."""

    parse: Parser
    schema: Schema
    defs: Mapping[str, Schema] = field(default_factory=dict)


def wrong(what: str, where: str, code: str = "manifest.value") -> ManifestError:
    """Return the error for one wrong value of a manifest."""
    return ManifestError(what, where=where, code=code)


def named(name: str, kind: Kind, about: str) -> Kind:
    """Return a kind that the schema defines once, under a name, and refers to wherever it is used."""
    return Kind(kind.parse, {"$ref": f"#/$defs/{name}"}, {**kind.defs, name: {**kind.schema, "description": about}})


def optional(kind: Kind) -> Kind:
    """Return a kind that lets null through."""
    simple = kind.schema.keys() == {"type"} and isinstance(kind.schema["type"], str)
    return Kind(
        lambda item, where, relaxed: None if item is None else kind.parse(item, where, relaxed),
        {"type": [kind.schema["type"], "null"]} if simple else {"oneOf": [{"type": "null"}, kind.schema]},
        kind.defs,
    )


def listing(kind: Kind) -> Kind:
    """Return the kind of a list; it becomes a tuple."""
    parse_entry = kind.parse

    def parse(item: Any, where: str, relaxed: bool) -> tuple[Any, ...]:
        if not isinstance(item, list):
            raise wrong("must be a list", where)
        parsed: list[Any] = []
        try:
            for entry in item:
                parsed.append(parse_entry(entry, "", relaxed))  # noqa: PERF401 (how many went well is asked)
        except ManifestError as e:  # the place is told for the one that is wrong, not made up for all that are right
            raise e.but(where=f"{where}[{len(parsed)}]{e.where}") from None
        return tuple(parsed)

    return Kind(parse, {"type": "array", "items": kind.schema}, kind.defs)


def mapping(kind: Kind, most: int | None = None) -> Kind:
    """Return the kind of an object whose keys are free and whose values are alike, of `most` keys at most."""
    parse_entry = kind.parse

    def parse(item: Any, where: str, relaxed: bool) -> dict[str, Any]:
        if not isinstance(item, dict):
            raise wrong("must be an object", where)
        if most is not None and len(item) > most:
            raise wrong(f"holds {len(item):,} entries, more than the {most:,} allowed", where)
        if len(item) == 1 and (tag := next(iter(item))) in RESERVED:
            raise wrong(f"the key {tag} is reserved for numbers", where)
        parsed: dict[str, Any] = {}
        name = ""
        try:
            for name, entry in item.items():
                parsed[name] = parse_entry(entry, "", relaxed)
        except ManifestError as e:
            raise e.but(where=f"{where}.{printable(name, 80)}{e.where}") from None
        return parsed

    # A tagged number has one key, and would be read as one where the manifest is compared.
    untagged = {"if": {"minProperties": 1, "maxProperties": 1}, "then": {"not": {"anyOf": _TAGGED}}}
    bound = {} if most is None else {"maxProperties": most}
    return Kind(parse, {"type": "object", "additionalProperties": kind.schema, **bound, **untagged}, kind.defs)


def pattern(expression: str, meaning: str) -> Kind:
    """Return the kind of text that matches `expression` from end to end."""
    compiled = re.compile(expression)

    def parse(item: Any, where: str, relaxed: bool = False) -> str:
        if not isinstance(item, str) or not compiled.fullmatch(item):
            raise wrong(f"must be {meaning}, not '{printable(item, 60)}'", where)
        return item

    return Kind(parse, {"type": "string", "title": meaning, "pattern": f"^{expression}$"})


def choice(*words: str) -> Kind:
    """Return the kind of one of a few words; a newer minor version may have more of them."""
    known = frozenset(words)

    def parse(item: Any, where: str, relaxed: bool) -> str:
        if not isinstance(item, str) or (item not in known and not relaxed):
            raise wrong(f"must be one of {', '.join(words)}, not '{printable(item, 60)}'", where)
        return item

    return Kind(parse, {"enum": list(words)})


def _text(item: Any, where: str, relaxed: bool = False) -> str:
    if not isinstance(item, str):
        raise wrong("must be text", where)
    return item


def _flag(item: Any, where: str, relaxed: bool = False) -> bool:
    if not isinstance(item, bool):
        raise wrong("must be true or false", where)
    return item


def _count(item: Any, where: str, relaxed: bool = False) -> int:
    # Not `isinstance`: true and false are whole numbers in Python.
    if type(item) is not int or item < 0:
        raise wrong("must be a whole number of 0 or more", where)
    return item


def _free(item: Any, where: str, relaxed: bool = False) -> Any:
    decoded = decode_free(item, where=where)
    if not isinstance(decoded, dict):
        raise wrong("must be an object", where)
    return decoded


text = Kind(_text, {"type": "string"})
flag = Kind(_flag, {"type": "boolean"})
count = named(
    "count",
    # 2^53 - 1: beyond it doubles, of which many readers make numbers, skip some.
    Kind(_count, {"type": "integer", "minimum": 0, "maximum": 9007199254740991}),
    "A whole number that every JSON reader holds exactly.",
)
# In a schema a tag is told by an object that has one key; the numbers' bounds are those of binary64.
_FLOAT_TAG = {"enum": ["nan", "inf", "-inf"], "description": "A number that is not finite."}
_INT_TAG = {
    "type": "string",
    "title": "a whole number beyond 2^53",
    "pattern": "^-?[1-9][0-9]{15,999}$",
    "description": "A whole number that JSON readers would round.",
}
_ANYTHING = {
    "type": ["null", "boolean", "number", "string", "array", "object"],
    "items": {"$ref": "#/$defs/anything"},
    "additionalProperties": {"$ref": "#/$defs/anything"},
    # The largest doubles: what is beyond them is infinite to most readers of JSON.
    "minimum": -1.7976931348623157e308,
    "maximum": 1.7976931348623157e308,
    "if": {"type": "object", "minProperties": 1, "maxProperties": 1},
    "then": {"properties": {"$float": _FLOAT_TAG, "$int": _INT_TAG}},
    "description": "Any JSON value. An object whose only key is $float or $int stands for a number.",
}
# A free-form object; tagged numbers come back as floats and integers.
free = named(
    "free",
    Kind(
        _free,
        {
            "type": "object",
            "additionalProperties": {"$ref": "#/$defs/anything"},
            "if": {"minProperties": 1, "maxProperties": 1},
            "then": {"not": {"anyOf": _TAGGED}},
        },
        {"anything": _ANYTHING},
    ),
    "A free-form object: any JSON, in which numbers that JSON lacks are tagged.",
)
