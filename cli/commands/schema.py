"""ckpt schema: the contract."""

import click

from ckptfmt.format.schemas import SCHEMAS, load_schema, schema_text

from ..options import argument, command, option
from ..output import Output

__all__ = ["schema"]


@command(examples=["ckpt schema > manifest.schema.json", "ckpt schema report", "ckpt schema --list"])
@argument(
    "name",
    "manifest (the default), report (the answers of --json), or a family's config.",
    type=click.Choice(SCHEMAS),
    default=SCHEMAS[0],
)
@option("--version", "version", type=int, default=1, metavar="N", help="Major version of the format.")
@option("--list", "listing", is_flag=True, help="List the schemas instead.")
def schema(output: Output, name: str, version: int, listing: bool) -> int:
    """Print a JSON Schema: of manifests, of --json answers, or of configs."""
    if listing:
        output.result({"schemas": [{"name": name, "version": version} for name in SCHEMAS]})
        for known in SCHEMAS:
            output.line(f"{known}  version {version}")
        return 0
    if output.as_json:
        output.result({"name": name, "version": version, "schema": load_schema(name, version)})
    output.raw(schema_text(name, version))
    return 0
