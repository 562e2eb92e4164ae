"""Every command gives the same answer on a checkpoint whatever form its files have."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import ckptfmt
from ckptfmt.store.forms import compress

FORMS = ("plain", "mixed", "compressed")


@pytest.fixture(scope="module")
def forms(tmp_path_factory, tensors) -> dict[str, Path]:
    """A folder for each form, with two checkpoints of the same names in each."""
    top = tmp_path_factory.mktemp("forms")
    config = ckptfmt.ModelConfig(n_action=4, input_shape=(4, 36, 36), hidden_size=16, game="ALE/Breakout-v5")
    random = np.random.default_rng(1)
    more = {
        "state": {"optimizer.exp_avg": np.repeat(random.normal(size=400), 9), "step": np.array(7)},
        "replay": {"frames": np.repeat(np.arange(200, dtype="u1"), 36 * 36).reshape(200, 36, 36)},
    }
    for name, factor in (("a", 1), ("b", 2)):
        changed = {**tensors, "fc.2.bias": tensors["fc.2.bias"] * factor}
        ckptfmt.save(top / "plain" / name, changed, config, {"frame_idx": factor}, **more).close()
    for form, everything in (("mixed", False), ("compressed", True)):
        shutil.copytree(top / "plain", top / form)
        for name in ("a", "b"):
            compress(top / form / name, everything=everything)
    return {form: top / form for form in FORMS}


def test_the_forms_are_what_they_are_called(forms):
    found = {form: sorted(os.listdir(folder / "a")) for form, folder in forms.items()}
    assert found["mixed"] == [
        "manifest.json", "replay.safetensors.zst", "state.safetensors.zst", "weights.safetensors"
    ]  # fmt: skip
    assert found["compressed"][1:] == [f"{name}.zst" for name in found["plain"][1:]]


COMMANDS = [
    "inspect a",
    "inspect a --json",
    "inspect a --stats",
    "inspect a --stats --json",
    "validate a b",
    "validate a --strict --json",
    "validate a --fast --json",
    "validate a --format github",
    "diff a b",
    "diff a b --json",
    "diff ../plain/a b --json",
    "repair a --dry-run",
    "repair a c --from b --json",
    "clean . --json",
    "compress a --all --level 19 --json",
    "decompress a --json",
]


@pytest.mark.parametrize("form", FORMS[1:])
@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_gives_the_answer_that_it_gives_on_plain_files(ckpt, forms, tmp_path, words, form):
    answers = []
    for other in ("plain", form):
        shutil.copytree(forms["plain"], tmp_path / other / "plain")
        shutil.copytree(forms[other], tmp_path / other / "here")
        run = ckpt(*words.split(), cwd=tmp_path / other / "here")
        document = run.document if "--json" in words else None
        if words.startswith(("compress", "decompress")):
            # What they tell is the form itself; afterwards there is none but the one that was asked for.
            document = sorted(os.listdir(tmp_path / other / "here" / "a"))
        answers.append((run.code, run.err, document or run.out))
    assert answers[0] == answers[1]
    assert answers[0][0] in (0, 1)


def test_what_is_written_of_a_compressed_one_is_compressed_and_the_same(ckpt, forms, tmp_path):
    shutil.copytree(forms["compressed"], tmp_path / "x")
    stored = tmp_path / "x" / "a" / "state.safetensors.zst"
    content = bytearray(stored.read_bytes())
    content[200] ^= 1
    stored.write_bytes(content)
    assert ckpt("validate", "x/a").code == 1
    run = ckpt("repair", "x/a", "--from", "x/b")
    assert (run.code, run.err) == (0, "")
    assert run.out == "~ optimizer.exp_avg  from x/b\nwrote x/a-repaired\n"
    assert sorted(os.listdir(tmp_path / "x" / "a-repaired")) == sorted(os.listdir(tmp_path / "x" / "a"))
    assert ckpt("validate", "x/a-repaired", "--strict").code == 0


def test_zstd_gives_the_plain_files_back_and_the_manifest_does_not_change(ckpt, forms, tmp_path):
    shutil.copytree(forms["plain"], tmp_path / "runs")
    before = {path.name: path.read_bytes() for path in (tmp_path / "runs" / "a").iterdir()}
    run = ckpt("compress", "--all", "runs/a")
    assert (run.code, run.err) == (0, "")
    assert (tmp_path / "runs" / "a" / "manifest.json").read_bytes() == before["manifest.json"]
    if program := shutil.which("zstd"):
        for name in before.keys() - {"manifest.json"}:
            packed = tmp_path / "runs" / "a" / f"{name}.zst"
            assert subprocess.run([program, "-dc", packed], capture_output=True, check=True).stdout == before[name]
    assert ckpt("decompress", "runs/a").code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "runs" / "a").iterdir()} == before


def test_a_line_says_what_each_took_and_takes(ckpt, forms, tmp_path):
    shutil.copytree(forms["plain"], tmp_path / "runs")
    sizes = {name: os.stat(tmp_path / "runs" / "a" / name).st_size for name in os.listdir(tmp_path / "runs" / "a")}
    del sizes["manifest.json"]
    digest = json.loads((tmp_path / "runs" / "a" / "manifest.json").read_text())["content_digest"]
    planned = ckpt("compress", "runs/a", "--dry-run", "--json").document["result"]
    assert planned["written"] is False
    (one,) = planned["checkpoints"]
    assert (one["before"], one["changed"]) == (sizes, ["state.safetensors", "replay.safetensors"])
    run = ckpt("compress", "runs/a", "runs/b")
    assert run.code == 0
    assert run.out.splitlines()[0].endswith(f"  weights unchanged (sha256 {digest[7:15]})")
    assert ckpt("compress", "runs/a").out == f"runs/a  {size_text(one['after'])}, no file gets a tenth smaller\n"
    run = ckpt("compress", "runs/a", "nowhere")
    assert (run.code, run.err) == (2, "error: nowhere: no such folder; check the path\n")
    told = ckpt("compress", "runs/a", "nowhere", "--json").document["result"]
    assert [error["where"] for error in told["errors"]] == ["nowhere"]


def size_text(sizes: dict[str, int]) -> str:
    return f"{sum(sizes.values()) / 1024:.1f} KiB"


def test_a_folder_that_holds_something_else_is_not_replaced(ckpt, forms, tmp_path):
    shutil.copytree(forms["plain"], tmp_path / "runs")
    (tmp_path / "runs" / "a" / "notes.txt").write_text("mine")
    run = ckpt("compress", "runs/a")
    assert run.code == 2
    assert run.err == (
        "error: runs/a: holds 'notes.txt', which is no part of a checkpoint and would be lost; move it away\n"
    )
    assert (tmp_path / "runs" / "a" / "notes.txt").read_text() == "mine"


def test_a_conversion_can_compress(ckpt, work):
    run = ckpt("convert", "dqn_best.pth", "out", "--compress", "--json", cwd=work)
    assert run.code == 0
    written = run.document["result"]["written"]
    assert set(written) == set(os.listdir(work / "out"))
    np.savez(work / "zeros.npz", **{name: array * 0 for name, array in np.load(work / "old-runs/deep/b.npz").items()})
    run = ckpt("convert", "zeros.npz", "zeros", "--compress", cwd=work)
    assert (run.code, sorted(os.listdir(work / "zeros"))) == (0, ["manifest.json", "weights.safetensors.zst"])
    many = ("convert", "zeros.npz", "--out-dir", "many", "--compress", "--json")
    assert ckpt(*many, cwd=work).code == 0
    assert '"unchanged": 1' in ckpt(*many, cwd=work).out
