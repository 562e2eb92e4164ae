"""The JSON Schemas of the format, as shipped inside the package."""

import json
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from ckptfmt.errors import UnsupportedVersion, printable

__all__ = ["load_schema", "schema_names", "schema_text"]

_ENDING = ".schema.json"
# The two that are of no family come first.
_FIRST = ("manifest", "report")


@cache
def schema_names(version: int = 1) -> tuple[str, ...]:
    """Return the names of the schemas of one major version: the manifest, the answers, and each family's config."""
    folder = _folder(version)
    found = [entry.name.removesuffix(_ENDING) for entry in folder.iterdir()] if folder.is_dir() else []
    families = sorted(name for name in found if (folder / f"{name}{_ENDING}").is_file() and name not in _FIRST)
    return (*_FIRST, *families) if found else ()


def schema_text(name: str, version: int = 1) -> str:
    """Return the text of a schema of `schema_names` for one major version of the format."""
    if not schema_names(version):
        raise UnsupportedVersion(f"there are no schemas of version {version} of the format", fix="use version 1")
    if name not in schema_names(version):
        raise UnsupportedVersion(
            f"there is no schema '{printable(name, 40)}'", fix=f"use one of {', '.join(schema_names(version))}"
        )
    return (_folder(version) / f"{name}{_ENDING}").read_text(encoding="utf-8")


def load_schema(name: str, version: int = 1) -> dict[str, Any]:
    """Return a schema of `schema_names` as a dictionary."""
    schema: dict[str, Any] = json.loads(schema_text(name, version))
    return schema


def _folder(version: int) -> Traversable:
    # By the package's own name: below the folder of `ckptfmt` it lies in a wheel, but not in an editable install.
    return files("ckptfmt.schema") / f"v{version}"
