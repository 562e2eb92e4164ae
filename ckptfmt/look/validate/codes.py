"""What each problem code means, how it comes about and how it is mended; `schema/v1/codes.json` as objects."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from ckptfmt.errors import CkptError, printable

__all__ = ["Code", "check_pattern", "codes", "explain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One code. `severity` is error or warning, or fatal where there is nothing that could be looked at."""

    code: str
    severity: str
    means: str
    cause: str
    mend: str
    example: str

    def to_dict(self) -> dict[str, str]:
        """Return the entry with the keys of `report.schema.json`."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def text(self) -> str:
        """Return the entry as five lines for a reader."""
        return (
            f"{self.code}  ({self.severity})\n"
            f"  means    {self.means}\n"
            f"  cause    {self.cause}\n"
            f"  mend     {self.mend}\n"
            f"  example  {self.example}"
        )


@cache
def codes() -> Mapping[str, Code]:
    """Return every code that `validate` uses, by name, in the order of the reference."""
    data = json.loads((files("ckptfmt.schema") / "v1" / "codes.json").read_text(encoding="utf-8"))
    return {name: Code(code=name, **entry) for name, entry in data.items()}


def explain(code: str) -> str:
    """Return what a code means, as text; raise `CkptError` that names near ones where there is no such code."""
    if code in codes():
        return codes()[code].text()
    raise _unknown(code)


def check_pattern(pattern: str) -> None:
    """Raise `CkptError` where no code is `pattern` or matches it, such as `weights.*`.

    A misspelt choice would leave every problem out, and call what is damaged valid.
    """
    if not any(fnmatchcase(code, pattern) for code in codes()):
        raise _unknown(pattern)


def _unknown(code: str) -> CkptError:
    near = get_close_matches(code, codes(), n=3, cutoff=0.5)
    return CkptError(
        f"there is no problem code {printable(code, 60)}",
        fix=f"did you mean {' or '.join(near)}?"
        if near
        else "they begin with config, layout, manifest, report, training, version or weights",
        code="usage.code",
    )
