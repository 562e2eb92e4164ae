"""The library names keywords and functions; ckpt says options and commands, and text of a file as it is."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from ckptfmt.cli.main import COMMANDS as TABLE
from ckptfmt.cli.wording import COMMANDS, OPTIONS, on_the_command_line, sentence

from ckptfmt.errors import CkptError, Problem, TargetExists


def test_every_option_and_command_that_is_said_exists():
    # The reference is made from what the commands say of themselves.
    reference = (Path(__file__).resolve().parent.parent.parent / "docs" / "cli.md").read_text()
    assert {name for name in COMMANDS.values() if f"ckpt {name}" not in reference} == set()
    assert {option for option in OPTIONS.values() if option.split()[0] not in reference.split()} == set()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("add overwrite=True to replace it", "add --force to replace it"),
        ("give n_action=, v_min=, or architecture=none", "give --n-actions, --v-min, or --architecture none"),
        ("give policy=, or architecture=none", "give --set policy, or --architecture none"),
        ("wait for it with wait=SECONDS", "wait for it with --wait SECONDS"),
        ("make one with: ckptfmt.convert(SOURCE, DEST)", "make one with: ckpt convert SOURCE DEST"),
        ("see: ckptfmt.summarize(PATH)", "see: ckpt inspect 'a b.pth'"),
        ("it has: 'key=x', 'ckptfmt.convert(A)'", "it has: 'key=x', 'ckptfmt.convert(A)'"),
        ("pass model=", "pass model="),
    ],
)  # fmt: skip
def test_what_mends_an_error_is_said_in_options(said, shown):
    assert on_the_command_line(CkptError("wrong", where="a b.pth", fix=said)).fix == shown
    assert sentence(Problem("x.y", "a b.pth", "wrong", said)) == f"a b.pth: wrong; {shown}"


@pytest.mark.parametrize("command", [name for section in TABLE.values() for name in section])
def test_no_command_is_told_an_option_that_it_lacks(command):
    parameters = getattr(import_module(f"ckptfmt.cli.commands.{command}"), command).params
    options = {option for parameter in parameters for option in parameter.opts}
    for keyword in OPTIONS:
        fix = on_the_command_line(CkptError("wrong", fix=f"give {keyword}=, or go away"), options).fix
        elsewhere = fix.startswith("convert it first, with ckpt convert SOURCE OUT, and there give --")
        assert elsewhere or set(re.findall("--[a-z-]+", fix)) <= options
        assert fix.endswith("go away")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("wait for it with wait=SECONDS, or end that process", "end that process"),
        ("add overwrite=True to replace it", "choose another name"),
        ("add overwrite=True to replace it, or choose another folder", "choose another folder"),
        ("choose one with key=", "convert it first, with ckpt convert SOURCE OUT, and there choose one with --key"),
        ("give trust=True where you know who made it", "give --trust where you know who made it"),
        ("look for 'key='", "look for 'key='"),
    ],
)
def test_a_command_is_told_what_it_can_do(said, shown):
    options = {"--trust", "--game"}
    assert on_the_command_line(CkptError("wrong", fix=said), options).fix == shown
    assert sentence(Problem("x.y", "a", "wrong", said), options) == f"a: wrong; {shown}"


def test_the_class_and_the_code_of_an_error_stay():
    error = on_the_command_line(TargetExists("exists", where="out", fix="add overwrite=True"))
    assert (type(error), error.code, str(error)) == (TargetExists, "write.exists", "out: exists; add --force")
