"""ckpt inspect, through real processes."""

import numpy as np
import pytest

import ckptfmt

RUN = "runs/breakout-042"


def test_what_a_checkpoint_is(ckpt, work):
    run = ckpt("inspect", RUN)
    assert (run.code, run.err) == (0, "")
    lines = run.out.splitlines()
    assert lines[:4] == [
        "breakout-042  ckptfmt 1.0, dqn on ALE/Breakout-v5",
        "  network    nature, 4×36×36 / 1 -> 4 actions, hidden 16",
        "  weights    10 tensors, 79,092 parameters, 309.0 KiB, F32",
        "  training   frame_idx 4,000,000",
    ]
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["tensor", "dtype", "shape", "parameters"]
    assert "  conv.0.weight  F32    32×4×8×8        8,192" in table
    assert len(table) == 11


def test_one_line_a_checkpoint_for_scripts(ckpt, work):
    lines = ckpt("inspect", "runs/breakout-041", RUN, "--line").out.splitlines()
    fields = lines[1].split("\t")
    assert fields[:7] == [RUN, "1.0", "dqn", "ALE/Breakout-v5", "10", "79092", "316368"]
    assert fields[7].startswith("sha256:")
    assert len(lines) == 2


def test_one_tensor_with_its_figures(ckpt, work, tensors):
    run = ckpt("inspect", RUN, "--tensor", "conv.0.bias", "--stats")
    lines = run.out.splitlines()
    assert lines[0] == "conv.0.bias  F32 32"
    figures = dict(line.split(maxsplit=1) for line in lines[1:])
    assert figures["zeros"] == "0"
    assert figures["min"] == f"{tensors['conv.0.bias'].min():.4f}"
    wrong = ckpt("inspect", RUN, "--tensor", "conv.0.bia")
    assert wrong.code == 2
    assert wrong.err.startswith(f"error: {RUN}: holds no tensor 'conv.0.bia'; did you mean conv.0.bias")


def test_tensors_are_chosen_and_ordered(ckpt, work):
    def names(*options):
        lines = ckpt("inspect", RUN, *options).out.splitlines()
        return [line.split()[0] for line in lines[lines.index("") + 2 :]] if "" in lines else []

    assert names("--filter", "fc.*.bias", "--sort", "name") == ["fc.0.bias", "fc.2.bias"]
    assert ckpt("inspect", "runs/breakout-042", "--filter", "cf.*").err == (
        "runs/breakout-042: no tensor has such a name\n"
    )
    assert names("--sort", "size")[0] == "conv.4.weight"
    assert names("--no-tensors") == []


def test_a_foreign_file_is_looked_at_without_running_it(ckpt, work):
    run = ckpt("inspect", "--source", "dqn_best.pth")
    assert (run.code, run.err) == (0, "")
    lines = run.out.splitlines()
    assert lines[0].startswith("dqn_best.pth  pickle, pickle protocol 4, 309.")
    assert lines[0].endswith("; nothing executed")
    assert any(line.startswith("  network    dqn, because ") for line in lines)
    assert ckpt("inspect", "dqn_best.pth").out == run.out
    document = ckpt("inspect", "--source", "dqn_best.pth", "--json").document
    assert document["result"]["networks"][0]["totals"]["tensors"] == 10


def test_json_is_that_of_one_or_of_several(ckpt, work):
    one = ckpt("inspect", RUN, "--json").document["result"]
    several = ckpt("inspect", RUN, "runs/breakout-041", "--json").document["result"]["checkpoints"]
    assert several[0] == one
    assert [entry["path"] for entry in several] == [RUN, "runs/breakout-041"]
    assert one["totals"] == {"tensors": 10, "parameters": 79092, "bytes": 316368, "dtypes": {"F32": 10}}
    assert "stats" not in one["tensors"][0]
    assert ckpt("inspect", RUN, "--stats", "--json").document["result"]["tensors"][0]["stats"]["zeros"] == 0


def test_no_checkpoint_is_exit_2(ckpt, work):
    run = ckpt("inspect", "old-runs")
    line = "error: old-runs: not a checkpoint, manifest.json is missing; make one with: ckpt convert SOURCE OUT\n"
    assert (run.code, run.out, run.err) == (2, "", line)
    several = ckpt("inspect", "old-runs", RUN, "--line")
    assert (several.code, several.err) == (2, line)
    assert several.out.startswith(RUN)


def test_names_of_a_stranger_reach_no_terminal_raw(ckpt, on_terminal, work):
    name = "evil\x1b]0;owned\x07\u202e\x9b31m"
    ckptfmt.save(work / "evil", {name: np.ones(1)})
    for run in (ckpt("inspect", "evil"), on_terminal("inspect", "evil", "--color", "never")):
        assert "evil\\x1b]0;owned\\x07\\u202e\\x9b31m" in run.out
        assert not set(run.out) & {"\x1b", "\x07", "\u202e", "\x9b"}
    assert not set(ckpt("inspect", "evil", "--json").out) & {"\x1b", "\x07", "\u202e", "\x9b"}


def test_cells_are_cut_on_a_terminal_only(ckpt, on_terminal, work):
    long = "a_very_long_name." * 10
    ckptfmt.save(work / "long", {long: np.ones(1)})
    assert long in ckpt("inspect", "long", COLUMNS="60").out
    cut = on_terminal("inspect", "long", "--color", "never", COLUMNS="60")
    assert long not in cut.out
    assert max(len(line) for line in cut.out.splitlines() if "very" in line) == 60
    assert cut.err == "cells are shortened to the terminal's width; show them whole with: --no-truncate\n"
    whole = on_terminal("inspect", "long", "--color", "never", "--no-truncate", COLUMNS="60")
    assert long in whole.out
    assert whole.err == ""


def test_the_document_of_several_names_those_that_failed(ckpt, work):
    run = ckpt("inspect", "runs/breakout-041", "nope", "--json", cwd=work)
    assert (run.code, run.document["ok"]) == (2, False)
    assert [one["path"] for one in run.document["result"]["checkpoints"]] == ["runs/breakout-041"]
    assert [one["where"] for one in run.document["result"]["errors"]] == ["nope"]


@pytest.mark.parametrize("words", [["--line"], ["--stats"], ["--tensor", "fc.2.bias"]])
def test_what_is_shown_of_checkpoints_alone_is_refused_for_another_file(ckpt, work, words):
    run = ckpt("inspect", "dqn_best.pth", *words, cwd=work)
    assert (run.code, run.out) == (2, "")
    assert run.err == (
        f"error: dqn_best.pth: is a file of another program, for which there is no {words[0]}; "
        f"leave {words[0]} out, or make a checkpoint of it with: ckpt convert\n"
    )
