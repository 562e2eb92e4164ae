"""ckpt validate, through real processes."""

import re
import shutil

import pytest


@pytest.fixture
def damaged(work):
    """The second checkpoint with one bit of its last tensor turned."""
    file = work / "runs/breakout-042/weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    return work


def test_sound_checkpoints(ckpt, work):
    run = ckpt("validate", "runs/breakout-041", "runs/breakout-042")
    assert (run.code, run.err) == (0, "")
    assert run.out == "✓ runs/breakout-041\n✓ runs/breakout-042\n2 checkpoints, all valid\n"


def test_a_pattern_that_the_shell_left_is_looked_up(ckpt, work):
    run = ckpt("validate", "runs/breakout-*", "--fast")
    assert run.out.splitlines()[:-1] == ["✓ runs/breakout-041", "✓ runs/breakout-042"]
    assert (run.code, ckpt("validate", "runs/breakout-*").out.splitlines()[-1]) == (0, "2 checkpoints, all valid")
    (work / "runs" / "breakout-041" / "manifest.json").rename(work / "manifest.json")
    lost = ckpt("validate", "runs/breakout-*", "--fast")
    assert (lost.code, lost.out.splitlines()[0]) == (2, "✗ runs/breakout-041")
    (work / "manifest.json").rename(work / "runs" / "breakout-041" / "manifest.json")
    none = ckpt("validate", "runs/nothing-*", "runs/breakout-041")
    assert (none.code, none.err) == (2, "error: runs/nothing-*: no such folder; check the path\n")
    assert "✓ runs/breakout-041" in none.out


def test_one_line_says_that_bytes_were_not_read(ckpt, work):
    run = ckpt("validate", "runs/breakout-041", "--fast")
    assert run.out.splitlines()[-1] == "1 checkpoint, valid; only manifests and headers were read"


def test_a_damaged_tensor_is_named(ckpt, damaged):
    run = ckpt("validate", "runs/breakout-041", "runs/breakout-042")
    lines = run.out.splitlines()
    assert run.code == 1
    assert lines[:2] == ["✓ runs/breakout-041", "✗ runs/breakout-042"]
    assert lines[2] == (
        "    weights.digest   weights.safetensors fc.2.weight: "
        "bytes do not match the manifest; copy it again or re-save it"
    )
    assert lines[3:] == ["2 checkpoints: 1 invalid, 1 problem"]


def test_problems_in_json_and_for_github(ckpt, damaged):
    document = ckpt("validate", "runs/breakout-042", "--json").document
    assert (document["ok"], document["exit"]) == (False, 1)
    (checkpoint,) = document["result"]["checkpoints"]
    assert [problem["code"] for problem in checkpoint["problems"]] == ["weights.digest"]
    assert ckpt("validate", "runs/breakout-042", "--format", "json").document["result"] == document["result"]
    line = ckpt("validate", "runs/breakout-042", "--format", "github").out
    assert line.startswith("::error file=runs/breakout-042/weights.safetensors,title=weights.digest::")


def test_exit_zero_changes_the_code_alone(ckpt, damaged):
    run = ckpt("validate", "runs/breakout-042", "--exit-zero", "--json")
    assert (run.code, run.document["ok"], run.document["exit"]) == (0, False, 0)
    assert ckpt("validate", "runs/breakout-042", "-q").code == 1
    assert ckpt("validate", "nosuch", "--exit-zero").code == 2


def test_codes_can_be_chosen(ckpt, damaged):
    assert ckpt("validate", "runs/breakout-042", "--ignore", "weights.digest").code == 0
    assert ckpt("validate", "runs/breakout-042", "--ignore", "weights.*").code == 0
    assert ckpt("validate", "runs/breakout-042", "--select", "manifest.*").code == 0
    assert ckpt("validate", "runs/breakout-042", "--select", "weights.*").code == 1


@pytest.mark.parametrize("option", ["--select", "--ignore"])
def test_a_code_that_no_problem_has_is_refused_and_hides_nothing(ckpt, damaged, option):
    run = ckpt("validate", "runs/breakout-042", option, "weights.digset")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("error: there is no problem code weights.digset; did you mean weights.digest")
    assert ckpt("validate", "runs/breakout-042", option, "weight.*").code == 2


def test_a_warning_has_its_sign_and_counts_when_strict(ckpt, work):
    (work / "runs/breakout-041/notes.txt").write_text("")
    run = ckpt("validate", "runs/breakout-041")
    assert run.code == 0
    assert run.out.splitlines() == [
        "! runs/breakout-041",
        "    layout.unlisted   notes.txt: is not in the manifest; move it out of the folder",
        "1 checkpoint: 1 with warnings, 1 problem",
    ]
    assert ckpt("validate", "runs/breakout-041", "--strict").code == 1


def test_what_cannot_be_looked_at_does_not_hide_the_rest(ckpt, work):
    run = ckpt("validate", "nosuch", "runs/breakout-041", "old-runs")
    assert run.code == 2
    assert "✓ runs/breakout-041" in run.out
    assert run.out.splitlines()[-1] == "3 checkpoints: 2 invalid, 2 problems"
    assert run.err.splitlines() == [
        "error: nosuch: no such folder; check the path",
        "error: old-runs: not a checkpoint, manifest.json is missing; make one with: ckpt convert SOURCE OUT",
    ]
    document = ckpt("validate", "nosuch", "runs/breakout-041", "--json").document
    assert document["exit"] == 2
    assert [entry["valid"] for entry in document["result"]["checkpoints"]] == [False, True]


def test_a_code_is_explained(ckpt):
    run = ckpt("validate", "--explain", "weights.digest")
    assert (run.code, run.out.splitlines()[0]) == (0, "weights.digest  (error)")
    wrong = ckpt("validate", "--explain", "weights.digset")
    assert wrong.code == 2
    assert wrong.err.startswith("error: there is no problem code weights.digset; did you mean weights.digest")


def test_validating_changes_nothing(ckpt, work):
    shutil.copytree(work / "runs", work / "before")
    ckpt("validate", "runs/breakout-041", "runs/breakout-042")
    for file in (work / "before").rglob("*.*"):
        assert file.is_dir() or file.read_bytes() == (work / "runs" / file.relative_to(work / "before")).read_bytes()
    assert len(list((work / "before").rglob("*"))) == len(list((work / "runs").rglob("*")))


def test_signs_have_words_where_the_encoding_lacks_them(ckpt, damaged):
    run = ckpt("validate", "runs/breakout-041", "runs/breakout-042", PYTHONIOENCODING="ascii")
    assert run.out.splitlines()[:2] == ["ok runs/breakout-041", "FAIL runs/breakout-042"]


def test_signs_are_coloured_on_a_terminal(on_terminal, damaged):
    run = on_terminal("validate", "runs/breakout-041", "runs/breakout-042")
    lines = run.out.splitlines()
    assert lines[0] == "\x1b[32m✓\x1b[0m \x1b[1mruns/breakout-041\x1b[0m"
    assert lines[1] == "\x1b[31m✗\x1b[0m \x1b[1mruns/breakout-042\x1b[0m"
    assert run.err == ""


def test_problems_that_are_not_reported_are_counted(ckpt, work):
    file = work / "runs/breakout-041/weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 4
    file.write_bytes(data)
    run = ckpt("validate", "runs/breakout-041", "--ignore", "weights.*", cwd=work)
    assert run.code == 0
    assert re.fullmatch(r"1 checkpoint, valid; \d+ problems? not reported", run.out.splitlines()[-1])
