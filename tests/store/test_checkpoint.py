import os
import shutil

import numpy as np
import pytest

from ckptfmt.errors import CkptError, NotACheckpoint, WeightsError
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.save import save

ARRAYS = {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.array([1, 2, 3]), "c": np.float16(0.5)}


@pytest.fixture
def made(tmp_path):
    save(tmp_path / "made", ARRAYS, training_info={"frame_idx": 5}).close()
    return tmp_path / "made"


def load(path):
    with Checkpoint(path) as checkpoint:
        return {name: array.copy() for name, array in checkpoint.tensors.items()}


def test_tensors_are_a_mapping_of_arrays(made):
    with Checkpoint(made) as checkpoint:
        assert sorted(checkpoint.tensors) == ["a", "b", "c"]
        assert len(checkpoint.tensors) == 3
        assert "d" not in checkpoint.tensors
        with pytest.raises(KeyError):
            checkpoint.tensors["d"]
        assert checkpoint.tensors["a"].dtype == np.float32


def test_every_flipped_bit_of_the_weights_is_found_on_loading(made, tmp_path):
    file = made / "weights.safetensors"
    data = file.read_bytes()
    survived = []
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        file.write_bytes(damaged)
        try:
            load(made)
        except CkptError:
            continue
        survived.append(position)
    assert survived == []


def test_the_damaged_tensor_is_named(made):
    file = made / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with Checkpoint(made) as checkpoint:
        assert checkpoint.read("a") == ARRAYS["a"].tobytes()
        with pytest.raises(WeightsError) as caught:
            checkpoint.read("c")
        assert checkpoint.read("c", verify=False) != ARRAYS["c"].tobytes()
    assert str(caught.value) == f"{file}: c: bytes do not match the manifest; copy it again or re-save it"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda p: (p / "manifest.json").unlink(),
         "{p}: not a checkpoint, manifest.json is missing; make one with: ckptfmt.convert(SOURCE, OUT)"),
        (lambda p: shutil.rmtree(p), "{p}: no such folder; check the path"),
        (lambda p: (shutil.rmtree(p), p.write_text("x")),
         "{p}: is a file, not a checkpoint folder; make a checkpoint of it with: ckptfmt.convert(PATH, OUT)"),
        (lambda p: (p / "weights.safetensors").unlink(),
         "{p}/weights.safetensors: is missing; copy the checkpoint again"),
        (lambda p: os.truncate(p / "weights.safetensors", 20),
         "{p}/weights.safetensors: has 20 bytes, the manifest says 258; copy it again or re-save it"),
        (lambda p: ((p / "manifest.json").unlink(), os.mkfifo(p / "manifest.json")),
         "{p}/manifest.json: is not a regular file: it is a device, pipe or folder; "
         "put a copy of the plain file in its place"),
        (lambda p: ((p / "weights.safetensors").rename(p / "w"), (p / "weights.safetensors").symlink_to("w")),
         "{p}/weights.safetensors: is not a regular file: it is a link that does not lead into a download cache; "
         "copy the folder so that links become files: cp -rL OLD NEW"),
        (lambda p: os.truncate(p / "manifest.json", 0),
         "{p}/manifest.json: is not JSON at line 1, column 1: Expecting value; copy it again or re-save it"),
        (lambda p: os.truncate(p / "manifest.json", 5 << 30),
         "{p}/manifest.json: is 5,368,709,120 bytes, more than the 16,777,216 allowed; "
         "copy it again or re-save it"),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused_in_one_sentence(made, damage, sentence):
    damage(made)
    with pytest.raises(CkptError) as caught:
        load(made)
    assert str(caught.value) == sentence.replace("{p}", str(made))


def test_a_missing_folder_is_also_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        Checkpoint(tmp_path / "nothing")
    assert isinstance(caught.value, NotACheckpoint)


def test_a_name_that_is_not_there_is_an_error(made):
    with Checkpoint(made) as checkpoint, pytest.raises(WeightsError) as caught:
        checkpoint.read("x\x1b[1m")
    assert str(caught.value) == f"{made}/weights.safetensors: holds no tensor 'x\\x1b[1m'"


def test_descriptors_are_closed(made):
    before = len(os.listdir("/proc/self/fd"))
    with Checkpoint(made) as checkpoint:
        checkpoint.read("a")
    checkpoint.close()
    (made / "manifest.json").write_text("{}")
    with pytest.raises(CkptError):
        Checkpoint(made)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_checkpoint_with_a_pipe_for_weights_is_not_even_opened(made):
    (made / "weights.safetensors").unlink()
    os.mkfifo(made / "weights.safetensors")
    with pytest.raises(WeightsError) as caught:
        Checkpoint(made)
    assert caught.value.code == "layout.not-regular"
