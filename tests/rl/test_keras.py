"""Models of Keras, rebuilt: they answer as NumPy computes them in Keras' own layout."""

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
pytest.importorskip("h5py")

import ckptfmt

from ..legacy import keras_files


@pytest.mark.parametrize("three", [False, True])
def test_a_network_on_images_gives_the_values_that_keras_gives(three, tmp_path):
    layers = keras_files.pixels()
    write = keras_files.keras3 if three else keras_files.keras2
    (tmp_path / "model").write_bytes(write(layers, (44, 44, 4)))
    ckptfmt.convert(tmp_path / "model", tmp_path / "out")
    model, _, _ = ckptfmt.load_model_checkpoint(tmp_path / "out")
    seen = np.random.default_rng(1).integers(0, 256, (2, 4, 44, 44)).astype("f4")
    wanted = [keras_files.forward(layers, one.transpose(1, 2, 0)) for one in seen]
    got = model.get_q_values(torch.from_numpy(seen)).detach().numpy()
    assert np.allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("three", [False, True])
def test_cells_remember_as_those_of_keras(kind, three, tmp_path):
    draw = np.random.default_rng(3)
    layers = [keras_files.cell(draw, kind, "memory", 4, 6), keras_files.dense(draw, "q_values", 6, 3, "linear")]
    write = keras_files.keras3 if three else keras_files.keras2
    (tmp_path / "model").write_bytes(write(layers, (None, 4)))
    ckptfmt.convert(tmp_path / "model", tmp_path / "out")
    model, _, _ = ckptfmt.load_model_checkpoint(tmp_path / "out")
    seen = draw.standard_normal((7, 4)).astype("f4")
    got = model.outputs(torch.from_numpy(seen[:, None]))["q_values"].detach().numpy()[:, 0]
    assert np.allclose(got, keras_files.forward(layers, seen), rtol=1e-4, atol=1e-5)


def test_an_actor_that_squashes_says_so(tmp_path):
    draw = np.random.default_rng(3)
    layers = [keras_files.dense(draw, "actor_hidden", 4, 8), keras_files.dense(draw, "actor_action", 8, 2, "tanh")]
    (tmp_path / "model").write_bytes(keras_files.keras3(layers, (4,)))
    result = ckptfmt.convert(tmp_path / "model", tmp_path / "out", architecture="policy/deterministic")
    assert result.config_origin["squash"] == "declared"
    model, _, _ = ckptfmt.load_model_checkpoint(tmp_path / "out")
    seen = draw.standard_normal((1, 4)).astype("f4")
    got = model.outputs(torch.from_numpy(seen))["action"].detach().numpy()[0]
    assert np.allclose(got, keras_files.forward(layers, seen[0]), rtol=1e-4, atol=1e-6)
