"""What a look at a checkpoint found."""

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from ckptfmt.errors import Problem
from ckptfmt.format.notebook import Folds, Shown
from ckptfmt.format.record import record

__all__ = ["Report", "counts"]


@record
class Report(Shown):
    """What `validate` found in the checkpoint at `path`; `bytes` of it were read.

    With `strict` a warning makes a checkpoint invalid as well.
    """

    path: str
    problems: tuple[Problem, ...]
    deep: bool = True
    strict: bool = False
    bytes: int = 0

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Return the problems that make the checkpoint unusable as it is."""
        return tuple(p for p in self.problems if p.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Return the problems that a checkpoint can be used with."""
        return tuple(p for p in self.problems if p.severity == "warning")

    @property
    def valid(self) -> bool:
        """Return whether the checkpoint is sound."""
        return not (self.problems if self.strict else self.errors)

    def only(self, select: Iterable[str] = (), ignore: Iterable[str] = ()) -> "Report":
        """Return the report with the codes in `select` (all, if empty) and without those in `ignore`.

        Both take whole codes and patterns such as `weights.*`.
        """
        wanted, unwanted = tuple(select) or ("*",), tuple(ignore)
        kept = (p for p in self.problems if _matches(p.code, wanted) and not _matches(p.code, unwanted))
        return replace(self, problems=tuple(kept))

    def _notebook_(self) -> tuple[str, Folds]:
        count = len(self.problems)
        found = f", {count} problem{'' if count == 1 else 's'}" if count else ""
        rows = ((p.code, p.severity, p.where, p.message, p.fix) for p in self.problems)
        return f"{self.path}: {'valid' if self.valid else 'invalid'}{found}", {"problems": rows}

    def to_dict(self) -> dict[str, Any]:
        """Return the report as one entry of `checkpoints` in the answer of `ckpt validate --json`."""
        return {
            "path": self.path,
            "valid": self.valid,
            "problems": [problem.to_dict() for problem in self.problems],
            "bytes": self.bytes,
        }


def counts(reports: Iterable[Report]) -> dict[str, int]:
    """Return how many checkpoints were looked at, how many are invalid, have warnings only, and all problems."""
    looked = tuple(reports)
    return {
        "checkpoints": len(looked),
        "invalid": sum(not report.valid for report in looked),
        "warnings": sum(report.valid and bool(report.problems) for report in looked),
        "problems": sum(len(report.problems) for report in looked),
    }


def _matches(code: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(code, pattern) for pattern in patterns)
