"""Folders of other libraries: of RLlib the weights of the one policy are read, others are named."""

import pickle

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import SourceError
from ckptfmt.legacy.sharded import open_source

SIZES = {"encoder.actor_encoder.net.mlp.0": (8, 4), "encoder.critic_encoder.net.mlp.0": (8, 4),
         "pi.net.mlp.0": (2, 8), "vf.net.mlp.0": (1, 8)}  # fmt: skip
OLD = {"_hidden_layers.0._model.0": (8, 4), "_value_branch_separate.0._model.0": (8, 4),
       "_logits._model.0": (2, 8), "_value_branch._model.0": (1, 8)}  # fmt: skip


def weights(sizes):
    draw = np.random.default_rng(0)
    found = {}
    for name, size in sizes.items():
        found |= {f"{name}.weight": draw.standard_normal(size, np.float32), f"{name}.bias": np.zeros(size[0], "f4")}
    return found


@pytest.fixture
def folder(tmp_path):
    """A function that makes a folder of RLlib with some of its files."""

    def make(**files):
        for name, value in {"rllib_checkpoint.json": {}, **files}.items():
            place = tmp_path / "checkpoint" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(pickle.dumps(value))
        return tmp_path / "checkpoint"

    return make


@pytest.mark.parametrize(
    "files",
    [
        {"learner_group/learner/rl_module/default_policy/module_state.pkl": weights(SIZES)},
        {"policies/default_policy/policy_state.pkl": {"weights": weights(OLD), "global_timestep": 3},
         "algorithm_state.pkl": {"counters": {}}},
    ],
)  # fmt: skip
def test_the_one_policy_of_either_stack_is_converted(folder, files, tmp_path):
    found = ckptfmt.convert(folder(**files), tmp_path / "out")
    assert (found.family, found.architecture, found.tensors) == ("actor-critic", "categorical", 8)


def test_several_policies_are_named(folder):
    files = {f"policies/{name}/policy_state.pkl": {"weights": {}} for name in ("red", "blue")}
    with pytest.raises(SourceError) as refusal:
        open_source(folder(**files))
    assert refusal.value.what == (
        "is a folder of RLlib with 2 policies: policies/blue/policy_state.pkl, policies/red/policy_state.pkl"
    )


def test_a_folder_without_a_policy_is_named(folder):
    with pytest.raises(SourceError, match="is a folder of RLlib with no policy; give the folder of the whole"):
        open_source(folder())


@pytest.mark.parametrize(
    ("names", "what", "how"),
    [
        (["_CHECKPOINT_METADATA", "d"], "is a folder of Orbax (JAX)", "orbax.checkpoint"),
        (["meta.json", "weight.memmap"], "is a folder of memory-mapped tensors", "tensordict.TensorDict.load_memmap"),
        (["saved_model.pb"], "is a SavedModel of TensorFlow", "tensorflow.saved_model.load"),
    ],
)
def test_folders_of_other_libraries_are_named_with_what_reads_them(tmp_path, names, what, how):
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError) as refusal:
        open_source(tmp_path)
    assert refusal.value.what == f"{what}, which is not read here"
    assert how in refusal.value.fix


@pytest.mark.parametrize(
    ("given", "how"),
    [(".", "holds"), ("10", "is"), ("10/default", "is"), ("10/default/d/0a1b", "is a file of"),
     ("10/default/manifest.ocdbt", "is a file of"), ("10/_CHECKPOINT_METADATA", "is a file of")],
)  # fmt: skip
def test_a_run_of_orbax_and_what_lies_in_it_are_named(tmp_path, given, how):
    for name in ("10/_CHECKPOINT_METADATA", "10/default/_METADATA", "10/default/manifest.ocdbt", "10/default/d/0a1b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(SourceError) as refusal:
        open_source(tmp_path / given)
    assert refusal.value.what == f"{how} a folder of Orbax (JAX), which is not read here"
    assert "orbax.checkpoint" in refusal.value.fix


def test_a_folder_with_a_file_of_settings_alone_is_none_of_these(tmp_path):
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(SourceError, match="is a folder, not a file"):
        open_source(tmp_path)
