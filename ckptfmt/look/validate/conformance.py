"""Every way in which a manifest departs from its schema: all of them at once, each a sentence with its path.

Parsing stops at the first value that is wrong; this is what tells the whole story of a manifest that was
written by another hand. It agrees with the parser about what is wrong, which a test holds.
"""

import re
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from ckptfmt.errors import Problem, printable
from ckptfmt.families import registry
from ckptfmt.families.config import config_schema
from ckptfmt.format.files import MANIFEST
from ckptfmt.format.schemas import load_schema

__all__ = ["departures"]

# Parts of a manifest in which users keep what they like.
_FREE = frozenset({"environment", "training_info", "evaluation", "extra"})
_KINDS = {
    "null": "null",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "array": "a list",
    "object": "an object",
}


def departures(manifest: Any, *, relaxed: bool = False) -> Iterator[Problem]:
    """Yield a problem for each place where a parsed `manifest.json` departs from the schema, in its order.

    `relaxed` reading is for a newer minor version: fields and words that this version does not know pass.
    """
    seen: set[str] = set()
    errors = [(list(error.absolute_path), error) for error in _validator(relaxed).iter_errors(manifest)]
    errors += _config_errors(manifest, relaxed)
    for path, error in sorted(errors, key=lambda pair: [str(part) for part in pair[0]]):
        place = _place(path)
        # Of several demands on one value the first is enough: mended by it, the others mostly hold too.
        if place not in seen:
            seen.add(place)
            code = _code(error, path)
            yield Problem(code, f"{MANIFEST} {place}", _sentence(error, code), "re-save the checkpoint")


def _config_errors(manifest: Any, relaxed: bool) -> list[tuple[list[Any], ValidationError]]:
    """Return where the config departs from the schema of its family, if that is installed."""
    family = registry.named(manifest) if isinstance(manifest, dict) else None
    if family is None or not isinstance(manifest.get("config"), dict):
        return []
    schema = config_schema(family.config)
    errors = _STRICT(_relax(schema) if relaxed else schema).iter_errors(manifest["config"])
    return [(["config", *error.absolute_path], error) for error in errors]


@cache
def _validator(relaxed: bool) -> Any:
    schema = load_schema("manifest")
    return _STRICT(_relax(schema) if relaxed else schema)


def _relax(schema: Any, inside: str = "") -> Any:
    """Let unknown fields and words through, but no unknown file: a reader could not tell what it holds."""
    if isinstance(schema, list):
        return [_relax(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = schema.get("additionalProperties") is False and inside != "files"
    # A newer version may add words to choices and fields to objects.
    dropped = {"enum"} | ({"additionalProperties"} if closed else set())
    return {key: _relax(item, key) for key, item in schema.items() if key not in dropped or inside == "properties"}


def _place(path: list[Any]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{printable(part, 80)}" for part in path)


def _code(error: ValidationError, path: list[Any]) -> str:
    if error.validator == "required":
        return "manifest.missing"
    if error.validator == "additionalProperties":
        return "manifest.file-name" if path[0] == "files" and len(path) == 2 else "manifest.unknown"
    if path == ["format"]:
        return "manifest.format"
    if path and path[0] in _FREE and (len(path) > 1 or error.validator == "not"):
        return "manifest.free-form"
    return "config.value" if path and path[0] == "config" and len(path) > 1 else "manifest.value"


def _sentence(error: ValidationError, code: str) -> str:
    if error.validator in ("required", "additionalProperties"):
        return "is no file of a checkpoint" if code == "manifest.file-name" else error.message
    if error.validator == "not":
        return "is a tagged number, must be an object"
    return f"is {_shown(error.instance)}, must be {_demand(error)}"


def _demand(error: ValidationError) -> str:
    wanted: Any = error.validator_value
    title = error.schema.get("title") if isinstance(error.schema, dict) else None
    match error.validator:
        case "type" | "pattern" if title:
            return str(title)
        case "type":
            return " or ".join(_KINDS[kind] for kind in ([wanted] if isinstance(wanted, str) else wanted))
        case "enum":
            return f"one of {', '.join(map(str, wanted))}" if len(wanted) > 1 else str(wanted[0])
        case "minimum":
            return f"{wanted:,} or more"
        case "maximum":
            return f"{wanted:,} or less"
        case "exclusiveMinimum":
            return f"more than {wanted}"
        case "minItems":
            return f"a list of at least {wanted}"
        case "maxItems":
            return f"a list of at most {wanted}"
        case "const":
            return str(wanted)
    return error.message


def _shown(value: Any) -> str:
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return f"'{printable(value, 60)}'"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "an object"
    return printable(value, 60)


def _required(validator: Any, names: list[str], value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        yield from (ValidationError("is missing", path=[name]) for name in names if name not in value)


def _additional(validator: Any, allowed: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict):
        return
    patterns = schema.get("patternProperties", {})
    for name in value.keys() - schema.get("properties", {}).keys():
        if any(_matches(pattern, name) for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError("is no field of this version", path=[name])
        else:
            yield from validator.descend(value[name], allowed, path=name)


def _pattern_properties(validator: Any, patterns: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    for pattern, inner in patterns.items() if isinstance(value, dict) else ():
        for name in filter(partial(_matches, pattern), value):
            yield from validator.descend(value[name], inner, path=name, schema_path=pattern)


def _matches(pattern: str, text: str) -> bool:
    """Return whether text matches to its very end: Python's `$` lets a line feed pass, that of JSON Schema does not."""
    return re.search(re.sub(r"\$$", r"\\Z", pattern), text) is not None


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError(f"text that matches {pattern}")


def _one_of(validator: Any, branches: list[Any], value: Any, schema: Any) -> Iterator[ValidationError]:
    """Report against the branch that was meant: `is not valid under any of the given schemas` helps nobody."""
    attempts = [list(validator.descend(value, branch, schema_path=i)) for i, branch in enumerate(branches)]
    if all(attempts):
        meant = [errors for errors in attempts if not any(_of_other_kind(error) for error in errors)]
        if len(meant) == 1:
            yield from meant[0]
        else:
            demands = [_demand(error) for errors in attempts for error in errors if not error.path]
            yield ValidationError(" or ".join(dict.fromkeys(demands)))


def _of_other_kind(error: ValidationError) -> bool:
    return not error.path and error.validator in ("type", "enum")


# JSON text `4.0` is a float here: it is another document than `4`, with other bytes and another digest.
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
_KEYWORDS = {
    "required": _required,
    "additionalProperties": _additional,
    "patternProperties": _pattern_properties,
    "pattern": _pattern,
    "oneOf": _one_of,
}
_STRICT: Any = extend(Draft202012Validator, _KEYWORDS, type_checker=_TYPES)  # type: ignore[no-untyped-call]
