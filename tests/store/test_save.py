import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckptfmt.errors import CkptError, ManifestError, TargetExists, WeightsError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.atari_dqn.expected import expected_tensors
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.save import save

CONFIG = ModelConfig(input_shape=(1, 36, 36), n_action=3, hidden_size=2)


# What a save fills in where nobody did.
UNSIGNED = {"created_at": None, "model_version": None, "framework_version": None, "training_config_hash": None}


def network(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype("f4") for name, shape in expected_tensors(CONFIG).items()}


def test_what_was_saved_comes_back(tmp_path):
    arrays = network()
    info = {"frame_idx": 200_000, "best_eval_reward": -np.inf, "seed": np.int64(3)}
    with save(tmp_path / "out", arrays, CONFIG, info) as checkpoint:
        assert checkpoint.config.replace(**UNSIGNED) == CONFIG
        assert checkpoint.config.created_at.endswith("Z")
        assert checkpoint.config.model_version == "1.0"
        assert checkpoint.config.framework_version.split()[0] in ("torch", "numpy")
        assert checkpoint.config.training_config_hash.startswith("sha256:")
        assert checkpoint.manifest.architecture.name == "dqn"
        assert checkpoint.training_info == {"frame_idx": 200_000, "best_eval_reward": -np.inf, "seed": 3}
        for name, array in arrays.items():
            np.testing.assert_array_equal(checkpoint.tensors[name], array)
    assert sorted(os.listdir(tmp_path)) == ["out"]
    assert sorted(os.listdir(tmp_path / "out")) == ["manifest.json", "weights.safetensors"]


def test_the_safetensors_library_reads_what_was_saved(tmp_path):
    arrays = network()
    save(tmp_path / "out", arrays).close()
    loaded = safetensors.numpy.load_file(tmp_path / "out" / "weights.safetensors")
    assert {name: array.tobytes() for name, array in loaded.items()} == {n: a.tobytes() for n, a in arrays.items()}


@settings(max_examples=20)
@given(
    st.dictionaries(st.text("abc.", min_size=1), hnp.arrays("f4", hnp.array_shapes(max_dims=3)), max_size=5),
    st.randoms(),
)
def test_the_same_content_gives_the_same_bytes(tmp_path_factory, arrays, random):
    folder = tmp_path_factory.mktemp("same")
    names = list(arrays)
    random.shuffle(names)
    save(folder / "a", arrays).close()
    save(folder / "b", {name: np.asfortranarray(arrays[name]) for name in names}).close()
    one, two = ((folder / x / "weights.safetensors").read_bytes() for x in "ab")
    assert one == two


def test_state_and_replay_lie_in_files_of_their_own(tmp_path):
    with save(
        tmp_path / "out", network(), CONFIG, state={"step": np.int64(7)}, replay={"frames": np.zeros(4, "u1")}
    ) as c:
        assert c.names("state.safetensors") == ("step",)
        assert c.read("frames", "replay.safetensors") == b"\0\0\0\0"


def test_tied_tensors_are_stored_once_and_found_under_both_names(tmp_path):
    shared = np.arange(4, dtype="f4")
    with save(tmp_path / "out", {"a": shared, "b": shared}) as checkpoint:
        assert checkpoint.manifest.weights.tied == {"b": "a"}
        assert checkpoint.names() == ("a", "b")
        assert checkpoint.tensors["b"].tolist() == [0, 1, 2, 3]


def test_tensors_of_another_network_are_refused_and_nothing_is_left(tmp_path):
    arrays = {**network(), "fc.2.bias": np.zeros(4, "f4")}
    with pytest.raises(WeightsError) as caught:
        save(tmp_path / "out", arrays, CONFIG)
    assert str(caught.value) == (
        f"{tmp_path}/out: the tensors are not those of a dqn network: fc.2.bias is 4, the config demands 3; "
        "give the config of this network, or none"
    )
    assert list(tmp_path.iterdir()) == []


def test_what_json_cannot_hold_is_named_and_nothing_is_left(tmp_path):
    with pytest.raises(ManifestError) as caught:
        save(tmp_path / "out", network(), CONFIG, {"env": object()})
    assert str(caught.value) == (
        f"{tmp_path}/out/manifest.json $.training_info.env: a object cannot be written as JSON; "
        "give a number, text, list or mapping"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_replaced_only_when_asked(tmp_path):
    save(tmp_path / "out", network(1)).close()
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    with pytest.raises(TargetExists):
        save(tmp_path / "out", network(2))
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    with save(tmp_path / "out", network(2), overwrite=True) as checkpoint:
        np.testing.assert_array_equal(checkpoint.tensors["fc.2.bias"], network(2)["fc.2.bias"])
    assert os.listdir(tmp_path) == ["out"]


def test_a_reader_of_a_replaced_checkpoint_keeps_the_old_one(tmp_path):
    old = network(1)
    with save(tmp_path / "out", old) as reader:
        save(tmp_path / "out", network(2), overwrite=True).close()
        np.testing.assert_array_equal(reader.tensors["conv.0.bias"], old["conv.0.bias"])


def test_saving_works_from_a_thread_and_closes_what_it_opened(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    thread = threading.Thread(target=lambda: save(tmp_path / "out", network()).close())
    thread.start()
    thread.join()
    assert len(os.listdir("/proc/self/fd")) == before
    Checkpoint(tmp_path / "out").close()


@pytest.mark.parametrize("where", ["file", "file/child"])
def test_a_place_that_cannot_be_written_is_one_error(tmp_path, where):
    (tmp_path / "file").write_text("something")
    with pytest.raises(CkptError) as caught:
        save(tmp_path / where, network())
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "something"


def test_torch_is_not_imported_to_save_arrays(tmp_path):
    code = (
        "import numpy, sys, ckptfmt\n"
        f"ckptfmt.save({str(tmp_path / 'out')!r}, {{'a': numpy.zeros(3, 'f4')}}).close()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["created_by"].keys() >= {"ckptfmt", "numpy"}


READS = """
import os, sys
import numpy
import ckptfmt
opened = []

def listen(event, given):
    if event == "open" and str(given[0]).endswith(("manifest.json", "weights.safetensors")):
        opened.append((os.path.basename(given[0]), bool(given[2] & os.O_CREAT)))

with ckptfmt.save("first", {"w": numpy.zeros(3)}):
    pass
sys.addaudithook(listen)
with ckptfmt.save("out", {"w": numpy.arange(3.0)}) as checkpoint:
    print(sorted(opened))
    print(checkpoint.tensors["w"].tolist(), checkpoint.warnings)
"""


def test_a_save_reads_no_manifest_that_it_just_wrote(tmp_path):
    done = subprocess.run([sys.executable, "-P", "-c", READS], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    # Each file is made once; the weights are held open for whoever reads on.
    made, read = done.stdout.splitlines()
    assert made == "[('manifest.json', True), ('weights.safetensors', False), ('weights.safetensors', True)]"
    assert read == "[0.0, 1.0, 2.0] ()"


def test_what_a_save_returns_is_what_it_wrote_whatever_is_there_later(tmp_path):
    with save(tmp_path / "out", network(1), CONFIG) as first, save(tmp_path / "out", network(2), CONFIG, None, True):
        for name, array in network(1).items():
            np.testing.assert_array_equal(first.tensors[name], array)
        assert first.manifest != Checkpoint(tmp_path / "out").manifest
    assert Checkpoint(tmp_path / "out").manifest.manifest_digest != first.manifest.manifest_digest
