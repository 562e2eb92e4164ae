"""The JSON Schemas of the format, as shipped inside the package."""

import json
from importlib.resources import files
from typing import Any

from ckptfmt.errors import UnsupportedVersion, printable

__all__ = ["SCHEMAS", "load_schema", "schema_text"]

SCHEMAS = ("manifest", "report", "atari-dqn")


def schema_text(name: str, version: int = 1) -> str:
    """Return the text of a schema of `SCHEMAS` for one major version of the format."""
    # By the package's own name: below the folder of `ckptfmt` it lies in a wheel, but not in an editable install.
    path = files("ckptfmt.schema") / f"v{version}" / f"{name}.schema.json"
    if name not in SCHEMAS or not path.is_file():
        raise UnsupportedVersion(
            f"there is no schema '{printable(name, 40)}' of version {version}",
            fix=f"use version 1 of: {', '.join(SCHEMAS)}",
        )
    return path.read_text(encoding="utf-8")


def load_schema(name: str, version: int = 1) -> dict[str, Any]:
    """Return a schema of `SCHEMAS` as a dictionary."""
    schema: dict[str, Any] = json.loads(schema_text(name, version))
    return schema
