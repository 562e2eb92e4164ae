"""Names written by strangers, printed: no line is a command to the runner that logs it, no cell is markup."""

import pickle
import re

import numpy as np
import pytest

import ckptfmt

COMMANDS = (
    "::error file=a::b",
    " ::stop-commands::x",
    "\u2003::set-output name=a::b",
    "##[error]x",
    "a ##[add-mask]x",
    "##vso[task.setvariable variable=a]b",
    "##teamcity[buildStatus]",
    "a###[group]",
)
# TryParse of the runners: the newer form at the start of a line, blanks aside, the older ones anywhere.
OBEYED = re.compile(r"^\s*::|##\w*\[")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def obeyed(text):
    return [line for line in COLOUR.sub("", text).split("\n") if OBEYED.search(line)]


@pytest.fixture
def strangers(tmp_path):
    texts = {name: name for name in COMMANDS}
    first = {name: np.ones(2, np.float32) for name in COMMANDS}
    second = {name: value * 2 for name, value in first.items()}
    ckptfmt.save(tmp_path / "a", first, None, texts, extra=texts, environment={"id": COMMANDS[0]})
    ckptfmt.save(tmp_path / "::error::b", {**second, "::error::new": np.ones(1)}, None, dict(reversed(texts.items())))
    (tmp_path / "::error::c.pth").write_bytes(pickle.dumps({**first, "note": COMMANDS[0]}))
    (tmp_path / "::error::d").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("inspect", "a", "::error::b"),
        ("inspect", "a", "::error::b", "--line"),
        ("inspect", "::error::b", "--tensor", COMMANDS[0]),
        ("inspect", "::error::b", "--tensor", "::error::missing"),
        ("inspect", "::error::b", "--stats", "--sort", "name"),
        ("inspect", "--source", "::error::c.pth"),
        ("inspect", "::error::d"),
        ("validate", "::error::b", "::error::d", "a"),
        ("validate", "::error::b", "--verbose"),
        ("diff", "a", "::error::b"),
        ("diff", "a", "::error::b", "--name-only"),
        ("diff", "a", "::error::b", "--name-status"),
        ("diff", "a", "::error::b", "--stat"),
        ("diff", "a", "::error::b", "--md"),
        ("diff", "a", "::error::b", "--json"),
        ("diff", "::error::c.pth", "::error::b"),
        ("convert", "::error::c.pth", "::error::out", "--dry-run"),
        ("convert", "::error::c.pth", "::error::out"),
        ("clean", "::error::d"),
        ("repair", "a", "::error::fixed"),
        ("::error::",),
        ("inspect", "--::error::"),
    ],
    ids=" ".join,
)
def test_no_line_is_a_command_to_a_runner(ckpt, strangers, words):
    run = ckpt(*words, **({"FORCE_COLOR": "1"} if words[0] == "inspect" else {}))
    assert obeyed(run.out) == []
    assert obeyed(run.err) == []
    assert run.out or run.err
    assert "fault in ckpt" not in run.err


def test_json_says_the_names_as_they_are(ckpt, strangers):
    names = {tensor["name"] for tensor in ckpt("inspect", "a", "--json").document["result"]["tensors"]}
    assert names == set(COMMANDS)


@pytest.mark.parametrize(
    "name",
    [
        "@everyone",
        "https://evil.example",
        "[x](http://evil.example)",
        "\\| @you [x](http://evil.example)",
        "`@you`",
        "\\`@you",
        "&#64;you",
        "#1",
        "<img src=x>",
        "~~x~~",
        "$x$",
    ],
)
def test_a_cell_is_one_code_span(ckpt, tmp_path, name):
    ckptfmt.save(tmp_path / "a", {name: np.ones(1)}, None, {name: name})
    ckptfmt.save(tmp_path / "b", {name: np.ones(1) * 2}, None, {name: name + "!"})
    rows = [line for line in ckpt("diff", "a", "b", "--md").out.split("\n") if line.startswith("| ~")]
    assert len(rows) == 2
    for row in rows:
        cells = row.strip("|").split("|")
        assert len(cells) in (3, 6)
        # Without its code spans, nothing of the name is left.
        outside = re.sub(r"`[^`]*`", "", row)
        assert re.fullmatch(r"[|~ 0-9.]*", outside), row
