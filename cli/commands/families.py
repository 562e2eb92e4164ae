"""ckpt families: which networks are known."""

from collections.abc import Sequence

from ckptfmt.families import Known, known_families, known_family

from ..options import argument, command
from ..output import Output

__all__ = ["families"]

# The width of the labels: the longest of them and two blanks.
_LABEL = 9


@command(examples=["ckpt families", "ckpt families actor-critic", "ckpt families quantile-q --json"])
@argument("name", "A family to show in full; without it, all are listed.", default="", metavar="[NAME]")
def families(output: Output, name: str) -> int:
    """List the known families of networks, or show one in full."""
    found: Sequence[Known] = (known_family(name),) if name else known_families()
    output.result({"families": [family.to_dict() for family in found]})
    if name:
        _tell(output, found[0])
        return 0
    rows = [[family.name, family.told_by or "no names or shapes", family.never or "nothing"] for family in found]
    output.table(rows, header=["family", "told by", "never told"])
    return 0


def _tell(output: Output, family: Known) -> None:
    output.line(output.paint(family.name, "bold"), f"  {family.about}")
    lines = {
        "from": family.package,
        "names": ", ".join(family.names),
        "told by": family.told_by,
        "never": family.never,
    }
    for label, text in lines.items():
        if text:
            output.line("  ", output.paint(f"{label:<{_LABEL}}", "dim"), text)
    output.line()
    output.table([[f"  {field}", about] for field, about in family.fields.items()], header=["  field of config", "is"])
