"""Every code that an error or a problem can have: what it means, how it comes about, what mends it.

`schema/v1/codes.json` holds them, so that other languages have them too; a test finds a code that is not there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from ckptfmt.errors import CkptError, printable

__all__ = ["Code", "check_pattern", "codes", "explain"]

# What the codes of `ckptfmt.validate` are about.
_CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One code.

    `of` is what it is about: a checkpoint that is looked at, a foreign source, its conversion, the writing of a
    checkpoint, training and playing, or the program itself. `severity` is error or warning for what is reported,
    fatal for what ends a call or a command.
    """

    code: str
    of: str
    severity: str
    means: str
    cause: str
    mend: str
    example: str

    def to_dict(self) -> dict[str, str]:
        """Return the entry with the keys of `codes.json`, and its name."""
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
def codes(of: str | None = None) -> Mapping[str, Code]:
    """Return every code by name, or those about one thing, in the order of the reference."""
    data = json.loads((files("ckptfmt.schema") / "v1" / "codes.json").read_text(encoding="utf-8"))
    return {name: Code(code=name, **entry) for name, entry in data.items() if of in (None, entry["of"])}


def explain(code: str) -> str:
    """Return what a code means, as text; raise `CkptError` that names near ones where there is no such code."""
    if code in codes():
        return codes()[code].text()
    raise _unknown(code, codes())


def check_pattern(pattern: str) -> None:
    """Raise `CkptError` where no code of `validate` is `pattern` or matches it, such as `weights.*`.

    A misspelt choice would leave every problem out, and call what is damaged valid.
    """
    if not any(fnmatchcase(code, pattern) for code in codes(_CHECKPOINT)):
        raise _unknown(pattern, codes(_CHECKPOINT))


def _unknown(code: str, known: Mapping[str, Code]) -> CkptError:
    # Below the default of 0.6: of two words people often have the first wrong and the second right. Three fit a line.
    near = get_close_matches(code, known, n=3, cutoff=0.5)
    begin = ", ".join(dict.fromkeys(name.partition(".")[0] for name in known))
    return CkptError(
        f"there is no problem code {printable(code, 60)}",
        fix=f"did you mean {' or '.join(near)}?" if near else f"they begin with {begin}",
        code="usage.code",
    )
