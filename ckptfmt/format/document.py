"""Documents: frozen dataclasses that are parsed, not merely checked, from JSON and written back to it.

What is known of a field stands in one place, where the document declares it: the kind of its values, its default, what
it is, and the minor version that brought it. A field without a default is required for ever. One with a default may be
absent, which means the default, and is left out while it holds it: so a document that gains a field still reads what
was written before, and writes it back as it was. The JSON Schema of a document is made of the same declarations.
"""

from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from typing import Any, ClassVar, Self, TypeVar

from ckptfmt.errors import ManifestError, printable
from ckptfmt.format.freeform import encode_free, encode_key, is_plain
from ckptfmt.format.kinds import Kind, named, wrong
from ckptfmt.format.record import record

__all__ = ["Document", "Field", "document", "fields_of", "object_schema", "value"]


_Made = TypeVar("_Made", bound="Document")
# What was found of each document, since every manifest asks for it.
_DECLARED: dict[type[Any], tuple[Mapping[str, "Field"], Mapping[str, Any]]] = {}


@record
class Field:
    """What is known of a field: `about` says what it is, `since` names the version of the format that brought it.

    `written` fields stand in every document, whatever they hold.
    """

    kind: Kind
    about: str
    since: str
    written: bool


def value(kind: Kind, about: str, *, since: str = "1.0", written: bool = False, **options: Any) -> Any:
    """Return a dataclass field of a document; `options` are those of `dataclasses.field`, above all its default."""
    return field(metadata={"field": Field(kind, about, since, written)}, **options)


@record(kw_only=True, slots=False)
class Document:
    """A JSON object with known fields; `unknown` keeps what a newer minor version added."""

    unknown: Mapping[str, Any] = field(default_factory=dict)

    # Rules between fields, as keywords of JSON Schema.
    rules: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def from_dict(cls, data: Any, where: str = "$", *, relaxed: bool = False) -> Self:
        """Parse a JSON object; raise `ManifestError` at the first field that is missing, unknown or wrong."""
        if not isinstance(data, dict):
            raise wrong("must be an object", where)
        known = fields_of(cls)
        # A manifest has as many such objects as tensors, and nearly none has an unknown field: one comparison says
        # so.
        surplus = {} if data.keys() <= known.keys() else {name: data[name] for name in data if name not in known}
        if surplus and not relaxed:
            raise wrong(
                "is no field of this version", f"{where}.{printable(next(iter(surplus)), 60)}", "manifest.unknown"
            )
        parsed, name = {}, ""
        try:
            for name, declared in known.items():
                if name in data:
                    parsed[name] = declared.kind.parse(data[name], "", relaxed)
        except ManifestError as e:
            # The path is put together only where something is wrong, from the inside out.
            raise e.but(where=f"{where}.{name}{e.where}") from None
        if len(parsed) < len(known) and (missing := [name for name in _required(cls) if name not in parsed]):
            raise wrong("is missing", f"{where}.{missing[0]}", "manifest.missing")
        if len(parsed) < len(known) and not (parsed := _completed(cls, parsed)).keys() >= known.keys():
            return cls(**parsed, unknown=surplus)
        return _filled(cls, parsed, surplus)

    def to_dict(self) -> dict[str, Any]:
        """Return the document as JSON holds it, fields in their fixed order."""
        known, idle = _declared(type(self))
        held: dict[str, Any] = {}
        for name in known:
            item = getattr(self, name)
            if name not in idle or _says_more(item, idle[name]):
                # Most of what a manifest holds is plain as it is.
                held[name] = item if is_plain(item) else _dump(item, f"$.{name}")
        return {**held, **self.unknown} if self.unknown else held


def _filled(kind: type[_Made], parsed: dict[str, Any], surplus: dict[str, Any]) -> _Made:
    """Return a document of which every field is known, without a call for each: a manifest has a million of them."""
    made = object.__new__(kind)
    made.__dict__.update(parsed, unknown=surplus)
    return made


def _completed(kind: type[Any], parsed: dict[str, Any]) -> dict[str, Any]:
    """Return what was parsed, with the defaults of absent fields that all documents may share."""
    return {name: item for name, item in _declared(kind)[1].items() if item is None or item == ()} | parsed


def fields_of(kind: type[Any]) -> Mapping[str, Field]:
    """Return what is known of the fields of a dataclass that were declared with `value`, in their order."""
    return _declared(kind)[0]


def _required(kind: type[Any]) -> list[str]:
    known, defaults = _declared(kind)
    return [name for name in known if name not in defaults]


def _declared(kind: type[Any]) -> tuple[Mapping[str, Field], Mapping[str, Any]]:
    """Return the fields of a dataclass, and what they mean where they are absent."""
    if kind not in _DECLARED:
        declared = [f for f in fields(kind) if "field" in f.metadata]
        known = {f.name: f.metadata["field"] for f in declared}
        plain = {f.name: f.default for f in declared if f.default is not MISSING}
        plain |= {f.name: f.default_factory() for f in declared if f.default_factory is not MISSING}
        _DECLARED[kind] = known, {name: item for name, item in plain.items() if not known[name].written}
    return _DECLARED[kind]


def document(name: str, kind: type[Document]) -> Kind:
    """Return the kind of a nested document, which the schema defines under `name`."""
    schema, defs = object_schema(kind)
    parse = Kind(lambda item, where, relaxed: kind.from_dict(item, where, relaxed=relaxed), schema, defs)
    return named(name, parse, (kind.__doc__ or "").partition("\n")[0])


def object_schema(kind: type[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (the JSON Schema of a document, the definitions that it refers to)."""
    known = fields_of(kind)
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "required": _required(kind),
        "properties": {name: {**f.kind.schema, "description": _described(f)} for name, f in known.items()},
        **getattr(kind, "rules", {}),
    }
    defs: dict[str, Any] = {}
    for f in known.values():
        defs |= f.kind.defs
    return schema, defs


def _described(known: Field) -> str:
    return known.about if known.since == "1.0" else f"{known.about} Since {known.since}."


def _says_more(item: Any, default: Any) -> bool:
    """Return whether a value is another than the default; one empty list is as good as another, or one mapping."""
    if default == ():
        return not (isinstance(item, list | tuple) and not item)
    if default == {}:
        return not (isinstance(item, Mapping) and not item)
    return bool(item is not default and item != default)


def _dump(item: Any, where: str) -> Any:
    if isinstance(item, Document):
        return item.to_dict()
    if isinstance(item, tuple | list):
        if all(map(is_plain, item)):
            return list(item)
        return [_dump(entry, f"{where}[{i}]") for i, entry in enumerate(item)]
    if isinstance(item, Mapping) and item and all(isinstance(entry, Document) for entry in item.values()):
        return {encode_key(name, where=where): entry.to_dict() for name, entry in item.items()}
    return encode_free(item, where=where)
