import numpy as np
import pytest

import ckptfmt


@pytest.fixture
def damaged(tmp_path):
    for name in ("out", "sibling"):
        ckptfmt.save(tmp_path / name, {"x": np.ones(3, "f4"), "y": np.zeros(3, "f4")}).close()
    file = tmp_path / "out" / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    return tmp_path


def test_a_tensor_comes_back_from_a_sibling(ckpt, damaged):
    run = ckpt("repair", "out", "--from", "sibling", cwd=damaged)
    assert (run.code, run.out, run.err) == (0, "~ y  from sibling\nwrote out-repaired\n", "")
    assert ckpt("validate", "out-repaired", cwd=damaged).code == 0
    assert ckpt("validate", "out", cwd=damaged).code == 1


def test_what_cannot_be_restored_is_one_line(ckpt, damaged):
    run = ckpt("repair", "out", cwd=damaged)
    assert (run.code, run.out) == (2, "")
    assert run.err == (
        "error: out: weights.safetensors: y cannot be restored, no sibling has the bytes; "
        "name checkpoints of the same run with --from\n"
    )


def test_a_rebuilt_manifest_says_so_as_json_too(ckpt, damaged):
    (damaged / "out" / "manifest.json").unlink()
    document = ckpt("repair", "out", "new", "--json", cwd=damaged).document
    assert document["result"] == {
        "path": "out",
        "dest": "new",
        "restored": {},
        "rebuilt": "not a checkpoint, manifest.json is missing",
        "unproved": ["x", "y"],
        "lost": [],
        "architecture": None,
    }


def test_in_place_and_a_destination_exclude_each_other(ckpt, damaged):
    run = ckpt("repair", "out", "new", "--in-place", cwd=damaged)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("error: ckpt repair: DEST and --in-place exclude each other")
