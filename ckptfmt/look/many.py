"""Many checkpoints looked at, by an executor of the caller's where one is given."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from ckptfmt.convert.spread import Spread, Undone
from ckptfmt.errors import CkptError, Problem
from ckptfmt.look.anatomy import SourceSummary
from ckptfmt.look.summarize import summarize
from ckptfmt.look.summary import Summary
from ckptfmt.look.validate import Report, validate
from ckptfmt.remote.ahead import each

__all__ = ["summarize_many", "validate_many"]

# Reading a terabyte from a slow disk takes hours.
_TIMEOUT = 24 * 3600.0

_Result = TypeVar("_Result")
_Executor = Executor | Callable[[], Executor] | None


def validate_many(
    paths: Iterable[str | os.PathLike[str]],
    *,
    executor: _Executor = None,
    deep: bool = True,
    strict: bool = False,
) -> Iterator[Report]:
    """Yield the report of each checkpoint, in their order; one that cannot be looked at has its error as a problem.

    `executor` is what `convert_many` takes; `deep` and `strict` are those of `validate`. Without one paths are taken as
    they are needed, and of those in a store, unless `deep`, the next ones are asked for meanwhile.
    """
    work = partial(_validated, deep=deep, strict=strict)
    names = (os.fspath(path) for path in paths)
    if executor is None:
        # A whole file ahead of whoever takes the reports would be memory, and no faster.
        return map(work, names) if deep else each(work, names)

    def died(path: str) -> Report:
        return Report(path, (Problem.of(_deadly(path)),), deep=deep, strict=strict)

    return _spread(work, died, list(names), executor)


def summarize_many(
    paths: Iterable[str | os.PathLike[str]], *, executor: _Executor = None
) -> Iterator[Summary | SourceSummary | CkptError]:
    """Yield what each checkpoint or foreign file is, in their order, or the error that says why it cannot be told.

    `executor` is what `convert_many` takes. Without one paths are taken as they are needed, and of those in a store
    the next ones are asked for meanwhile.
    """
    names = (os.fspath(path) for path in paths)
    return each(_summarized, names) if executor is None else _spread(_summarized, _deadly, list(names), executor)


def _spread(
    work: Callable[[str], _Result],
    died: Callable[[str], _Result],
    names: list[str],
    executor: Executor | Callable[[], Executor],
) -> Iterator[_Result]:
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
