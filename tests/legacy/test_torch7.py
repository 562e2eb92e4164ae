"""Networks of Torch7 (Lua): read as data, under names and in shapes that PyTorch would give them."""

import struct

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import SourceError
from ckptfmt.legacy.open import read


class Writer:
    """Writes as torch.save of Torch7 does."""

    def __init__(self):
        self.count = 0

    def next(self):
        self.count += 1
        return struct.pack("<i", self.count)

    def text(self, text):
        return struct.pack("<i", len(text)) + text.encode()

    def value(self, value):
        match value:
            case None:
                return struct.pack("<i", 0)
            case bool():
                return struct.pack("<ii", 5, value)
            case int() | float():
                return struct.pack("<id", 1, value)
            case str():
                return struct.pack("<i", 2) + self.text(value)
            case dict():
                head = struct.pack("<i", 3) + self.next() + struct.pack("<i", len(value))
                return head + b"".join(self.value(key) + self.value(item) for key, item in value.items())
            case (str() as name, dict() as fields):
                return self.head(name) + self.value(fields)
            case np.ndarray():
                return self.tensor(value)
        return struct.pack("<i", 8) + self.next() + struct.pack("<i", 5) + b"\x1bLJ\x01\x02" + self.value({})

    def head(self, name):
        return struct.pack("<i", 4) + self.next() + self.text("V 1") + self.text(name)

    def tensor(self, array):
        strides = [stride // 4 for stride in array.strides]
        head = self.head("torch.FloatTensor") + struct.pack("<i", array.ndim)
        longs = struct.pack(f"<{2 * array.ndim + 1}q", *array.shape, *strides, 1)
        return head + longs + self.head("torch.FloatStorage") + struct.pack("<q", array.size) + array.tobytes()


def agent():
    """Return DeepMind's agent in small: four frames of 44x44, three actions; and its layers."""
    draw = np.random.default_rng(0)
    shapes = {1: (8, 4, 8, 8), 3: (6, 8, 4, 4), 5: (5, 6, 3, 3), 8: (16, 20), 10: (3, 16)}
    layers = {
        key: (draw.standard_normal(shape, np.float32), draw.standard_normal(shape[:1], np.float32))
        for key, shape in shapes.items()
    }
    modules = {}
    for key in range(1, 11):
        weight, bias = layers.get(key, (None, None))
        if weight is None:
            modules[key] = ("nn.Rectifier", {"output": np.zeros((1, 2), np.float32), "train": False})
            continue
        fields = {"weight": weight, "bias": bias, "gradWeight": np.zeros_like(weight), "dH": 4}
        if weight.ndim == 4:
            out, planes, height, width = weight.shape
            fields |= {"nInputPlane": planes, "kH": height, "kW": width}
            # As later releases keep it.
            fields["weight"] = weight.reshape(out, -1) if key > 1 else weight
        modules[key] = ("nn.SpatialConvolution" if weight.ndim == 4 else "nn.Linear", fields)
    network = ("nn.Sequential", {"modules": modules, "train": False})
    return {"agent": "DQN", "model": network, "discount": 0.99, "preproc": object()}, layers


def test_the_network_of_an_agent_is_read_with_its_kernels_in_shape(tmp_path):
    table, layers = agent()
    (tmp_path / "DQN3.t7").write_bytes(Writer().value(table))
    result = ckptfmt.convert(tmp_path / "DQN3.t7", tmp_path / "out", architecture="dqn", input_shape=(4, 44, 44))
    assert (result.source.container, result.architecture, result.transformed) == ("torch7", "dqn", ())
    with ckptfmt.open(tmp_path / "out") as checkpoint:
        names = ("conv.0", "conv.2", "conv.4", "fc.0", "fc.2")
        for name, (weight, bias) in zip(names, layers.values(), strict=True):
            assert np.array_equal(checkpoint.tensors[f"{name}.weight"], weight)
            assert np.array_equal(checkpoint.tensors[f"{name}.bias"], bias)


def test_values_of_lua_are_plain_ones_and_its_functions_are_stepped_over(tmp_path):
    table, _ = agent()
    (tmp_path / "x").write_bytes(Writer().value({**table, 1: "first", "on": True, "half": 0.5}))
    with read(tmp_path / "x") as file:
        found = file.members[""]
    assert [found[key] for key in ("agent", "discount", "preproc", 1, "on", "half")] == [
        "DQN",
        0.99,
        None,
        "first",
        True,
        0.5,
    ]


def test_numbers_of_objects_below_zero_are_numbers_like_others(tmp_path):
    writer = Writer()
    table = struct.pack("<iii", 3, -2, 1) + writer.value("a") + writer.value("b")
    (tmp_path / "x").write_bytes(writer.head("lab.Agent") + table)
    with read(tmp_path / "x") as file:
        assert file.members[""] == {"a": "b"}


@pytest.mark.parametrize("end", [1, 9, 77, 400, -1])
def test_a_file_that_is_cut_short_is_said_to_be(end, tmp_path):
    table, _ = agent()
    (tmp_path / "x").write_bytes(b"\3\0\0\0\1\0\0\0" + Writer().value(table)[8:][:end])
    with pytest.raises(SourceError) as caught, read(tmp_path / "x"):
        pass
    assert caught.value.code in ("source.truncated", "source.damaged")


def table_of(*rows):
    """Return the file of a table with rows that no dict could hold."""
    write = Writer()
    head = struct.pack("<i", 3) + write.next() + struct.pack("<i", len(rows))
    return head + b"".join(write.value(key) + write.value(item) for key, item in rows)


@pytest.mark.parametrize("key", [True, {"inner": 1}, np.ones(2, np.float32)], ids=["boolean", "table", "tensor"])
def test_what_stands_under_a_key_that_is_none_here_is_kept(key, tmp_path):
    one, other = (np.full((2, 2), value, np.float32) for value in (1, 2))
    (tmp_path / "net.t7").write_bytes(table_of((1, one), (key, other)))
    ckptfmt.convert(tmp_path / "net.t7", tmp_path / "out", architecture="none")
    with ckptfmt.open(tmp_path / "out") as checkpoint:
        assert sorted(array[0, 0] for array in checkpoint.tensors.values()) == [1, 2]


def test_a_table_with_a_key_twice_is_refused(tmp_path):
    row = ("weight", np.ones((2, 2), np.float32))
    (tmp_path / "net.t7").write_bytes(table_of(row, row))
    with pytest.raises(SourceError) as caught, read(tmp_path / "net.t7"):
        pass
    assert str(caught.value) == f"{tmp_path}/net.t7: has a table with a key twice; copy or download it again"


def function(writer, kind, upvalues):
    """Return a function that closes over something: bytecode, then the table of what it closes over."""
    return struct.pack("<i", kind) + writer.next() + struct.pack("<i", 5) + b"\x1bLJ\x01\x02" + writer.value(upvalues)


@pytest.mark.parametrize("kind", [6, 7, 8])
def test_tensors_that_a_function_closes_over_are_not_lost(kind, tmp_path):
    one, other = (np.full((2, 2), value, np.float32) for value in (1, 2))
    writer = Writer()
    head = struct.pack("<i", 3) + writer.next() + struct.pack("<i", 2)
    rows = writer.value("net") + writer.value({"weight": one})
    rows += writer.value("preproc") + function(writer, kind, {1: {"name": "kernel", "value": other}})
    (tmp_path / "net.t7").write_bytes(head + rows)
    result = ckptfmt.convert(tmp_path / "net.t7", tmp_path / "out", architecture="none")
    with ckptfmt.open(tmp_path / "out") as checkpoint:
        kept = [array[0, 0] for array in checkpoint.tensors.values()]
    assert (kept, [*result.dropped, *result.left]) == ([1], ["preproc/1"])


def test_what_modules_hold_of_a_last_pass_is_said_to_be_dropped(tmp_path):
    table, _ = agent()
    (tmp_path / "net.t7").write_bytes(Writer().value(table))
    result = ckptfmt.convert(tmp_path / "net.t7", tmp_path / "out", architecture="dqn", input_shape=(4, 44, 44))
    assert result.dropped == ("last pass (optimizer state, 10 tensors)",)
    assert result.left == ()
