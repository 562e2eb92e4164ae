"""ckpt schema: the contract."""

import json

import click

from ckptfmt.families import known_families, known_family
from ckptfmt.format.schemas import schema_names, schema_text

from ..complete import schemas
from ..options import argument, command, option
from ..output import Output

__all__ = ["schema"]


@command(examples=["ckpt schema > manifest.schema.json", "ckpt schema report", "ckpt schema actor-critic"])
@argument(
    "name",
    "manifest (the default), report (the answers of --json), or a family for its config; --list names all of them.",
    default="manifest",
    metavar="[NAME]",
    shell_complete=schemas,
)
@option("--version", "version", type=int, default=1, metavar="N", help="Major version of the format.")
@option("--list", "listing", is_flag=True, help="List the schemas instead.")
def schema(output: Output, name: str, version: int, listing: bool) -> int:
    """Print the JSON Schema of manifests, --json answers or configs."""
    if listing and (name, version) != ("manifest", 1):
        raise click.UsageError("--list excludes NAME and --version")
    if listing:
        names = [*schema_names(), *(family.name for family in known_families() if _is_brought(family.name))]
        output.result({"schemas": [{"name": name, "version": version} for name in names]})
        for known in names:
            output.line(f"{known}  version {version}")
        return 0
    text = _brought(name) if _is_brought(name) else schema_text(name, version)
    if output.as_json:
        output.result({"name": name, "version": version, "schema": json.loads(text)})
    output.raw(text)
    return 0


def _is_brought(name: str) -> bool:
    """Whether a name is that of a family of another package, whose own name stands before the slash."""
    return "/" in name


def _brought(name: str) -> str:
    # In ASCII, so that nothing a stranger's package says reaches a terminal raw.
    return json.dumps(dict(known_family(name).schema), indent=2) + "\n"
