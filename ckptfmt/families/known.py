"""What is known of each family, as data: what tells it, what its weights never say, and the fields of its config."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.families import registry
from ckptfmt.families.config import config_schema
from ckptfmt.families.registry import Family
from ckptfmt.format.document import fields_of
from ckptfmt.format.record import record

__all__ = ["Known", "known_families", "known_family"]


@record
class Known:
    """One family; `package` is what brings it, `names` are examples of networks in it, `schema` that of its config."""

    name: str
    about: str
    package: str
    names: tuple[str, ...]
    told_by: str
    never: str
    fields: Mapping[str, str]
    schema: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return what is known as plain data."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**plain, "names": list(self.names), "fields": dict(self.fields), "schema": dict(self.schema)}


def known_families() -> tuple[Known, ...]:
    """Return what is known of every installed family, those of this package first."""
    ours = registry.own()
    others = (name for name in registry.names() if name not in ours)
    return tuple(_known(family) for name in (*ours, *others) if (family := registry.find(name)) is not None)


def known_family(name: str) -> Known:
    """Return what is known of one family; raise `CkptError` where none of that name is installed."""
    family = registry.find(name)
    if family is None:
        raise CkptError(
            f"there is no family {printable(name, 60)} here",
            where="family",
            fix=f"use one of {', '.join(registry.names())}, or install the package that brings it",
            code="config.family",
        )
    return _known(family)


def _known(family: Family) -> Known:
    return Known(
        name=family.name,
        about=family.about,
        package=registry.package_of(family.name),
        names=family.examples,
        told_by=family.told_by,
        never=family.never,
        fields={name: field.about for name, field in fields_of(family.config).items()},
        schema=config_schema(family.config),
    )
