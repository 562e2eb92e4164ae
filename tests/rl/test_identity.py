"""The same network has the same identity by every way in."""

import numpy as np
import pytest
import torch

import ckptfmt
from ckptfmt.families.atari_dqn.config import ARCHITECTURES
from ckptfmt.families.atari_dqn.support import atoms

SMALL = {"input_shape": (2, 20, 20), "hidden_size": 8, "n_action": 5, "input_scale": 255.0}
ENCODER = {
    "convs": [{"channels": 4, "kernel": [8, 8], "stride": [4, 4]}, {"channels": 6, "kernel": [3, 3], "stride": [1, 1]}]
}
# Ends of which no step between them is a float32.
ATOMS = {"n_atoms": 51, "v_min": -10.0, "v_max": 10.3}


def config_of(name: str) -> ckptfmt.ModelConfig:
    flags = {"dueling_dqn": "dueling", "distributional_dqn": "distributional", "noisy_networks": "noisy"}
    chosen = {flag: word in name.split("+") for flag, word in flags.items()}
    return ckptfmt.ModelConfig(**SMALL, encoder=ENCODER, **chosen, **(ATOMS if chosen["distributional_dqn"] else {}))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_of_the_eight_has_one_identity(tmp_path, name):
    config = config_of(name)
    torch.manual_seed(0)
    model = ckptfmt.create_model_from_config(config)
    plain = {key: tensor.numpy().copy() for key, tensor in model.state_dict().items()}
    facts = {"n_action": 5, "input_shape": SMALL["input_shape"], "settings": {"encoder": ENCODER, "input_scale": 255.0}}
    facts |= {key: value for key, value in ATOMS.items() if config.distributional_dqn}

    ways = {"saved from torch": ckptfmt.save_model_checkpoint(model, config, {}, tmp_path / "torch").content_digest}
    with ckptfmt.save(tmp_path / "arrays", plain, config) as saved:
        ways["saved from NumPy"] = saved.manifest.content_digest
    loaded, _, _ = ckptfmt.load_model_checkpoint(tmp_path / "torch")
    ways["saved again"] = ckptfmt.save_model_checkpoint(loaded, config, {}, tmp_path / "again").content_digest

    torch.save(model.state_dict(), tmp_path / "a.pth")
    torch.save(
        {"model_state_dict": model.state_dict(), "epoch": 3}, tmp_path / "b.pt", _use_new_zipfile_serialization=False
    )
    bare = {key: tensor for key, tensor in model.state_dict().items() if key != "support"}
    torch.save(bare, tmp_path / "without_support.pth")
    np.savez(tmp_path / "c.npz", **plain)
    for source in ("a.pth", "b.pt", "without_support.pth", "c.npz"):
        done = ckptfmt.convert(tmp_path / source, tmp_path / f"of_{source}", **facts)
        assert done.architecture == name
        ways[f"converted from {source}"] = done.content_digest
    assert set(ways.values()) == {ways["saved from torch"]}, ways


@pytest.mark.parametrize(
    ("n_atoms", "v_min", "v_max"), [(51, -10.0, 10.0), (51, -10.0, 10.3), (7, 0.1, 0.7), (2, -1, 1), (101, 0, 200)]
)
def test_atoms_are_the_same_bits_in_torch_and_numpy(n_atoms, v_min, v_max):
    config = ckptfmt.ModelConfig(n_action=2, distributional_dqn=True, n_atoms=n_atoms, v_min=v_min, v_max=v_max)
    made = np.array(atoms(config), "f4")
    assert made.tobytes() == np.linspace(v_min, v_max, n_atoms).astype("f4").tobytes()
    assert made.tobytes() == ckptfmt.create_model_from_config(config).support.numpy().tobytes()
    assert (made[0], made[-1]) == (np.float32(v_min), np.float32(v_max))
