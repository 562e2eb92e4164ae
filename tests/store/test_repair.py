import os
import shutil

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import NotACheckpoint, TargetExists, WeightsError, WriteError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.atari_dqn.expected import expected_tensors
from ckptfmt.format.manifest import Lineage
from ckptfmt.format.tensors import Part
from ckptfmt.look.validate import validate
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.forms import compress
from ckptfmt.store.repair import repair

CONFIG = ModelConfig(input_shape=(4, 84, 84), n_action=6, hidden_size=4)


def network(seed):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype("f4") for name, shape in expected_tensors(CONFIG).items()}


@pytest.fixture
def damaged(tmp_path):
    """A checkpoint with one damaged tensor, and a sibling that shares all but one tensor with it."""
    arrays = network(0)
    ckptfmt.save(tmp_path / "out", arrays, CONFIG, {"frame_idx": 7}).close()
    ckptfmt.save(tmp_path / "sibling", {**arrays, "fc.2.bias": arrays["fc.2.bias"] + 1}, CONFIG).close()
    flip(tmp_path / "out", "conv.2.weight")
    return tmp_path


def flip(path, name):
    with Checkpoint(path) as checkpoint:
        at = checkpoint.info(name).offset
    file = path / "weights.safetensors"
    data = bytearray(file.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    data[start + at] ^= 1
    file.write_bytes(data)


def test_a_damaged_tensor_comes_back_from_a_sibling(damaged):
    before = snapshot(damaged / "out")
    done = repair(damaged / "out", siblings=[damaged / "sibling"])
    assert done.restored == {"conv.2.weight": str(damaged / "sibling")}
    assert done.written == str(damaged / "out-repaired")
    assert snapshot(damaged / "out") == before
    assert validate(done.written).valid
    with Checkpoint(done.written) as checkpoint, Checkpoint(damaged / "out") as broken:
        assert checkpoint.manifest == broken.manifest
        np.testing.assert_array_equal(checkpoint.tensors["conv.2.weight"], network(0)["conv.2.weight"])


def test_what_no_sibling_has_is_named_and_nothing_is_written(damaged):
    flip(damaged / "out", "fc.2.bias")
    with pytest.raises(WeightsError) as caught:
        repair(damaged / "out", siblings=[damaged / "sibling"])
    assert str(caught.value) == (
        f"{damaged}/out: weights.safetensors: fc.2.bias cannot be restored, no sibling has the bytes; "
        "name checkpoints of the same run with siblings="
    )
    assert sorted(os.listdir(damaged)) == ["out", "sibling"]


def test_a_damaged_sibling_gives_nothing(damaged):
    flip(damaged / "sibling", "conv.2.weight")
    with pytest.raises(WeightsError):
        repair(damaged / "out", siblings=[damaged / "sibling"])


def test_it_is_repaired_in_place_only_when_told(damaged):
    with pytest.raises(TargetExists):
        repair(damaged / "out", damaged / "sibling", siblings=[damaged / "sibling"])
    done = repair(damaged / "out", siblings=[damaged / "sibling"], in_place=True)
    assert done.written == str(damaged / "out")
    assert validate(damaged / "out").valid


def test_a_dry_run_writes_nothing(damaged):
    before = snapshot(damaged / "out")
    done = repair(damaged / "out", siblings=[damaged / "sibling"], dry_run=True)
    assert (done.written, list(done.restored)) == ("", ["conv.2.weight"])
    assert snapshot(damaged / "out") == before
    assert sorted(os.listdir(damaged)) == ["out", "sibling"]


def test_a_truncated_file_is_completed(damaged):
    ckptfmt.save(damaged / "twin", network(0), CONFIG).close()
    file = damaged / "out" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    done = repair(damaged / "out", siblings=[damaged / "twin"])
    assert "conv.2.weight" in done.restored
    assert validate(done.written).valid


def test_a_lost_manifest_is_made_anew_and_says_so(tmp_path):
    ckptfmt.save(tmp_path / "out", network(0), CONFIG).close()
    (tmp_path / "out" / "manifest.json").unlink()
    done = repair(tmp_path / "out", tmp_path / "new")
    assert done.rebuilt == "not a checkpoint, manifest.json is missing"
    assert set(done.unproved) == set(expected_tensors(CONFIG))
    assert validate(tmp_path / "new").valid
    with Checkpoint(tmp_path / "new") as checkpoint:
        assert checkpoint.manifest.lineage.kind == "rebuilt"
        assert checkpoint.manifest.extra["rebuilt"]["because"] == "not a checkpoint, manifest.json is missing"
        assert checkpoint.config.get_architecture_name() == "dqn"
        assert (checkpoint.config.n_action, checkpoint.config.hidden_size) == (6, 4)
        np.testing.assert_array_equal(checkpoint.tensors["conv.0.weight"], network(0)["conv.0.weight"])


def test_digests_in_a_damaged_manifest_still_prove_tensors(tmp_path):
    ckptfmt.save(tmp_path / "out", network(0), CONFIG).close()
    file = tmp_path / "out" / "manifest.json"
    file.write_bytes(file.read_bytes().replace(b"2", b"3", 1))
    flip_without_manifest(tmp_path / "out" / "weights.safetensors")
    done = repair(tmp_path / "out", tmp_path / "new")
    assert len(done.unproved) == 1
    assert done.rebuilt


def flip_without_manifest(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_a_network_that_is_none_of_the_eight_is_rebuilt_without_a_config(tmp_path):
    ckptfmt.save(tmp_path / "out", {"x": np.ones((2, 2), "f2")}).close()
    (tmp_path / "out" / "manifest.json").unlink()
    done = repair(tmp_path / "out", tmp_path / "new")
    assert done.architecture is None
    assert validate(tmp_path / "new").valid


def test_what_is_whole_is_left_alone(tmp_path):
    ckptfmt.save(tmp_path / "out", network(0), CONFIG).close()
    done = repair(tmp_path / "out")
    assert (done.written, done.restored, done.rebuilt) == ("", {}, "")
    assert os.listdir(tmp_path) == ["out"]


class While(list):
    """Siblings; while they are looked at, somebody else does something."""

    def __init__(self, siblings, meanwhile):
        super().__init__(siblings)
        self._meanwhile = meanwhile

    def __iter__(self):
        self._meanwhile()
        return super().__iter__()


@pytest.mark.parametrize("newer", ["saved", "removed"])
def test_what_is_not_what_was_read_is_not_replaced(damaged, newer):
    out = damaged / "out"
    ckptfmt.save(damaged / "newer", network(5), CONFIG).close()

    def meanwhile():
        out.rename(damaged / "older")
        if newer == "saved":
            (damaged / "newer").rename(out)

    with pytest.raises(WriteError) as caught:
        repair(out, siblings=While([damaged / "sibling"], meanwhile), in_place=True)
    assert str(caught.value) == f"{out}: was changed since it was read; run it again"
    assert out.exists() == (newer == "saved")
    if out.exists():
        with Checkpoint(out) as checkpoint:
            np.testing.assert_array_equal(checkpoint.tensors["fc.2.bias"], network(5)["fc.2.bias"])


def test_without_weights_there_is_nothing_to_rebuild(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(NotACheckpoint) as caught:
        repair(tmp_path / "out")
    assert str(caught.value) == f"{tmp_path}/out: holds no weights.safetensors, there is nothing to rebuild"


def snapshot(folder):
    return {file.name: (file.stat().st_ino, file.read_bytes()) for file in folder.iterdir()}


def test_no_descriptor_stays_open(damaged):
    shutil.copytree(damaged / "out", damaged / "copy")
    before = len(os.listdir("/proc/self/fd"))
    repair(damaged / "out", siblings=[damaged / "sibling"])
    (damaged / "copy" / "manifest.json").unlink()
    repair(damaged / "copy")
    assert len(os.listdir("/proc/self/fd")) == before


def edited(path, old, new):
    file = path / "manifest.json"
    text = file.read_bytes()
    assert old in text
    file.write_bytes(text.replace(old, new, 1))


def test_parts_ties_and_words_come_back_though_a_letter_of_the_manifest_was_changed(tmp_path):
    out, weight = tmp_path / "out", np.arange(4, dtype="f4")
    halves = [Part(weight[:2], (4,), (0,)), Part(weight[2:], (4,), (2,))]
    ckptfmt.save(
        out,
        [{"a": half, "tie": half} for half in halves],
        state=[{"m": weight}, {"v": weight}],
        training_info={"note": "x"},
        lineage=Lineage(kind="trained"),
        extra={"k": 1},
    ).close()
    with Checkpoint(out) as checkpoint:
        before = checkpoint.manifest
    edited(out, b'"note": "x"', b'"note": "y"')
    done = repair(out, in_place=True)
    assert (done.unproved, done.lost) == ((), ())
    with Checkpoint(out) as checkpoint:
        after = checkpoint.manifest
        np.testing.assert_array_equal(checkpoint.tensors["tie"], weight)
    assert after.files == before.files
    assert after.split == before.split
    assert (after.training_info, after.lineage, after.extra["k"]) == ({"note": "y"}, before.lineage, 1)
    assert after.extra["rebuilt"]["lost"] == []


@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        (b'"training_info": {', b'"training_info": [', "all of the manifest"),
        (b'"evaluation": [', b'"evaluatiom": [', "evaluatiom"),
        (b'"a": 1', b'"a"; 1', "all of the manifest"),
        (b'"tied": {', b'"tied": 1, "tief": {', "files.weights.safetensors"),
    ],
)
def test_in_place_no_word_of_a_damaged_manifest_is_lost(tmp_path, old, new, lost):
    out, weight = tmp_path / "out", np.ones(2, "f4")
    ckptfmt.save(out, {"w": weight, "v": weight}, training_info={"a": 1}, evaluation=[{"mean": 1.0}]).close()
    edited(out, old, new)
    before = snapshot(out)
    with pytest.raises(WriteError) as caught:
        repair(out, in_place=True)
    assert caught.value.code == "repair.in-place"
    assert str(caught.value) == f"{out}: {lost} would be lost; repair it into a new folder, and keep this one"
    assert snapshot(out) == before
    assert repair(out, tmp_path / "new").lost == (lost,)
    assert validate(tmp_path / "new").valid


@pytest.mark.parametrize("manifest", ["whole", "changed", "gone"])
def test_of_two_forms_the_intact_one_is_taken(tmp_path, manifest):
    out, weight = tmp_path / "out", np.zeros(10_000, "f4")
    ckptfmt.save(out, {"a": weight}, training_info={"note": "x"}).close()
    plain = bytearray((out / "weights.safetensors").read_bytes())
    assert compress(out).changed
    plain[-1] ^= 1
    (out / "weights.safetensors").write_bytes(plain)
    if manifest == "changed":
        edited(out, b'"note": "x"', b'"note": "y"')
    if manifest == "gone":
        (out / "manifest.json").unlink()
        with pytest.raises(WriteError) as caught:
            repair(out, in_place=True)
        assert caught.value.what == "one of the two forms of a would be lost"
        assert (out / "weights.safetensors.zst").exists()
        return
    repair(out, in_place=True)
    with Checkpoint(out) as checkpoint:
        checkpoint.verify()
        np.testing.assert_array_equal(checkpoint.tensors["a"], weight)
    assert len(list(out.iterdir())) == 2


def test_in_place_no_file_is_lost_that_the_manifest_does_not_list(damaged):
    shutil.copy(damaged / "sibling" / "weights.safetensors", damaged / "out" / "state.safetensors")
    before = snapshot(damaged / "out")
    with pytest.raises(WriteError) as caught:
        repair(damaged / "out", siblings=[damaged / "sibling"], in_place=True)
    assert caught.value.what == "state.safetensors would be lost"
    assert snapshot(damaged / "out") == before
