"""The library names keywords and functions; ckpt says options and commands, and text of a file as it is."""

from pathlib import Path

import pytest
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


def test_the_class_and_the_code_of_an_error_stay():
    error = on_the_command_line(TargetExists("exists", where="out", fix="add overwrite=True"))
    assert (type(error), error.code, str(error)) == (TargetExists, "write.exists", "out: exists; add --force")
