"""What the library says, as ckpt says it: keywords become options, calls become commands. Nowhere else is this done.

A message of the library names a keyword as `overwrite=True` or `v_min=`, and a function as
`ckptfmt.convert(SOURCE, DEST)`; only in the part that says what mends it.
"""

import re
import shlex
from collections.abc import Container

from ckptfmt.errors import CkptError, Problem, UnsafeSource

__all__ = ["COMMANDS", "OPTIONS", "on_the_command_line", "option_of", "sentence"]

OPTIONS = {
    "allow_unsafe": "--allow-unsafe-globals",
    "architecture": "--architecture",
    "dueling_join": "--dueling-join",
    "encoder": "--set encoder",
    "dest": "--out",
    "game": "--game",
    "in_place": "--in-place",
    "input_scale": "--input-scale",
    "input_shape": "--input-shape",
    "key": "--key",
    "n_action": "--n-actions",
    "n_atoms": "--n-atoms",
    "out_dir": "--out-dir",
    "overwrite": "--force",
    "siblings": "--from",
    "strict": "--strict",
    "timeout": "--timeout",
    "trust": "--trust",
    "v_max": "--v-max",
    "v_min": "--v-min",
    "wait": "--wait",
}
# What only a conversion is told: another command that reads foreign files sends there.
_OF_CONVERSIONS = (
    *("architecture", "dueling_join", "encoder", "input_scale", "input_shape", "key", "n_action", "n_atoms", "v_max"),
    *("allow_unsafe", "v_min"),
)
COMMANDS = {"convert": "convert", "repair": "repair", "summarize": "inspect"}

# Text of a file stands between quotation marks, and stays as it is.
_SPOKEN = re.compile(r"'[^']*'|ckptfmt\.(\w+)\(([^()]*)\)|\b([a-z][a-z_]*)=(\w*)")
# Stands for the path that the error is about.
_PATH = "PATH"
# A mend is cut at this length.
_LONGEST = 400


def on_the_command_line(error: CkptError, options: Container[str] | None = None, source: str = "") -> CkptError:
    """Return an error of the library as a command with these options, all unless told, says it.

    `source` is the path of a foreign file that was refused.
    """
    fix = _within(options, error.fix, error.where)
    allows = options is None or OPTIONS["allow_unsafe"] in options
    if isinstance(error, UnsafeSource) and source and allows:
        more = f"read on, still without running it: {OPTIONS['allow_unsafe']}"
        see = f"; see: ckpt inspect --source {shlex.quote(source)}"
        # Half a path would be no command.
        more += see if len(fix + more + see) <= _LONGEST and source.isprintable() else ""
        fix = f"{fix}; {more}" if fix else more
    return error.but(fix=fix)


def option_of(name: str) -> str:
    """Return the option that gives a field of the config."""
    return OPTIONS.get(name, f"--set {name}")


def sentence(problem: Problem, options: Container[str] | None = None) -> str:
    """Return a finding as one line, for a command with these options: where it is, what it is, and what mends it."""
    fix = _within(options, problem.fix, problem.where)
    return str(CkptError(problem.message, where=problem.where, fix=fix))


def _within(options: Container[str] | None, text: str, where: str) -> str:
    """Return a mend in words that a command with these options takes."""
    if not (lacking := _lacking(options, text)):
        return _spoken(text, where)
    if any(name in _OF_CONVERSIONS for name in lacking):
        return f"convert it first, with ckpt convert SOURCE OUT, and there {_spoken(text, where)}"
    ways = [way for way in text.split(", or ") if not _lacking(options, way)]
    if not ways and "overwrite" in lacking:
        ways = ["choose another name"]
    return _spoken(", or ".join(ways), where)


def _lacking(options: Container[str] | None, text: str) -> list[str]:
    """Return the keywords in a mend whose options are not among these."""
    if options is None:
        return []
    named = [match[3] for match in _SPOKEN.finditer(text) if match[3] in OPTIONS]
    return [name for name in named if OPTIONS[name].split()[0] not in options]


def _spoken(text: str, where: str) -> str:
    def say(match: re.Match[str]) -> str:
        call, arguments, keyword, value = match.groups()
        if call in COMMANDS:
            words = (where if word == _PATH else word for word in re.split(r",\s*", arguments))
            return " ".join(["ckpt", COMMANDS[call], *map(shlex.quote, words)])
        if keyword in OPTIONS:
            return OPTIONS[keyword] if value in ("", "True") else f"{OPTIONS[keyword]} {value}"
        # What is to be given and is no fact is a field of a family's config.
        return option_of(keyword) if keyword and not value and text.startswith("give ") else match[0]

    return _SPOKEN.sub(say, text)
