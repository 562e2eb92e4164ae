"""Files in the layouts that Keras 2 and Keras 3 publish, written by h5py: no Keras is needed, and none is here.

A network is a list of layers, each (class, name, settings, {name of a weight: array}), in the order of the model. Where
`after` is among the settings, they name the layers before this one, and it is a functional model; else a row.
"""

import io
import json
import re
import zipfile

import h5py
import numpy as np

VARS = ("kernel", "recurrent_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "linear": lambda x: x}


def config(layers, *, three, shape):
    """Return the config of the model, as `model_config` and `config.json` hold it."""
    functional = any("after" in settings for _, _, settings, _ in layers)
    size = {"batch_shape" if three else "batch_input_shape": [None, *shape]}
    rows = [described("InputLayer", "input_1", size, (), three)]
    last = "input_1"
    for kind, name, settings, _ in layers:
        before = settings.get("after", [last]) if functional else ()
        rows.append(described(kind, name, {k: v for k, v in settings.items() if k != "after"}, before, three))
        last = name
    inner = {"name": "model", "trainable": True, "layers": rows}
    if functional:
        taken = {one for _, _, settings, _ in layers for one in settings.get("after", ())}
        inner["output_layers"] = [[name, 0, 0] for _, name, _, _ in layers if name not in taken]
    return {"class_name": "Functional" if functional else "Sequential", "config": inner}


def described(kind, name, settings, before, three):
    said = {"class_name": kind, "config": {"name": name, **settings}, "name": name}
    if three:
        tensors = [{"class_name": "__keras_tensor__", "config": {"keras_history": [one, 0, 0]}} for one in before]
        return {"module": "keras.layers", **said, "inbound_nodes": [{"args": tensors, "kwargs": {}}] if before else []}
    return {**said, "inbound_nodes": [[[one, 0, 0, {}] for one in before]] if before else []}


def names(values):
    return np.array([value.encode() for value in values])


def keras2(layers, shape, *, whole=True, optimizer=True):
    """Return the bytes of an `.h5` file: of `model.save` with the config, or of `save_weights` without."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        top = file.create_group("model_weights") if whole else file
        top.attrs["layer_names"] = names(["input_1", *(name for _, name, _, _ in layers)])
        top.attrs["backend"], top.attrs["keras_version"] = "tensorflow", "2.11.0"
        top.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for kind, name, _, weights in layers:
            group = top.create_group(name)
            inner = f"{name}/{kind.lower()}_cell" if kind in ("LSTM", "GRU") else name
            group.attrs["weight_names"] = names(f"{inner}/{leaf}:0" for leaf in weights)
            for leaf, array in weights.items():
                group.create_dataset(f"{inner}/{leaf}:0", data=array)
        if whole:
            file.attrs["model_config"] = json.dumps(config(layers, three=False, shape=shape))
            file.attrs["keras_version"], file.attrs["backend"] = "2.11.0", "tensorflow"
        if whole and optimizer:
            moments = file.create_group("optimizer_weights")
            moments.attrs["weight_names"] = names(["Adam/iter:0", "Adam/dense/kernel/m:0"])
            moments["Adam/iter:0"], moments["Adam/dense/kernel/m:0"] = np.int64(7), np.zeros((3, 2), "f4")
    return out.getvalue()


def weights3(layers):
    """Return the bytes of a `.weights.h5` of Keras 3, where layers of a kind are counted."""
    out = io.BytesIO()
    counts = {}
    with h5py.File(out, "w") as file:
        for kind, _, _, weights in layers:
            group = re.sub(r"([a-z])([A-Z])", r"\1_\2", kind).lower()
            count = counts[group] = counts.get(group, -1) + 1
            place = f"layers/{group}_{count}" if count else f"layers/{group}"
            place += "/cell" if kind in ("LSTM", "GRU") else ""
            file.create_group(f"{place}/vars")
            for i, leaf in enumerate(sorted(weights, key=VARS.index)):
                file[f"{place}/vars/{i}"] = weights[leaf]
        file["optimizer/vars/0"], file["optimizer/vars/1"] = np.int64(7), np.zeros((3, 2), "f4")
    return out.getvalue()


def keras3(layers, shape):
    """Return the bytes of a `.keras` archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.11.0", "date_saved": "2026-01-01"}))
        archive.writestr("config.json", json.dumps(config(layers, three=True, shape=shape)))
        archive.writestr("model.weights.h5", weights3(layers))
    return out.getvalue()


def dense(draw, name, inputs, outputs, activation="relu", **settings):
    weights = {"kernel": draw.standard_normal((inputs, outputs), "f4"), "bias": draw.standard_normal(outputs, "f4")}
    return "Dense", name, {"units": outputs, "activation": activation, **settings}, weights


def conv(draw, name, kernel, inputs, outputs, stride):
    shape = (kernel, kernel, inputs, outputs)
    weights = {"kernel": draw.standard_normal(shape, "f4"), "bias": draw.standard_normal(outputs, "f4")}
    settings = {"filters": outputs, "kernel_size": [kernel] * 2, "strides": [stride] * 2, "padding": "valid"}
    return "Conv2D", name, {**settings, "activation": "relu", "data_format": "channels_last"}, weights


def cell(draw, kind, name, inputs, size):
    gates = {"LSTM": 4, "GRU": 3}[kind]
    weights = {
        "kernel": draw.standard_normal((inputs, gates * size), "f4"),
        "recurrent_kernel": draw.standard_normal((size, gates * size), "f4"),
        "bias": draw.standard_normal((2, gates * size) if kind == "GRU" else gates * size, "f4"),
    }
    return kind, name, {"units": size, "reset_after": True}, weights


def pixels(seed=0):
    """Return a Q-network on images of 44×44: divided, three convolutions, a hidden layer, three values."""
    draw = np.random.default_rng(seed)
    rescaling = "Rescaling", "rescaling", {"scale": 1 / 255, "offset": 0.0}, {}
    convs = [conv(draw, "c1", 8, 4, 8, 4), conv(draw, "c2", 4, 8, 6, 2), conv(draw, "c3", 3, 6, 5, 1)]
    flatten = "Flatten", "flatten", {}, {}
    return [rescaling, *convs, flatten, dense(draw, "fc", 20, 16), dense(draw, "q_values", 16, 3, "linear")]


def forward(layers, seen):
    """Return what a row of layers computes of an image (height, width, channels), features or a sequence of them."""
    for kind, _, settings, weights in layers:
        if kind == "Rescaling":
            seen = seen * settings["scale"]
        elif kind == "Flatten":
            seen = seen.reshape(-1)
        elif kind in ("LSTM", "GRU"):
            seen = _remembered(kind, seen, weights)
        else:
            seen = (_convolved(seen, weights, settings) if kind == "Conv2D" else seen @ weights["kernel"]) + weights[
                "bias"
            ]
            seen = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "linear": lambda x: x}[settings["activation"]](
                seen
            )
    return seen


def _convolved(seen, weights, settings):
    kernel, stride = weights["kernel"], settings["strides"][0]
    size = (seen.shape[0] - kernel.shape[0]) // stride + 1
    steps = range(0, stride * size, stride)
    windows = [[seen[i : i + kernel.shape[0], j : j + kernel.shape[1]] for j in steps] for i in steps]
    return np.tensordot(np.array(windows, np.float64), kernel, 3)


def _remembered(kind, sequence, weights):
    """Return what Keras' own cells give of a sequence (time, features), gates in Keras' order."""
    kernel, recurrent, bias = (weights[name].astype(float) for name in ("kernel", "recurrent_kernel", "bias"))
    size = recurrent.shape[0]
    h, c, found = np.zeros(size), np.zeros(size), []
    for x in sequence:
        if kind == "LSTM":
            i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
            h = _sigmoid(o) * np.tanh(c)
        else:
            (z, r, n), (hz, hr, hn) = np.split(x @ kernel + bias[0], 3), np.split(h @ recurrent + bias[1], 3)
            z = _sigmoid(z + hz)
            h = z * h + (1 - z) * np.tanh(n + _sigmoid(r + hr) * hn)
        found.append(h)
    return np.array(found)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))
