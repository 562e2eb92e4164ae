"""What became of one of many files that were to be converted."""

from collections.abc import Mapping
from typing import Any, Literal

from ckptfmt.convert.sources import Item
from ckptfmt.errors import CkptError
from ckptfmt.format.record import record

__all__ = ["ALONE", "Outcome", "Status", "failed"]

Status = Literal["converted", "planned", "unchanged", "failed"]
ALONE = "convert it alone to see why"


@record
class Outcome:
    """What became of one file: `conversion` as of `Conversion.to_dict`, `error` as of `CkptError.to_dict`.

    A dry run leaves it `planned`; `unchanged` is one whose checkpoint was there already.
    """

    item: Item
    status: Status
    conversion: Mapping[str, Any] | None = None
    error: Mapping[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as one line of a `--json` answer."""
        return {
            "source": self.item.source,
            "dest": self.item.dest,
            "status": self.status,
            "conversion": self.conversion,
            "error": self.error,
        }


def failed(item: Item, what: str, code: str, fix: str = "") -> Outcome:
    """Return the outcome of a file that could not be converted."""
    return Outcome(item, "failed", error=CkptError(what, where=item.source, fix=fix, code=code).to_dict())
