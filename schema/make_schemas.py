"""Write the schemas of the manifest and of each family's config from the fields that the code declares.

    python schema/make_schemas.py [--check]

With `--check` nothing is written, and the exit code is 1 where a file is stale.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ckptfmt.families import registry
from ckptfmt.families.config import config_schema
from ckptfmt.format.document import object_schema
from ckptfmt.format.manifest import Manifest

__all__ = ["main", "render", "schemas"]

_FOLDER = Path(__file__).resolve().parent / "v1"
# As wide as the lines of the code.
_WIDTH = 120
_ABOUT = (
    "What manifest.json of a ckptfmt checkpoint says, version 1. The document is strict JSON: UTF-8, no key twice, no "
    "NaN, at most 64 levels deep, integers written without a point. A field that is absent and is not required holds "
    "its default. Where two fields depend on one another in a way that a schema cannot say, the description says so."
)


def schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, schema) of every schema that is made."""
    schema, defs = object_schema(Manifest)
    yield (
        "manifest",
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "urn:ckptfmt:schema:v1:manifest",
            "title": "The manifest of a checkpoint",
            "description": _ABOUT,
            **schema,
            "$defs": defs,
        },
    )
    for name in registry.own():
        if family := registry.find(name):
            yield name, config_schema(family.config)


def render(value: Any, indent: int = 0, used: int = 0) -> str:
    """Return JSON in which what fits on a line stands on one; `used` columns of it are taken."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, Mapping | list) or not value or (indent and indent + used + len(flat) < _WIDTH):
        return flat
    inner = "\n" + " " * (indent + 2)
    if isinstance(value, Mapping):
        keys = {key: json.dumps(key, ensure_ascii=False) + ": " for key in value}
        parts = [keys[key] + render(item, indent + 2, len(keys[key]) + 1) for key, item in value.items()]
        return "{" + inner + ("," + inner).join(parts) + "\n" + " " * indent + "}"
    return "[" + inner + ("," + inner).join(render(item, indent + 2, 1) for item in value) + "\n" + " " * indent + "]"


def main(check: bool = False) -> int:
    """Write what is not up to date; return 1 where something was not and only a check was asked for."""
    stale = 0
    for name, schema in schemas():
        path, text = _FOLDER / f"{name}.schema.json", render(schema) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale = 1
            if check:
                print(f"{path.name} is stale; run: python schema/make_schemas.py", file=sys.stderr)
            else:
                path.write_text(text, encoding="utf-8")
    return stale if check else 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
