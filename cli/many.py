"""How several checkpoints are changed, one after another."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ckptfmt.errors import CkptError

from .output import Output
from .wording import on_the_command_line

__all__ = ["change_each"]

T = TypeVar("T")


def change_each(
    output: Output, paths: Sequence[str], change: Callable[[str], T], tell: Callable[[T], None]
) -> tuple[list[T], list[dict[str, Any]]]:
    """Change each checkpoint and tell it; return what was done, and what of `report.schema.json` is an error.

    One that fails is told and does not keep the others. Raises what `change` raises for the only one.
    """
    done: list[T] = []
    errors: list[dict[str, Any]] = []
    for path in paths:
        try:
            done.append(change(path))
        except CkptError as e:
            if len(paths) == 1:
                raise
            errors.append(on_the_command_line(e, output.options).to_dict())
            output.error(e)
        else:
            tell(done[-1])
    return done, errors
