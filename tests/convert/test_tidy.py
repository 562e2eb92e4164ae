"""Harmless extras: the plain network behind them, and what it follows from."""

import math

import numpy as np
import pytest

from ckptfmt.convert.tidy import tidy
from ckptfmt.legacy.bytes.blocks import MemoryBlock
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage


def tensor(array: np.ndarray, storage: Storage | None = None) -> LegacyTensor:
    names = {"f4": "F32", "f8": "F64", "i8": "I64"}
    dtype = names[array.dtype.str[1:]]
    strides = tuple(step // array.itemsize for step in array.strides)
    return LegacyTensor(dtype, array.shape, strides, 0, storage or Storage("0", dtype, MemoryBlock(array.tobytes())))


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


def values(found: LegacyTensor) -> np.ndarray:
    return np.frombuffer(found.read(), "f4").reshape(found.shape)


PLAIN = {"fc.weight": random(3, 4), "fc.bias": random(3, seed=1)}


def tensors(**more: np.ndarray) -> dict[str, LegacyTensor]:
    return {name.replace("__", "."): tensor(array) for name, array in (PLAIN | more).items()}


def test_a_plain_network_is_left_alone():
    assert tidy(tensors()) is None


def test_counters_are_dropped_and_numbers_are_not():
    found = tidy(tensors(n_averaged=np.array(7), log_alpha=np.array(0.5)))
    assert found.dropped == {"n_averaged": "a counter"}
    assert set(found.tensors) == {*PLAIN, "log_alpha"}


def test_a_layer_of_the_same_tensors_under_a_second_name_is_dropped():
    first = tensors()
    found = tidy({**first, "layers.0.weight": first["fc.weight"], "layers.0.bias": first["fc.bias"]})
    assert list(found.tensors) == [*PLAIN]
    assert found.dropped == dict.fromkeys(("layers.0.weight", "layers.0.bias"), "a second name of another layer")


def test_a_layer_of_equal_numbers_is_dropped_and_one_of_constants_is_not():
    same = {"again.weight": tensor(PLAIN["fc.weight"]), "again.bias": tensor(PLAIN["fc.bias"])}
    assert set(tidy({**tensors(), **same}).dropped) == set(same)
    zeros = {f"{name}.{leaf}": tensor(np.zeros(shape, "f4")) for name in ("a", "b") for leaf, shape in
             (("weight", (3, 4)), ("bias", (3,)))}  # fmt: skip
    assert tidy(zeros) is None
    other = {"again.weight": tensor(PLAIN["fc.weight"]), "again.bias": tensor(PLAIN["fc.bias"] + 1)}
    assert tidy({**tensors(), **other}) is None


def test_a_bias_that_was_left_out_is_zeros_behind_its_weight():
    found = tidy(
        {"a.weight": tensor(random(3, 4)), "b.weight": tensor(random(2, 3, 3, 3)), "g.weight": tensor(random(5))}
    )
    assert list(found.tensors) == ["a.weight", "a.bias", "b.weight", "b.bias", "g.weight"]
    assert found.made == {"a.bias", "b.bias"}
    assert found.tensors["a.bias"].numbers() == [0.0] * 3


def test_one_bias_that_is_not_there_was_lost():
    lost = {"a.weight": tensor(random(3, 4)), "b.weight": tensor(random(2, 3)), "b.bias": tensor(random(2))}
    assert tidy(lost) is None
    convs = {"c.weight": tensor(random(2, 3, 3, 3)), "d.weight": tensor(random(2, 2, 3, 3))}
    assert tidy({**convs, "b.weight": tensor(random(2, 3)), "b.bias": tensor(random(2))}).made == {"c.bias", "d.bias"}


def test_a_pruned_weight_is_weight_times_mask():
    weight, mask = random(3, 4), (random(3, 4, seed=2) > 0).astype("f4")
    found = tidy(
        {"fc.bias": tensor(PLAIN["fc.bias"]), "fc.weight_orig": tensor(weight), "fc.weight_mask": tensor(mask)}
    )
    assert list(found.tensors) == ["fc.bias", "fc.weight"]
    assert values(found.tensors["fc.weight"]).tobytes() == (weight * mask).tobytes()
    assert found.dropped == dict.fromkeys(("fc.weight_orig", "fc.weight_mask"), "a part of a pruned weight")
    assert found.made == {"fc.weight"}


@pytest.mark.parametrize(
    ("length", "direction"),
    [("conv.weight_g", "conv.weight_v"),
     ("conv.parametrizations.weight.original0", "conv.parametrizations.weight.original1")],
)  # fmt: skip
def test_a_normalised_weight_is_its_direction_at_its_length(length, direction):
    v, g = random(3, 2, 4, 4), random(3, 1, 1, 1, seed=2)
    found = tidy({length: tensor(g), direction: tensor(v), "conv.bias": tensor(random(3))})
    assert set(found.tensors) == {"conv.weight", "conv.bias"}
    norm = np.sqrt((v.astype("f8") ** 2).sum(axis=(1, 2, 3), keepdims=True))
    assert np.allclose(values(found.tensors["conv.weight"]), g * v / norm, rtol=1e-6)


@pytest.mark.parametrize(
    "names",
    [("fc.weight_orig", "fc.weight_u", "fc.weight_v"),
     ("fc.parametrizations.weight.original", "fc.parametrizations.weight.0._u", "fc.parametrizations.weight.0._v")],
)  # fmt: skip
def test_a_spectrally_normalised_weight_is_divided_by_its_norm(names):
    w, u, v = random(3, 2, 2, 2), random(3, seed=1), random(8, seed=2)
    found = tidy(dict(zip(names, map(tensor, (w, u, v)), strict=True)) | {"fc.bias": tensor(random(3))})
    assert set(found.tensors) == {"fc.weight", "fc.bias"}
    sigma = float(u.astype("f8") @ w.reshape(3, 8).astype("f8") @ v.astype("f8"))
    assert np.allclose(values(found.tensors["fc.weight"]), w / sigma, rtol=1e-6)
    assert math.isfinite(sigma)


@pytest.mark.parametrize(
    "parts",
    [
        {"fc.weight_orig": random(3, 4), "fc.weight_mask": random(4, 3)},
        {"fc.weight_g": random(3, 1), "fc.weight_v": random(4, 3)},
        {"fc.weight_v": random(3, 4), "fc.weight_g": random(3, 1), "fc.weight": random(3, 4)},
        {"fc.weight_orig": random(3, 4), "fc.weight_u": random(3), "fc.weight_v": random(5)},
    ],
)
def test_parts_that_do_not_fit_stay_what_they_are(parts):
    held = {name: tensor(array) for name, array in parts.items()}
    found = tidy({**held, "fc.bias": tensor(random(3))})
    assert found is None or set(held) <= set(found.tensors)
