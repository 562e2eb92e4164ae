"""Which exit code and which one line an exception becomes."""

import errno
import re
from collections.abc import Container, Sequence

import click

from ckptfmt.errors import CkptError, UnsafeSource, WouldAssume, missing_package, printable

from .main import COMMANDS
from .ranges import range_in_words
from .terminal import OutputLost
from .wording import on_the_command_line

__all__ = ["CLOSED_PIPE", "INTERRUPTED", "TROUBLE", "NoCommand", "explain"]

# As diff and grep end: 1 where the answer is no, 2 where there is none. Shells say 128 and the number of a signal: 2 is
# SIGINT, 13 SIGPIPE.
ANSWERED_NO = 1
TROUBLE = 2
INTERRUPTED = 130
CLOSED_PIPE = 141

# click names its own types where it says that a word is none of them.
_NO_NUMBER = re.compile(r"is not a valid (integer|float)( range)?")
_NUMBERS = {"integer": "is not a whole number", "float": "is not a number"}
_OUT_OF_RANGE = " is not in the range "
_SHARED = ("--json", "-q", "--quiet", "-v", "--verbose", "--color", "--no-truncate")


class NoCommand(click.UsageError):
    """There is no such command; `near` are those it may have meant."""

    def __init__(self, name: str, near: list[str], ctx: click.Context) -> None:
        super().__init__(f"no such command: {name}", ctx)
        self.near = near


def explain(exception: BaseException, command: str, options: Container[str] | None = None) -> tuple[CkptError, int]:
    """Return the error to print and the exit code for anything that a command with these options may raise."""
    match exception:
        case KeyboardInterrupt() | click.Abort():
            return CkptError("stopped by Ctrl-C", code="run.interrupted"), INTERRUPTED
        case OutputLost() if command in COMMANDS["Look"]:  # there is no work that could be done twice
            return _system(exception.cause, exception.where), TROUBLE
        case OutputLost():
            return exception, TROUBLE
        case UnsafeSource():
            return on_the_command_line(exception, options, exception.source), TROUBLE
        case WouldAssume():
            return on_the_command_line(exception, options), ANSWERED_NO
        case CkptError():
            return on_the_command_line(exception, options), TROUBLE
        case click.ClickException():
            return _usage(exception, command), TROUBLE
        case ImportError() if missing := missing_package(exception, command or "ckpt"):
            return missing, TROUBLE
        case MemoryError() | RuntimeError() if _lacks_memory(exception):
            return CkptError("there is not enough memory", code="run.memory"), TROUBLE
        case RecursionError():
            return CkptError("nests too deep to be read", code="run.depth"), TROUBLE
        case OSError():
            return _system(exception), TROUBLE
        case SystemExit() | GeneratorExit():
            what = "another package that it needs asked to end the program"
            return CkptError(what, fix="CKPT_DEBUG=1 shows which", code="run.fault"), TROUBLE
    return _fault(exception), TROUBLE


def _lacks_memory(exception: BaseException) -> bool:
    # Torch says so of the processor's memory by its words alone, of a GPU's by a class of its own.
    said = isinstance(exception, MemoryError) or "can't allocate memory" in str(exception)
    return said or type(exception).__name__ == "OutOfMemoryError"


def _system(error: OSError, where: str = "") -> CkptError:
    where = where or ("" if error.filename is None else printable(error.filename, 300))
    if error.errno == errno.ENOSPC:
        return CkptError("no space left", where=where, fix="free some and run it again", code="run.space")
    return CkptError(error.strerror or str(error), where=where, code="run.system")


def _fault(exception: BaseException) -> CkptError:
    return CkptError(
        f"a fault in ckpt itself: {type(exception).__name__}: {exception}",
        fix="please report it; CKPT_DEBUG=1 shows where",
        code="run.fault",
    )


def _usage(exception: click.ClickException, command: str) -> CkptError:
    context = getattr(exception, "ctx", None)
    path = context.command_path if context else f"ckpt {command}".strip()
    fix = f"see: {path} --help"
    match exception:
        case NoCommand():
            what, fix = exception.message, _meant(exception.near) or fix
        case click.NoSuchOption() if path == "ckpt" and exception.option_name in _SHARED:
            what, fix = (
                f"{exception.option_name} goes behind the command",
                f"as in: ckpt COMMAND {exception.option_name}",
            )
        case click.NoSuchOption():
            what, fix = f"no such option: {exception.option_name}", _meant(exception.possibilities) or fix
        case click.MissingParameter() if exception.param is not None:
            name = _parameter(exception)
            what = f"{name} is missing" if isinstance(exception.param, click.Option) else f"no {name} was given"
        case click.BadParameter() if exception.param is not None and _OUT_OF_RANGE in exception.message:
            given = exception.message.partition(_OUT_OF_RANGE)[0]
            what = f"{_parameter(exception)}: must be {range_in_words(exception.param.type)}, not {given}"
        case click.BadParameter() if exception.param is not None or exception.param_hint:
            what = f"{_parameter(exception)}: {_sentence(exception.message)}"
        case _:
            what = _sentence(exception.format_message())
    return CkptError(what, where=path, fix=fix, code="usage.wrong")


def _meant(names: Sequence[str] | None) -> str:
    return f"did you mean {' or '.join(names)}?" if names else ""


def _parameter(exception: click.BadParameter) -> str:
    if isinstance(exception.param, click.Option):
        return exception.param.opts[-1]
    if exception.param is not None:
        # Of an argument that takes two, such as SOURCE [DEST], the first is what is missing.
        return exception.param.human_readable_name.split()[0].strip("[].")
    hint = exception.param_hint
    return hint if isinstance(hint, str) else " / ".join(hint or ())


def _sentence(text: str) -> str:
    plain = text.strip().rstrip(".").replace("\n", " ")
    plain = _NO_NUMBER.sub(lambda found: _NUMBERS[found[1]], plain)
    return plain[:1].lower() + plain[1:] if plain[1:2].islower() else plain
