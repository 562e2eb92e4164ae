"""ckpt convert, through real processes: one file, whole folders, and what goes wrong."""

import io
import json
import os
import pickle
import shlex
import signal
import subprocess
import zipfile

import numpy as np
import pytest

from .conftest import CKPT, environment


class Attack:
    def __reduce__(self):
        return os.system, ("touch attacked",)


def test_one_file_is_told_in_full(ckpt, work):
    run = ckpt("convert", "dqn_best.pth", "out", "--game", "ALE/Breakout-v5")
    assert run.code == 0
    assert run.out.splitlines() == [
        "source   dqn_best.pth: pickle, pickle protocol 4, 10 tensors; nothing executed",
        "network  dqn, nature encoder, 4 actions, hidden 16 (10 of 10 tensors placed)",
        "unknown  training_info: none in the file; environment: none in the file",
        "wrote    out/weights.safetensors  309.7 KiB, verified against the source, tensor by tensor",
        "wrote    out/manifest.json",
    ]
    assert run.err == (
        "assumed  architecture dqn, encoder nature, input_scale 1, input_shape 4×36×36, 5 training settings, which "
        "the network's outputs do not depend on\n"
        "give     --architecture, --set encoder, --input-scale, --input-shape\n"
    )
    assert ckpt("validate", "out").code == 0
    manifest = json.loads((work / "out/manifest.json").read_text())
    assert (manifest["config"]["game"], manifest["config_origin"]["game"]) == ("ALE/Breakout-v5", "given")


def test_what_is_given_is_recorded_as_given(ckpt, work):
    options = ("--input-shape", "4x36x36", "--input-scale", "255", "--n-actions", "4", "--set", "n_steps=3")
    run = ckpt("convert", "dqn_best.pth", "out", *options, "--set", "double_dqn=true", "--json")
    result = run.document["result"]
    given = {name for name, origin in result["config_origin"].items() if origin == "given"}
    assert {"input_shape", "input_scale", "n_steps", "double_dqn"} <= given
    assert (result["config"]["n_steps"], result["config"]["double_dqn"], result["config"]["input_scale"]) == (
        3,
        True,
        255,
    )


def test_a_dry_run_writes_nothing(ckpt, work):
    before = sorted(work.rglob("*"))
    run = ckpt("convert", "dqn_best.pth", "out", "--dry-run")
    assert run.code == 0
    assert run.out.splitlines()[-1] == "nothing written; run again without --dry-run"
    assert ckpt("convert", "dqn_best.pth", "--dry-run", "--json").document["result"]["written"] == {}
    assert sorted(work.rglob("*")) == before


def test_strict_answers_no_where_something_would_be_assumed(ckpt, work):
    run = ckpt("convert", "dqn_best.pth", "out", "--strict", "--json")
    document = run.document
    assert (run.code, document["exit"], document["error"]["code"]) == (1, 1, "convert.assumed")
    assert not (work / "out").exists()


def test_an_existing_target_needs_force(ckpt, work):
    assert ckpt("convert", "dqn_best.pth", "out").code == 0
    run = ckpt("convert", "dqn_best.pth", "out")
    assert (run.code, run.out) == (2, "")
    assert run.err == "error: out: exists and is not empty; add --force to replace it, or choose another folder\n"
    assert ckpt("convert", "dqn_best.pth", "out", "--force").code == 0
    (work / "folder").mkdir()
    (work / "folder/thesis.tex").write_text("mine")
    assert ckpt("convert", "dqn_best.pth", "folder", "--force").code == 2
    assert (work / "folder/thesis.tex").read_text() == "mine"


def torch_zip(data):
    """What torch.save writes of an object without tensors."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def bad_inputs(folder):
    whole = (folder / "dqn_best.pth").read_bytes()
    files = {
        "empty.pth": b"",
        "cut.pth": whole[: len(whole) // 2],
        "lfs.pth": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 6769733\n",
        "page.pth": b"<!DOCTYPE html><html><body>Sign in</body></html>",
        "zip.pth": b"PK\x05\x06" + bytes(18),
        "attack.pth": pickle.dumps({"state_dict": Attack()}),
        "version.pth": pickle.dumps({"model_version": "9.9", "model_state_dict": {}, "model_config": {}}),
        "text.pth": b"hello",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "fifo.pth")
    return (*files, "fifo.pth", "nosuch.pth", "runs")


def test_bad_input_is_one_line_and_leaves_nothing(ckpt, work):
    for name in bad_inputs(work):
        before = sorted(work.iterdir())
        run = ckpt("convert", name, "out")
        assert (run.code, run.out, run.err.count("\n")) == (2, "", 1), name
        assert run.err.startswith("error: "), name
        assert "Traceback" not in run.err
        assert "fault in ckpt" not in run.err
        assert sorted(work.iterdir()) == before, name


def test_an_attack_is_named_and_not_run(ckpt, work):
    (work / "attack.pth").write_bytes(pickle.dumps(Attack()))
    run = ckpt("convert", "attack.pth", "out")
    called = f"{os.system.__module__}.system"
    flag = "read on, still without running it: --allow-unsafe-globals"
    hint = "see: ckpt inspect --source attack.pth"
    assert run.err == f"error: attack.pth: refused, its pickle calls {called}; nothing was run; {flag}; {hint}\n"
    assert called in ckpt("inspect", "--source", "attack.pth").out
    assert not (work / "attacked").exists()


def test_the_hint_of_a_refusal_can_be_pasted_for_a_file_inside_an_archive_too(ckpt, work):
    (work / "old-runs/my agent.pt").write_bytes(torch_zip(pickle.dumps({"weights": [], "x": Attack()}, 2)))
    single = ckpt("convert", "old-runs/my agent.pt", "out").err
    many = ckpt("convert", "old-runs", "--out-dir", "out").out
    for said in (single, next(line for line in many.splitlines() if "my agent" in line)):
        command = said.partition("see: ")[2].strip()
        assert command == "ckpt inspect --source 'old-runs/my agent.pt'"
        assert "--allow-unsafe-globals" in said
        shown = ckpt(*shlex.split(command)[1:])
        assert (shown.code, shown.err) == (0, "")
        assert "posix.system" in shown.out
    assert not (work / "attacked").exists()


def test_a_target_that_cannot_be_written_is_said(ckpt, work):
    (work / "file").write_text("")
    run = ckpt("convert", "dqn_best.pth", "file/out")
    assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
    missing = ckpt("convert", "dqn_best.pth", "/proc/nosuch/out")
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    assert "Traceback" not in run.err + missing.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["a.pth"], "give SOURCE and DEST, or --out-dir DIR for any number of sources; see: ckpt convert --help"),
        (
            ["old-runs", "out"],
            "old-runs is a folder; say where its checkpoints go with --out-dir DIR; see: ckpt convert --help",
        ),
        (["a", "b", "--set", "x"], "--set: 'x' is not KEY=VALUE; see: ckpt convert --help"),
        (
            ["a", "b", "--input-shape", "84"],
            "--input-shape: '84' is not channels, height and width, such as 4,84,84; see: ckpt convert --help",
        ),
    ],
)
def test_wrong_options(ckpt, work, words, line):
    run = ckpt("convert", *words)
    assert (run.code, run.out, run.err) == (2, "", f"error: ckpt convert: {line}\n")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder_is_mirrored_and_goes_on_after_a_failure(ckpt, work, jobs):
    (work / "old-runs/broken.pth").write_bytes(b"\x80\x04nothing")
    run = ckpt("convert", "old-runs", "--out-dir", "converted", "--jobs", jobs)
    assert (run.code, run.err) == (1, "")
    lines = run.out.splitlines()
    assert lines[0] == "✓ old-runs/a.pth -> converted/a  dqn"
    assert lines[1].startswith("✗ old-runs/broken.pth  ")
    assert lines[2] == "✓ old-runs/deep/b.npz -> converted/deep/b  dqn"
    assert lines[3:] == ["3 files: 2 converted, 1 failed; 1 other file left alone"]
    assert ckpt("validate", "converted/a", "converted/deep/b").code == 0
    assert sorted(path.name for path in (work / "converted").iterdir()) == ["a", "deep"]
    again = ckpt("convert", "old-runs", "--out-dir", "converted", "--jobs", jobs)
    assert again.code == 1
    assert again.out.splitlines()[0] == "✓ old-runs/a.pth  unchanged"
    assert again.out.splitlines()[-1] == "3 files: 2 unchanged, 1 failed; 1 other file left alone"


def test_a_folder_without_a_file_to_convert_is_an_error_and_nothing_is_made(ckpt, work):
    (work / "empty").mkdir()
    (work / "notes").mkdir()
    (work / "notes" / "a.txt").write_text("x")
    mend = "name a file itself, and it is read whatever it is called"
    for name, left in (("empty", ""), ("notes", "; 1 other file left alone")):
        run = ckpt("convert", name, "--out-dir", "converted")
        assert (run.code, run.out, run.err) == (2, "", f"error: {name}: holds no file to convert{left}; {mend}\n")
    assert not (work / "converted").exists()


def test_many_files_in_json_are_lines_with_the_document_last(ckpt, work):
    run = ckpt("convert", "old-runs", "dqn_best.pth", "--out-dir", "converted", "--json")
    *lines, last = [json.loads(line) for line in run.out.splitlines()]
    assert [line["status"] for line in lines] == ["converted"] * 3
    assert lines[0]["conversion"]["architecture"] == "dqn"
    assert last["result"] == {"files": 3, "converted": 3, "planned": 0, "unchanged": 0, "failed": 0, "others": 1}
    assert (last["ok"], last["exit"], run.code) == (True, 0, 0)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_ctrl_c_stops_with_130_and_leaves_whole_checkpoints_only(work, options):
    for i in range(400):
        os.link(work / "old-runs/a.pth", work / f"old-runs/{i}.pth")
    words = [CKPT, "convert", "old-runs", "--out-dir", "converted", "--jobs", "2", *options]
    process = subprocess.Popen(
        words, cwd=work, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert b"old-runs/0.pth" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"error: stopped by Ctrl-C\n")
    if options:
        last = json.loads(out.splitlines()[-1])
        assert (last["exit"], last["ok"], last["error"]["code"]) == (130, False, "run.interrupted")
    made = list((work / "converted").iterdir())
    assert 0 < len(made) < 401
    assert all((folder / "manifest.json").exists() for folder in made if not folder.name.startswith("."))
    assert [folder.name for folder in made if folder.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["dqn.pth", "out", "--executor", "dask://127.0.0.1:1"], "--executor is for many files"),
        (["dqn.pth", "--out-dir", "out", "--executor", "http://127.0.0.1:1"], "is not dask://HOST:PORT"),
    ],
)
def test_an_executor_is_an_address_and_for_many_files(ckpt, work, words, line):
    said = ckpt("convert", *words)
    assert said.code == 2
    assert line in said.err


@pytest.mark.parametrize("name", ["", ".weight", "..weight", "a..weight", "\0"])
def test_a_layer_without_a_name_is_kept_under_the_one_it_has(ckpt, work, name):
    arrays = {name: np.ones((4, 4), "f4"), "fc.weight": np.ones((6, 4), "f4"), "fc.bias": np.ones(6, "f4")}
    (work / "odd.pkl").write_bytes(pickle.dumps(arrays))
    run = ckpt("convert", "odd.pkl", "out", "--architecture", "none")
    assert run.code == 0, run.err
    listed = json.loads(ckpt("inspect", "out", "--json").out)["result"]["tensors"]
    assert len(listed) == 3
    assert name in [tensor["name"] for tensor in listed]
