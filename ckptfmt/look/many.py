"""Many checkpoints looked at, by an executor of the caller's where one is given."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from ckptfmt.convert.spread import Spread, Undone
from ckptfmt.errors import CkptError, Problem
from ckptfmt.look.anatomy import SourceSummary
from ckptfmt.look.summarize import summarize
from ckptfmt.look.summary import Summary
from ckptfmt.look.validate import Report, validate

__all__ = ["summarize_many", "validate_many"]

# Reading a terabyte from a slow disk takes hours.
_TIMEOUT = 24 * 3600.0

_Result = TypeVar("_Result")
_Executor = Executor | Callable[[], Executor] | None


def validate_many(
    paths: Sequence[str | os.PathLike[str]],
    *,
    executor: _Executor = None,
    deep: bool = True,
    strict: bool = False,
) -> Iterator[Report]:
    """Yield the report of each checkpoint, in their order; one that cannot be looked at has its error as a problem.

    `executor` is what `convert_many` takes; `deep` and `strict` are those of `validate`.
    """
    return _each(
        partial(_validated, deep=deep, strict=strict),
        lambda path: Report(path, (Problem.of(_deadly(path)),), deep=deep, strict=strict),
        paths,
        executor,
    )


def summarize_many(
    paths: Sequence[str | os.PathLike[str]], *, executor: _Executor = None
) -> Iterator[Summary | SourceSummary | CkptError]:
    """Yield what each checkpoint or foreign file is, in their order, or the error that says why it cannot be told.

    `executor` is what `convert_many` takes.
    """
    return _each(_summarized, _deadly, paths, executor)


def _each(
    work: Callable[[str], _Result],
    died: Callable[[str], _Result],
    paths: Sequence[str | os.PathLike[str]],
    executor: _Executor,
) -> Iterator[_Result]:
    names = [os.fspath(path) for path in paths]
    if executor is None:
        yield from map(work, names)
        return
    known: dict[int, _Result | Undone] = {}
    given = 0
    for number, result in Spread(work, names, executor, _TIMEOUT):
        known[number] = result
        while given in known:
            found = known.pop(given)
            # What workers left is looked at here, what two of them died of is not: it may end this process too.
            left = died if found is Undone.DEADLY else work
            yield left(names[given]) if isinstance(found, Undone) else found
            given += 1


def _deadly(path: str) -> CkptError:
    return CkptError(
        "two workers that looked at it died", where=path, fix="look at it alone to see why", code="convert.worker"
    )


def _validated(path: str, *, deep: bool, strict: bool) -> Report:
    try:
        return validate(path, deep=deep, strict=strict)
    except CkptError as e:
        return Report(path, (Problem.of(e),), deep=deep, strict=strict)


def _summarized(path: str) -> Summary | SourceSummary | CkptError:
    try:
        return summarize(path)
    except CkptError as e:
        return e
