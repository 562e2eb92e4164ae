"""Networks that were turned give the answers of the library that they were made with."""

import pickle

import numpy as np
import pytest
import torch

import ckptfmt

from ..legacy.test_jax import answers, holders, kernels


@pytest.mark.parametrize("kind", ["jax-pickle", "npz", "baselines", "list"])
@pytest.mark.filterwarnings("ignore::ckptfmt.errors.AssumedWarning")
def test_a_network_with_its_channels_last_gives_the_same_q_values(kind, tmp_path):
    layers = kernels()
    seen = np.random.default_rng(1).standard_normal((44, 44, 4))
    facts = {"architecture": "dqn", "input_shape": (4, 44, 44), "input_scale": 1.0}
    model, _, _ = ckptfmt.load_legacy_checkpoint(holders(layers, tmp_path)[kind], **facts)
    found = model.get_q_values(torch.tensor(seen.transpose(2, 0, 1)[None], dtype=torch.float32))
    assert np.allclose(found.detach().numpy()[0], answers(layers, seen), rtol=1e-4)


@pytest.mark.filterwarnings("ignore::ckptfmt.errors.AssumedWarning")
def test_layers_on_features_give_the_same_q_values(tmp_path):
    draw = np.random.default_rng(0)
    sizes = {"Dense_0": (4, 16), "Dense_1": (16, 8), "Dense_2": (8, 2)}
    layers = {
        name: {"kernel": draw.standard_normal(shape, np.float32), "bias": draw.standard_normal(shape[1:], np.float32)}
        for name, shape in sizes.items()
    }
    (tmp_path / "dqn.pkl").write_bytes(pickle.dumps({"params": layers}))
    model, _, _ = ckptfmt.load_legacy_checkpoint(tmp_path / "dqn.pkl", architecture="q-network/dqn")
    seen = draw.standard_normal((3, 4), np.float32)
    wanted = seen
    for i, layer in enumerate(layers.values()):
        wanted = wanted @ layer["kernel"] + layer["bias"]
        wanted = np.maximum(wanted, 0) if i < 2 else wanted
    assert np.allclose(model.get_q_values(torch.tensor(seen)).detach().numpy(), wanted, rtol=1e-4, atol=1e-5)
