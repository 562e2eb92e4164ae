"""How checkpoints that get another form are told: a line each, with what they took and what they take."""

from collections.abc import Callable, Sequence

from ckptfmt.store.forms import FormChange

from .failure import TROUBLE
from .many import change_each
from .output import Output
from .text import short_digest, size

__all__ = ["change_forms"]


def change_forms(
    output: Output, paths: Sequence[str], change: Callable[[str], FormChange], *, idle: str, dry_run: bool
) -> int:
    """Change each checkpoint, tell it, and return the exit code; one that fails does not keep the others."""
    done, errors = change_each(output, paths, change, lambda one: output.line(*_told(output, one, idle)))
    if dry_run and any(one.changed for one in done):
        output.line("nothing written; run again without --dry-run")
    output.result({"checkpoints": [one.to_dict() for one in done], "errors": errors, "written": not dry_run})
    return TROUBLE if errors else 0


def _told(output: Output, done: FormChange, idle: str) -> tuple[str, ...]:
    before, after = sum(done.before.values()), sum(done.after.values())
    if not done.changed:
        return output.paint(done.path, "bold"), f"  {size(before)}, {idle}"
    share = f" ({100 * after / before:.1f} %)" if before > after else ""
    same = f"  weights unchanged ({short_digest(done.content_digest)})"
    return output.paint(done.path, "bold"), f"  {size(before)} -> {size(after)}{share}", output.paint(same, "dim")
