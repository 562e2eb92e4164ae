"""All that a command line asks of commands: they are found, run, and their errors told."""

import gc
import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from ckptfmt import __version__

from .failure import CLOSED_PIPE, TROUBLE, NoCommand, explain
from .help import HELP_NAMES
from .main import COMMANDS, Ended, overview
from .output import Output
from .terminal import OutputLost

__all__ = ["run"]

_COMPLETE = "_CKPT_COMPLETE"


class _Table(click.Group):
    """The group of all commands: each module is imported when its command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"{__package__}.commands.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        # What is loaded by now stays; `main` stopped the search for garbage until here.
        gc.freeze()
        gc.enable()
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        if args[0] not in self.list_commands(ctx) and not ctx.resilient_parsing:
            _unknown(args[0], self.list_commands(ctx), ctx)
        ctx.ensure_object(Output).command = args[0]
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            ctx.ensure_object(Output).options = frozenset(word for one in command.params for word in one.opts)
        return name, command, rest

    def get_help(self, ctx: click.Context) -> str:
        return overview()

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        rows = [row for section in COMMANDS.values() for row in section.items() if row[0].startswith(incomplete)]
        return [CompletionItem(name, help=text) for name, text in rows] or click.Command.shell_complete(
            self, ctx, incomplete
        )


_ckpt = click.version_option(__version__, prog_name="ckpt", message="%(prog)s %(version)s")(
    _Table("ckpt", context_settings={"help_option_names": [*HELP_NAMES]}, no_args_is_help=False)
)


def run(words: list[str]) -> int:
    """Run the command line `words` and return the exit code."""
    output = Output()
    try:
        return output.finish(_run(words, output))
    except BrokenPipeError:
        output.out.discard()
        return CLOSED_PIPE
    except Ended:
        raise
    # A stranger's module, an environment's or a plug-in's, must not end a command as if it were done.
    except (Exception, GeneratorExit, KeyboardInterrupt, SystemExit) as exception:
        return _fail(exception, words, output)


def _run(words: list[str], output: Output) -> int:
    if instruction := os.environ.get(_COMPLETE):
        from click.shell_completion import shell_complete

        try:
            return shell_complete(_ckpt, {}, "ckpt", _COMPLETE, instruction)
        except (LookupError, ValueError):  # the variables that a shell sets beside it are not there, or no numbers
            return TROUBLE
    if not words:
        for line in _ckpt.get_help(click.Context(_ckpt)).splitlines():
            output.err.write(line)
        return TROUBLE
    try:
        # Click takes the words out of the list it is given.
        with _ckpt.make_context("ckpt", list(words), obj=output) as context:
            return _ckpt.invoke(context) or 0
    except click.exceptions.Exit as done:
        return done.exit_code


def _fail(exception: BaseException, words: Sequence[str], output: Output) -> int:
    """Say what went wrong, in the form that was asked for even where the options were not read so far."""
    if os.environ.get("CKPT_DEBUG") == "1":
        from traceback import print_exception

        print_exception(exception)
    if isinstance(exception, click.ClickException):
        _read_early(words, output)
    error, code = explain(exception, output.command, output.options)
    try:
        return output.fail(error, code)
    except (OSError, OutputLost):  # no document of it can be written either: the line on stderr says it
        output.out.discard()
        return code


def _read_early(words: Sequence[str], output: Output) -> None:
    """Find the output options in a command line that cannot be parsed."""
    ahead = words[: words.index("--")] if "--" in words else words
    output.quiet |= "-q" in ahead or "--quiet" in ahead
    for word, following in zip(ahead, [*ahead[1:], ""], strict=True):
        name, _, value = word.partition("=") if "=" in word else (word, "", following)
        output.as_json |= word == "--json" or (name, value) == ("--format", "json")
        if name == "--color" and value in ("always", "never"):
            output.choose_colour(value)


def _unknown(name: str, commands: list[str], ctx: click.Context) -> NoReturn:
    from difflib import get_close_matches

    raise NoCommand(name, get_close_matches(name, commands), ctx)
