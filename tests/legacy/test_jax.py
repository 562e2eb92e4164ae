"""Networks of JAX and TensorFlow: read as data, turned exactly, and refused where they may pad by side."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import ConversionError
from ckptfmt.legacy.find.find import find_networks
from ckptfmt.legacy.open import read

FLAX = Path(__file__).parents[2] / "fixtures" / "agents" / "dqn_atari_jax.cleanrl_model"


def kernels(image=4, seed=0):
    """Return the layers of a convolutional Q-network with its channels last, on images of 44×44."""
    draw = np.random.default_rng(seed)
    shapes = {"Conv_0": (8, 8, 4, 8), "Conv_1": (4, 4, 8, 6), "Conv_2": (3, 3, 6, 5)}
    shapes |= {"Dense_0": (image * 5, 16), "Dense_1": (16, 3)}
    return {
        name: {"kernel": draw.standard_normal(shape, np.float32), "bias": draw.standard_normal(shape[-1:], np.float32)}
        for name, shape in shapes.items()
    }


def answers(layers, seen):
    """Return what TensorFlow and JAX compute: convolutions over (height, width, channels), then a flatten of that."""
    for name, stride in (("Conv_0", 4), ("Conv_1", 2), ("Conv_2", 1)):
        kernel, bias = layers[name]["kernel"], layers[name]["bias"]
        size = (seen.shape[0] - kernel.shape[0]) // stride + 1
        rows = range(0, stride * size, stride)
        windows = [[seen[i : i + kernel.shape[0], j : j + kernel.shape[1]] for j in rows] for i in rows]
        seen = np.maximum(np.tensordot(np.array(windows, np.float64), kernel, 3) + bias, 0)
    hidden = np.maximum(seen.reshape(-1) @ layers["Dense_0"]["kernel"] + layers["Dense_0"]["bias"], 0)
    return hidden @ layers["Dense_1"]["kernel"] + layers["Dense_1"]["bias"]


class Jax:
    """Pickles as an array of JAX does."""

    def __init__(self, array):
        self.array = array

    def __reduce__(self):
        rebuild, given, state = self.array.__reduce__()
        return _reconstruct_array, (rebuild, given, state, {"weak_type": False})


def _reconstruct_array(*_):
    raise AssertionError("was run")


_reconstruct_array.__module__ = "jax._src.array"


def dumped(value):
    """Return a pickle of protocol 2 in which our function bears the name of JAX's."""
    out = io.BytesIO()
    pickler = pickle._Pickler(out, 2)

    def save_global(self, obj, name=None):
        if obj is _reconstruct_array:
            self.write(b"cjax._src.array\n_reconstruct_array\n")
            self.memoize(obj)
        else:
            pickle._Pickler.save_global(self, obj, name)

    pickler.dispatch = {**pickle._Pickler.dispatch, type(_reconstruct_array): save_global}
    pickler.dump(value)
    return out.getvalue()


def baselines(layers, names):
    """Return an archive of Stable-Baselines 2."""
    arrays = io.BytesIO()
    named = {}
    for name, layer in layers.items():
        bias = layer["bias"].reshape(1, -1, 1, 1) if name.startswith("Conv") else layer["bias"]
        named |= {f"{names[name]}/w:0": layer["kernel"], f"{names[name]}/b:0": bias}
    np.savez(arrays, **named)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("data", json.dumps({"gamma": 0.99, "policy": {":serialized:": "gASV"}}))
        archive.writestr("parameters", arrays.getvalue())
        archive.writestr("parameter_list", json.dumps(list(named)))
    return out.getvalue()


def written(folder, name, data):
    (folder / name).write_bytes(data)
    return folder / name


def holders(layers, folder):
    """Return files that hold the same layers, by the library that could have written them."""
    jax = {name: {part: Jax(array) for part, array in layer.items()} for name, layer in layers.items()}
    flat = {f"params/{name}/{part}": array for name, layer in layers.items() for part, array in layer.items()}
    names = dict(zip(layers, ("c1", "c2", "c3", "fc1", "fully_connected"), strict=True))
    arrays = io.BytesIO()
    np.savez(arrays, **flat)
    rows = [layer[part] for layer in layers.values() for part in ("kernel", "bias")]
    return {
        "jax-pickle": written(folder, "ckpt.199", dumped({"online_params": {"params": jax}})),
        "npz": written(folder, "weights.npz", arrays.getvalue()),
        "baselines": written(
            folder, "model.zip", baselines(layers, {k: f"deepq/model/action_value/{v}" for k, v in names.items()})
        ),
        "list": written(folder, "model.pkl", pickle.dumps(({"gamma": 0.99}, rows))),
    }


@pytest.mark.parametrize("kind", ["jax-pickle", "npz", "baselines", "list"])
def test_channels_last_are_put_first_and_recorded(kind, tmp_path):
    layers = kernels()
    file = holders(layers, tmp_path)[kind]
    result = ckptfmt.convert(file, tmp_path / "out", architecture="dqn", input_shape=(4, 44, 44), input_scale=1.0)
    assert (result.architecture, result.left) == ("dqn", ())
    assert not [line for line in result.dropped if "beside" in line]
    with ckptfmt.open(tmp_path / "out") as checkpoint:
        conv = checkpoint.tensors["conv.0.weight"]
        assert np.array_equal(conv, layers["Conv_0"]["kernel"].transpose(3, 2, 0, 1))
        hidden = layers["Dense_0"]["kernel"].reshape(2, 2, 5, 16).transpose(3, 2, 0, 1).reshape(16, 20)
        assert np.array_equal(checkpoint.tensors["fc.0.weight"], hidden)
        moved = {item.name: item for item in checkpoint.manifest.conversion.transformed}
    assert (moved["conv.0.weight"].turned, moved["conv.0.weight"].image) == ((3, 2, 0, 1), None)
    assert (moved["fc.0.weight"].turned, moved["fc.0.weight"].image) == ((1, 0), (5, 2, 2))
    assert moved["fc.2.weight"].source.endswith(("Dense_1/kernel", "Dense_1.kernel", "fully_connected/w:0", "8"))


def test_a_file_that_flax_wrote_is_read_with_its_settings(tmp_path):
    with read(FLAX) as file:
        assert file.container == "flax-msgpack"
        assert file.members[""]["0"] == {"exp_name": "dqn_atari_jax", "seed": 1, "gamma": 0.99}
    result = ckptfmt.convert(FLAX, tmp_path / "out", input_shape=(4, 44, 44), input_scale=255.0)
    assert (result.architecture, result.found_at) == ("dqn", "1/params")
    assert result.renamed["Conv_0.kernel"] == "conv.0.weight"


@pytest.mark.parametrize("image", [11 * 11, 4])
def test_padding_that_may_differ_by_side_is_refused(image, tmp_path):
    layers = kernels(image)
    file = written(tmp_path, "x.pkl", pickle.dumps({"params": layers}))
    with pytest.raises(ConversionError) as caught:
        ckptfmt.convert(file, tmp_path / "out", architecture="dqn")
    assert "JAX or TensorFlow" in caught.value.what


def test_a_network_of_torch_is_never_turned(tmp_path):
    square = {"a.weight": np.zeros((4, 4), np.float32), "a.bias": np.zeros(4, np.float32)}
    tall = {"b.weight": np.zeros((2, 4), np.float32), "b.bias": np.zeros(2, np.float32)}
    np.savez(tmp_path / "w.npz", **square, **tall)
    result = ckptfmt.convert(tmp_path / "w.npz", tmp_path / "out", architecture="none")
    assert result.transformed == ()


def test_numbers_and_texts_of_every_width_are_read(tmp_path):
    values = {
        "a": b"\x7f", "b": b"\xff", "c": b"\xcc\xc8", "d": b"\xcd\x01\x00", "e": b"\xd2" + struct.pack(">i", -70000),
        "f": b"\xcb" + struct.pack(">d", 0.5), "g": b"\xca" + struct.pack(">f", 0.25), "h": b"\xc3", "i": b"\xc0",
        "j": b"\xd9\x02hi", "k": b"\xdc\x00\x01\x05", "l": b"\xde\x00\x01\xa1x\x01", "m": b"\xcf" + bytes(7) + b"\x09",
        "n": b"\xd5\x07ab",
    }  # fmt: skip
    data = bytes([0x80 | len(values)]) + b"".join(b"\xa1" + name.encode() + value for name, value in values.items())
    with read(written(tmp_path, "x", data)) as file:
        found = dict(file.members[""])
    assert found.pop("n").size == 2
    assert list(found.values()) == [127, -1, 200, 256, -70000, 0.5, 0.25, True, None, "hi", [5], {"x": 1}, 9]


def flax_array(dtype, size, shape=(2, 2)):
    """Return an array as flax.serialization writes it, all of its bytes zero."""
    count = int(np.prod(shape)) * size
    inner = b"\x93" + bytes([0x90 | len(shape), *shape, 0xA0 | len(dtype)]) + dtype.encode() + bytes([0xC4, count])
    return bytes([0xC7, len(inner) + count, 1]) + inner + bytes(count)


@pytest.mark.parametrize(
    ("dtype", "size", "stored"),
    [("float32", 4, "F32"), ("bfloat16", 2, "BF16"), ("complex64", 8, "C64"), ("float8_e5m2", 1, "F8_E5M2")],
)
def test_arrays_of_flax_are_read_in_every_dtype_that_can_be_stored(tmp_path, dtype, size, stored):
    source = written(tmp_path, "x", b"\x82\xa1a" + flax_array("float32", 4) + b"\xa1b" + flax_array(dtype, size))
    ckptfmt.convert(source, tmp_path / "out", architecture="none")
    with ckptfmt.open(tmp_path / "out") as checkpoint:
        assert {name: entry.dtype for name, entry in checkpoint.manifest.weights.named.items()} == {
            "a": "F32",
            "b": stored,
        }


@pytest.mark.parametrize(
    ("dtype", "size", "told"),
    [
        ("complex128", 16, "b (1 complex128 array, which cannot be stored)"),
        ("int4", 1, "b (1 structured array, which cannot be stored)"),
        ("object", 8, "b (numpy.ndarray)"),
    ],
)
def test_an_array_of_flax_that_cannot_be_stored_is_said_to_be_left_out(tmp_path, dtype, size, told):
    source = written(tmp_path, "x", b"\x82\xa1a" + flax_array("float32", 4) + b"\xa1b" + flax_array(dtype, size))
    made = ckptfmt.convert(source, tmp_path / "out", architecture="none")
    assert made.dropped == (told,)


def test_linear_layers_of_paddle_are_turned_and_its_convolutions_left(tmp_path):
    draw = np.random.default_rng(0)
    shapes = {"q.conv.weight": (8, 4, 8, 8), "q.conv.bias": (8,), "q.out.weight": (32, 3), "q.out.bias": (3,)}
    tensors = {name: draw.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    named = {"StructuredToParameterName@@": {name: f"linear_{i}.w_0" for i, name in enumerate(tensors)}}
    file = written(tmp_path, "agent.pdparams", pickle.dumps({**tensors, **named}, 2))
    with read(file) as opened:
        [network] = find_networks(opened.members)
    assert network.tensors["q.conv.weight"].turned == ()
    assert network.tensors["q.out.weight"].shape == (3, 32)
