"""Models of Keras 2 and 3: told with what their configs say, turned exactly, and hostile files refused in time."""

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest

import ckptfmt
from ckptfmt.errors import ConversionError, MissingPackage, SourceError
from ckptfmt.legacy.containers import keras
from ckptfmt.legacy.open import read

h5py = pytest.importorskip("h5py")
np = pytest.importorskip("numpy")

from . import keras_files  # noqa: E402 - it needs what the lines above ask for

IMAGE = (44, 44, 4)


def written(folder, name, data):
    (folder / name).write_bytes(data)
    return folder / name


def hdf5(fill, **options):
    """Return the bytes of an HDF5 file that `fill` fills, beside what makes it one of Keras."""
    out = io.BytesIO()
    with h5py.File(out, "w", **options) as file:
        file["layers/dense/vars/0"] = np.ones((4, 3), "f4")
        fill(file)
    return out.getvalue()


def of_kind(kind, layers):
    return {
        "model.h5": lambda: keras_files.keras2(layers, IMAGE),
        "weights.h5": lambda: keras_files.keras2(layers, IMAGE, whole=False),
        "model.keras": lambda: keras_files.keras3(layers, IMAGE),
        "model.weights.h5": lambda: keras_files.weights3(layers),
    }[kind]()


@pytest.mark.parametrize("kind", ["model.h5", "weights.h5", "model.keras", "model.weights.h5"])
def test_every_layout_gives_the_same_weights_and_says_how_they_were_turned(kind, tmp_path):
    layers = keras_files.pixels()
    # What has no config says neither the screen nor, in Keras 3, what the layers are called.
    said = {"input_shape": (4, 44, 44), "architecture": "dqn"} if "weights" in kind else {}
    ckptfmt.convert(written(tmp_path, kind, of_kind(kind, layers)), tmp_path / "out", **said)
    weights = {name: arrays for _, name, _, arrays in layers}
    with ckptfmt.open(tmp_path / "out") as checkpoint:
        assert np.array_equal(checkpoint.tensors["conv.0.weight"], weights["c1"]["kernel"].transpose(3, 2, 0, 1))
        hidden = weights["fc"]["kernel"].reshape(2, 2, 5, 16).transpose(3, 2, 0, 1).reshape(16, 20)
        assert np.array_equal(checkpoint.tensors["fc.0.weight"], hidden)
        moved = {item.name: item for item in checkpoint.manifest.conversion.transformed}
    assert (moved["conv.0.weight"].turned, moved["fc.2.weight"].turned) == ((3, 2, 0, 1), (1, 0))
    assert moved["fc.0.weight"].image == (5, 2, 2)


@pytest.mark.parametrize("kind", ["model.h5", "model.keras"])
def test_a_config_says_what_weights_do_not(kind, tmp_path):
    result = ckptfmt.convert(written(tmp_path, kind, of_kind(kind, keras_files.pixels())), tmp_path / "out")
    assert result.architecture == "dqn"
    assert (result.config["input_scale"], result.config["input_shape"]) == (255.0, [4, 44, 44])
    assert {"encoder", "input_scale", "input_shape", "architecture"}.isdisjoint(result.assumed)
    assert "optimizer (optimizer state, 2 tensors)" in result.dropped


def test_the_tenth_layer_of_a_kind_comes_behind_the_second(tmp_path):
    draw = np.random.default_rng(0)
    rows = [keras_files.dense(draw, f"h{i}", 5, 5) for i in range(11)]
    layers = [*rows, keras_files.dense(draw, "q_values", 5, 3, "linear")]
    result = ckptfmt.convert(written(tmp_path, "m.keras", keras_files.keras3(layers, (5,))), tmp_path / "out")
    assert result.renamed["h10.kernel"] == "trunk.0.linear.10.weight"
    assert result.config_origin["activation"] == "inferred"


def test_a_dueling_network_is_told_by_the_names_in_its_graph(tmp_path):
    draw = np.random.default_rng(0)
    layers = [
        keras_files.dense(draw, "hidden", 4, 8, "tanh", after=["input_1"]),
        keras_files.dense(draw, "value", 8, 1, "linear", after=["hidden"]),
        keras_files.dense(draw, "advantage", 8, 3, "linear", after=["hidden"]),
        ("Lambda", "join", {"function": {"class_name": "__lambda__", "config": {"code": "4wEA"}},
                            "after": ["value", "advantage"]}, {}),
    ]  # fmt: skip
    for name, data in (("m.h5", keras_files.keras2(layers, (4,))), ("m.keras", keras_files.keras3(layers, (4,)))):
        result = ckptfmt.convert(written(tmp_path, name, data), tmp_path / f"{name}.out")
        assert (result.family, result.architecture, result.config["activation"]) == ("q-network", "dueling", "tanh")
        assert "activation" not in result.assumed


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"data_format": "channels_first"}, "a convolution with its channels first"),
        ({"dilation_rate": [2, 2]}, "a convolution of which not every pixel is taken"),
        ({"activation": "selu"}, "the activation selu"),
        ({"activation": "linear"}, "a layer c1 with 0 activations"),
    ],
)
def test_what_no_network_here_computes_is_claimed_by_none(settings, what, tmp_path):
    layers = keras_files.pixels()
    layers[1][2].update(settings)
    with pytest.raises(ConversionError) as caught:
        ckptfmt.convert(written(tmp_path, "m.keras", keras_files.keras3(layers, IMAGE)), tmp_path / "out",
                        architecture="dqn")  # fmt: skip
    assert what in str(caught.value)


def test_a_policy_with_a_softmax_is_no_q_network(tmp_path):
    draw = np.random.default_rng(0)
    layers = [keras_files.dense(draw, "dense", 4, 8), keras_files.dense(draw, "dense_1", 8, 3, "softmax")]
    file = written(tmp_path, "m.h5", keras_files.keras2(layers, (4,)))
    assert ckptfmt.convert(file, tmp_path / "out").architecture is None


def test_normalisations_whose_constant_is_another_are_not_claimed(tmp_path):
    draw = np.random.default_rng(0)
    ones = {"gamma": np.ones(8, "f4"), "beta": np.zeros(8, "f4")}
    layers = [keras_files.dense(draw, "dense", 4, 8), ("LayerNormalization", "norm", {"epsilon": 0.001}, ones),
              keras_files.dense(draw, "q_values", 8, 3, "linear")]  # fmt: skip
    result = ckptfmt.convert(written(tmp_path, "m.keras", keras_files.keras3(layers, (4,))), tmp_path / "out")
    assert result.architecture is None


def deep(file):
    for _ in range(60):
        file = file.create_group("g")


def many(file):
    for i in range(20_001):
        file[f"g{i}"] = h5py.Empty("f4")


def cyclic(file):
    file["layers/again"] = file["layers"]


def elsewhere(file):
    space = h5py.h5s.create_simple((4,))
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_external(b"/etc/passwd", 0, 16)
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, made)


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    file.create_virtual_dataset("x", layout)


def chunked(file, chunk, times=1):
    """Add an array of one number in a chunk of many, packed so many times."""
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((chunk,))
    for _ in range(times):
        made.set_deflate(9)
    space = h5py.h5s.create_simple((1,), (h5py.h5s.UNLIMITED,))
    h5py.h5d.create(file.id, b"x", h5py.h5t.IEEE_F32LE, space, made)


HOSTILE = {
    "chunk": (
        lambda file: chunked(file, 1 << 25),
        "source.limit",
        "unpacks to more than 67,108,864 bytes, which no honest file of its size does",
    ),
    "twice": (lambda file: chunked(file, 4, times=2), "source.limit", "'x' is packed by one filter twice"),
    "deep": (deep, "source.limit", "holds more than 20,000 arrays, or 24 groups in one another"),
    "many": (many, "source.limit", "holds more than 20,000 arrays, or 24 groups in one another"),
    "cyclic": (cyclic, "source.damaged", "'layers/again' is one array or group under two names"),
    "link out": (
        lambda file: file.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")),
        "source.damaged",
        "'x' is a link to another place or file",
    ),
    "link": (
        lambda file: file.__setitem__("x", h5py.SoftLink("/layers")),
        "source.damaged",
        "'x' is a link to another place or file",
    ),
    "elsewhere": (elsewhere, "source.damaged", "'x' lies in other files"),
    "virtual": (virtual, "source.damaged", "'x' lies in other files"),
    "filter": (
        lambda file: file.create_dataset("x", data=np.zeros(100, "f4"), compression="lzf"),
        "source.dtype",
        "'x' is packed by a filter that is not read here",
    ),
    "bomb": (
        lambda file: file.create_dataset("x", (1 << 25,), "f4", compression="gzip"),
        "source.limit",
        "unpacks to more than 67,108,864 bytes, which no honest file of its size does",
    ),
    "endless": (
        lambda file: file.create_dataset("x", (1 << 40, 1 << 20), "f4", chunks=(1, 1024)),
        "source.limit",
        "unpacks to more than 67,108,864 bytes, which no honest file of its size does",
    ),
    "text": (
        lambda file: file.attrs.__setitem__("model_config", "x" * (17 << 20)),
        "source.limit",
        "holds more than 16 MiB of text",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_with_a_sentence(case, tmp_path):
    fill, code, what = HOSTILE[case]
    # Attributes of more than 64 KiB are kept apart in files of the newer version only.
    data = hdf5(fill, **({"libver": "latest"} if case == "text" else {}))
    with pytest.raises(SourceError) as caught:
        read(written(tmp_path, "x.h5", data))
    assert (caught.value.code, caught.value.what) == (code, what)


def test_bytes_that_are_damaged_anywhere_end_in_a_sentence(tmp_path):
    good = bytearray(keras_files.keras2(keras_files.pixels()[-2:], (20,)))
    chance, said = np.random.default_rng(0), []
    for i in range(6):
        bad = bytearray(good[: chance.integers(9, len(good))] if i % 2 else good)
        for at in chance.integers(8, min(len(bad), 2000), 12):
            bad[at] = chance.integers(256)
        try:
            read(written(tmp_path, "x.h5", bytes(bad))).close()
        except SourceError as e:
            said.append(str(e))
    assert said
    assert all("\n" not in sentence for sentence in said)


def test_a_library_that_dies_ends_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(keras, "_PROGRAM", "antigravity.nowhere")
    with pytest.raises(SourceError) as caught:
        read(written(tmp_path, "x.h5", keras_files.weights3(keras_files.pixels())))
    assert caught.value.what == "is an HDF5 file that its library cannot read"


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(keras, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage) as caught:
        read(written(tmp_path, "x.keras", keras_files.keras3(keras_files.pixels(), IMAGE)))
    assert caught.value.fix == 'run: pip install "ckptfmt[keras]"'


def test_an_hdf5_file_of_somebody_else_is_no_checkpoint(tmp_path):
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(SourceError) as caught:
        read(written(tmp_path, "x.h5", out.getvalue()))
    assert caught.value.what == "is an HDF5 file, but none that Keras saved"


def test_a_config_that_is_no_json_leaves_the_weights(tmp_path):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("config.json", '{"class_name": "Sequential", "config": NaN}')
        archive.writestr("model.weights.h5", keras_files.weights3(keras_files.pixels()))
    with read(written(tmp_path, "x.keras", out.getvalue())) as file:
        assert "dense_1.kernel" in file.members[""]["model"]
    result = ckptfmt.convert(tmp_path / "x.keras", tmp_path / "out", architecture="none")
    assert [problem.code for problem in result.warnings][:1] == ["source.skipped"]


def test_a_module_in_the_folder_of_the_user_is_not_taken_for_the_library(tmp_path):
    file = written(tmp_path, "m.keras", keras_files.keras3(keras_files.pixels(), IMAGE))
    for name in ("h5py", "numpy", "json"):
        written(tmp_path, f"{name}.py", b"open('ran', 'w')")
    command = [sys.executable, "-P", "-m", "ckptfmt", "convert", str(file), "out", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert json.loads(done.stdout)["result"]["architecture"] == "dqn"
    assert not (tmp_path / "ran").exists()
