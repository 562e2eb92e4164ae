"""How a command is declared: the options all commands share, arguments that explain themselves, and help."""

import os
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from ckptfmt.remote.address import parse
from ckptfmt.remote.url import SCHEMES

from .help import HELP_NAMES, definitions, paragraphs
from .output import Output
from .ranges import Number, range_in_words

__all__ = ["Argument", "Command", "argument", "command", "exit_zero", "option", "waiting"]

F = TypeVar("F", bound=Callable[..., Any])


class Argument(click.Argument):
    """An argument with one sentence that says what it is."""

    def __init__(self, *args: Any, sentence: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sentence = sentence

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the value as its type has it; raise `CkptError` for a URL that holds a secret or an empty word."""
        _check(value, self, ctx)
        return super().process_value(ctx, value)


class Option(click.Option):
    """An option that belongs to a group of the help text."""

    def __init__(self, *args: Any, group: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the value as its type has it; raise `CkptError` for a path that is such a URL or empty."""
        if isinstance(self.type, click.Path):
            _check(value, self, ctx)
        return super().process_value(ctx, value)

    def get_help_extra(self, ctx: click.Context) -> click.types.OptionHelpExtra:
        """Return what stands in brackets behind the help: of a range its words, where click writes `0<=x<=1`."""
        extra = super().get_help_extra(ctx)
        if "range" in extra:
            extra["range"] = range_in_words(self.type)
            # That a count is not negative goes without saying.
            if " to " not in extra["range"]:
                del extra["range"]
        return extra


class Command(click.Command):
    """A command whose help is what it does, its arguments, its options in groups, and examples that run."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def get_help(self, ctx: click.Context) -> str:
        """Return the help text, 80 columns wide wherever it is shown."""
        usage = " ".join(self.collect_usage_pieces(ctx))
        blocks = [*paragraphs(self.help or ""), f"Usage: {ctx.command_path} {usage}"]
        described = [(p.make_metavar(ctx), p.sentence) for p in self.get_params(ctx) if isinstance(p, Argument)]
        if described:
            blocks.append(definitions(described))
        blocks += [f"{name}:\n{definitions(rows)}" for name, rows in self._options(ctx).items()]
        if self.examples:
            blocks.append("Examples:\n" + "\n".join(f"  {example}" for example in self.examples))
        return "\n\n".join(blocks)

    def _options(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        groups: dict[str, list[tuple[str, str]]] = {"Options": [], "Output": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if isinstance(parameter, click.Option) and record is not None:
                group = parameter.group if isinstance(parameter, Option) else "Output"
                groups.setdefault(group, []).append(record)
        # Last, whatever groups a command brings of its own.
        groups["Output"] = groups.pop("Output")
        return {name: rows for name, rows in groups.items() if rows}


def command(*, examples: Sequence[str]) -> Callable[[Callable[..., int]], Command]:
    """Make a command of a function that takes an `Output` first and returns the exit code 0 or 1.

    Its docstring is the help text. The options that every command has are added here: `--json`, `--quiet`,
    `--verbose`, `--color`, `--no-truncate` and `-h`.
    """

    def declare(function: Callable[..., int]) -> Command:
        def invoke(ctx: click.Context, /, **values: Any) -> int:
            return function(ctx.ensure_object(Output), **values)

        shared = _shared_options(update_wrapper(invoke, function))
        make = click.command(cls=Command, examples=examples, context_settings={"help_option_names": [*HELP_NAMES]})
        return make(click.pass_context(shared))

    return declare


def argument(name: str, sentence: str, **settings: Any) -> Callable[[F], F]:
    """Declare an argument; `sentence` explains it in the help."""
    return click.argument(name, cls=Argument, sentence=sentence, **settings)


def option(*names: str, group: str = "Options", **settings: Any) -> Callable[[F], F]:
    """Declare an option of the command's own, under the heading `group` of its help."""
    return click.option(*names, cls=Option, group=group, **settings)


def exit_zero(function: F) -> F:
    """Add `--exit-zero`."""
    return _setting("--exit-zero", "exit_zero", True, "Exit 0 even if the answer is no, for pipelines.")(function)


def waiting(written: str) -> Callable[[F], F]:
    """Return what adds `--wait`, how long to wait for another writer of what is `written`."""
    return option(
        "--wait",
        type=Number(min=0),
        default=0.0,
        metavar="SECONDS",
        help=f"How long to wait while another process writes {written}.",
    )


def _check(value: Any, parameter: click.Parameter, ctx: click.Context) -> None:
    """Refuse the words of a parameter that are no path: empty ones, and URLs with a secret."""
    for word in value if isinstance(value, (tuple, list)) else (value,):
        # The library takes an empty path for the current folder, or for none given.
        if word == "" and ctx.get_parameter_source(str(parameter.name)) is not ParameterSource.DEFAULT:
            raise click.BadParameter("'' names nothing", ctx, parameter)
        _refuse_secret(word)


def _refuse_secret(word: Any) -> None:
    """Raise `CkptError`, which does not repeat it, for a URL with a password or a query that is no file here."""
    if isinstance(word, str) and word.partition("://")[0] in SCHEMES and not os.path.lexists(word):
        parse(word)


def _shared_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for add in reversed(_SHARED):
        function = add(function)
    return function


def _setting(*declaration: Any) -> Callable[[F], F]:
    """Declare a flag that sets an attribute of the `Output`."""
    *names, attribute, value, text = declaration

    def store(ctx: click.Context, _: click.Parameter, given: bool) -> None:
        if given:
            setattr(ctx.ensure_object(Output), attribute, value)

    # Eager: what is wrong with another option is told in the form that was asked for, wherever these stand.
    return click.option(*names, is_flag=True, expose_value=False, is_eager=True, callback=store, help=text)


def _colour(ctx: click.Context, _: click.Parameter, choice: str) -> None:
    ctx.ensure_object(Output).choose_colour(choice)


_SHARED = (
    _setting("--json", "as_json", True, "Print one JSON document instead of text."),
    _setting("-q", "--quiet", "quiet", True, "Print no answer; only set the exit code."),
    _setting("-v", "--verbose", "verbose", True, "Say more on stderr."),
    click.option(
        "--color",
        type=click.Choice(["auto", "always", "never"]),
        default="auto",
        expose_value=False,
        is_eager=True,
        callback=_colour,
        help="When to use colour; auto respects NO_COLOR and FORCE_COLOR.",
    ),
    _setting("--no-truncate", "truncate", False, "Do not shorten cells to the terminal's width."),
)
