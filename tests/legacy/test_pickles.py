"""Pickles of every protocol as plain data: what picklers write comes back, and nothing is looked up."""

import argparse
import collections
import copyreg
import datetime
import functools
import logging
import os
import pathlib
import pickle
import re
import signal
import struct
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptfmt.errors import SourceError, UnsafeSource
from ckptfmt.legacy.bytes.blocks import MemoryBlock, Window
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage, storage_id
from ckptfmt.legacy.pickle.inert import Opaque
from ckptfmt.legacy.pickle.pickles import load

PROTOCOLS = range(6)
KEYS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.binary(max_size=4)
)
LEAVES = KEYS | st.integers(-(2**4000), 2**4000) | st.complex_numbers(allow_nan=False) | st.text() | st.binary()


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS | st.tuples(KEYS, KEYS), inner, max_size=5)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3).map(collections.OrderedDict)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
    )


def plain(value: Any) -> Any:
    """The value as it is read: sets have become lists, frozen ones tuples."""
    match value:
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case tuple():
            return tuple(plain(item) for item in value)
        case set():
            return sorted(map(repr, value))
        case frozenset():
            return tuple(sorted(map(repr, value)))
    return value


def unordered(value: Any, like: Any) -> Any:
    """What was read, with the items of sets in the order that `plain` gives them."""
    match like:
        case dict():
            return {key: unordered(value[key], item) for key, item in like.items()} if len(value) == len(like) else None
        case list():
            return [unordered(*both) for both in zip(value, like, strict=True)]
        case tuple():
            return tuple(unordered(*both) for both in zip(value, like, strict=True))
        case set():
            return sorted(map(repr, value))
        case frozenset():
            return tuple(sorted(map(repr, value)))
    return value


@given(st.recursive(LEAVES, nested, max_leaves=25), st.sampled_from(PROTOCOLS))
@settings(deadline=None, max_examples=300)
def test_plain_data_comes_back_from_every_protocol(value: Any, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    read = load(data)
    assert unordered(read.value, value) == plain(value)
    assert (read.end, read.placeholders) == (len(data), ())
    assert read.protocol == (protocol if protocol > 1 else 0)


@given(st.binary(max_size=300), st.sampled_from(PROTOCOLS), st.data())
@settings(deadline=None, max_examples=300)
def test_a_mutated_pickle_is_read_or_refused(noise: bytes, protocol: int, data: st.DataObject) -> None:
    honest = {
        "w": np.arange(6.0).reshape(2, 3),
        "n": np.int64(3),
        "deep": [({1: {"a": (1, 2.5, b"x")}},)] * 2,
        "s": {1, 2},
    }
    raw = bytearray(pickle.dumps(honest, protocol))
    at = data.draw(st.integers(0, len(raw)))
    raw[at : at + data.draw(st.integers(0, 4))] = noise[:4] if data.draw(st.booleans()) else noise
    try:
        foreseen = 0 < load(bytes(raw)).end <= len(raw)
    except SourceError as e:
        foreseen = e.code.startswith("source.") and "\n" not in str(e)
    assert foreseen


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(SourceError):
        load(b"\x80\x04(" + data)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "dtype", ["?", "u1", "i1", "<u2", ">i2", "<i4", ">u4", "<i8", ">u8", "<f2", ">f4", "<f8", "<c8"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back_bit_for_bit(protocol: int, dtype: str, order: Any) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype, order=order)
    read = load(pickle.dumps({"a": array, "same": array}, protocol)).value
    assert isinstance(read["a"], LegacyTensor)
    assert read["a"].shape == (2, 3, 4)
    assert read["a"].read() == array.astype(array.dtype.newbyteorder("<")).tobytes()
    assert read["same"] is read["a"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "scalar",
    [
        np.float64(-np.inf),
        np.float32(0.1),
        np.float16(1.5),
        np.int64(-3),
        np.uint8(200),
        np.bool_(True),
        np.complex64(1 + 2j),
        np.str_("é"),
        np.bytes_(b"ab"),
    ],
)
def test_numpy_scalars_become_python_values(protocol: int, scalar: Any) -> None:
    read = load(pickle.dumps(scalar, protocol)).value
    assert read == scalar.item()
    assert type(read) is type(scalar.item())


def test_numpy_1_and_numpy_2_names_are_the_same() -> None:
    new = pickle.dumps(np.float64(2.5), 2)
    old = new.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy._core" in new
    assert load(old).value == load(new).value == 2.5


def test_an_array_that_is_no_numbers_stays_a_placeholder() -> None:
    for array in (np.array(["ab", "c"]), np.array([{"a": 1}], dtype=object), np.array(["2020-01-01"], "M8[D]")):
        read = load(pickle.dumps([array, 1], 2)).value
        assert (read[0].kind, read[0].name, read[0].state[0]) == ("instance", "numpy.ndarray", array.shape)


def test_long_byte_strings_stay_in_the_source() -> None:
    data = bytes(range(256)) * 1000
    read = load(MemoryBlock(pickle.dumps([data, b"short"], 4))).value
    assert isinstance(read[0], Window)
    assert read[0].read(0, read[0].size) == data
    assert read[1] == b"short"
    array = np.arange(100_000, dtype="<f8")
    assert load(pickle.dumps(array, 5)).value.read() == array.tobytes()


def test_a_pickle_is_read_from_the_middle_of_a_block() -> None:
    first, second = pickle.dumps([1, 2], 2), pickle.dumps({"a": "b" * 100_000}, 2)
    block = MemoryBlock(b"junk" + first + second + b"junk")
    one = load(block, start=4)
    two = load(block, start=one.end)
    assert (one.value, two.value, two.end) == ([1, 2], {"a": "b" * 100_000}, block.size - 4)


class Agent:
    """A class of code that the reader does not know."""


Agent.__module__, Agent.__qualname__ = "agents.dqn", "Agent"


class Point(tuple):
    """A class that is made with arguments."""


Point.__module__ = "agents.dqn"


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pickler find the classes where they claim to be."""
    module = types.ModuleType("agents.dqn")
    module.Agent, module.Point = Agent, Point  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "agents", types.ModuleType("agents"))
    monkeypatch.setitem(__import__("sys").modules, "agents.dqn", module)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.usefixtures("agents")
def test_instances_of_unknown_classes_give_up_their_contents(protocol: int) -> None:
    agent = Agent()
    agent.weights, agent.steps = {"w": np.ones(3)}, 7  # type: ignore[attr-defined]
    read = load(pickle.dumps({"agent": agent, "again": agent}, protocol))
    placeholder = read.value["agent"]
    assert (placeholder.kind, placeholder.name, placeholder.args) == ("instance", "agents.dqn.Agent", ())
    assert placeholder.state["weights"]["w"].numbers() == [1, 1, 1]
    assert placeholder.state["steps"] == 7
    assert read.value["again"] is placeholder
    assert read.placeholders == ("agents.dqn.Agent",)
    assert "agents.dqn.Agent" in read.globals


@pytest.mark.usefixtures("agents")
def test_a_cycle_through_an_instance_is_cut_where_it_closes() -> None:
    agent, child = Agent(), Agent()
    agent.children, child.parent = [child], agent  # type: ignore[attr-defined]
    read = load(pickle.dumps(agent, 2)).value
    cut = read.state["children"][0].state["parent"]
    assert (cut.kind, cut.name) == ("global", "cycle")


def test_a_cycle_through_an_item_of_an_instance_is_cut_where_it_closes() -> None:
    read = load(b"\x80\x02cagents\nTree\n)\x81q\x00K\x01h\x00s.").value
    ((key, cut),) = read.pairs
    assert (key, cut.kind, cut.name) == ("", "global", "cycle")


def test_a_class_in_a_class_is_a_placeholder_however_a_protocol_writes_it() -> None:
    dotted = load(b"\x80\x04\x8c\x06agents\x8c\nDQN.Config\x93)\x81}\x8c\x02lrK\x02sb.").value
    walked = load(
        b"\x80\x02c__builtin__\ngetattr\ncagents\nDQN\nX\x06\0\0\0Config\x86R)\x81}X\x02\0\0\0lrK\x02sb."
    ).value
    for read in (dotted, walked):
        assert (read.kind, read.name, read.state) == ("instance", "agents.DQN.Config", {"lr": 2})


def test_what_a_call_gave_may_be_called_and_is_kept_inside() -> None:
    read = load(b"\x80\x02cagents\nmake\nK\x01\x85RK\x02\x85R.").value
    inner, second = read.args
    assert (read.kind, read.name, second) == ("call", "agents.make()", 2)
    assert (inner.kind, inner.name, inner.args) == ("call", "agents.make", (1,))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_with_the_users_word_objects_of_the_standard_library_do_not_spoil_the_weights(protocol: int) -> None:
    beside = {
        "partial": functools.partial(print, 1),
        "pattern": re.compile("a"),
        "logger": logging.getLogger("dqn"),
        "signal": signal.SIGINT,
        "records": np.ones(3).view(np.recarray),
        "masked": np.ma.array([1.0]),
    }
    for name, value in beside.items():
        data = pickle.dumps({"w": np.ones(3), name: value}, protocol)
        with pytest.raises(SourceError):
            load(data)
        assert load(data, allow_unsafe=True).value["w"].numbers() == [1, 1, 1]


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_what_is_only_stored_is_no_reason_to_refuse(protocol: int) -> None:
    stored = {"open": open, "loads": pickle.loads, "partial": functools.partial, "system": os.system}
    read = load(pickle.dumps({"w": np.ones(3), **stored}, protocol))
    assert read.value["w"].numbers() == [1, 1, 1]
    assert {read.value[name].kind for name in stored} == {"global"}
    assert "posix.system" in read.placeholders


@pytest.mark.usefixtures("agents")
def test_foreign_instances_keep_their_arguments() -> None:
    read = load(pickle.dumps(Point((1, 2)), 2)).value
    assert (read.kind, read.name, read.args) == ("instance", "agents.dqn.Point", ((1, 2),))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_training_code_keeps_beside_its_weights_is_read(protocol: int) -> None:
    def factory(values: dict[str, Any]) -> Any:
        made = collections.defaultdict(list)
        made.update(values)
        return made

    ordered = collections.OrderedDict(w=1)
    ordered._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    beside = {
        "args": argparse.Namespace(lr=0.1),
        "ordered": ordered,
        "default": factory({"a": [1]}),
        "counter": collections.Counter("aab"),
        "deque": collections.deque([1.5, 2.5], maxlen=4),
        "path": pathlib.PurePosixPath("/runs/pong/1"),
        "range": range(3),
        "when": datetime.datetime(2026, 11, 22),
        "buffer": bytearray(b"\x00\xff"),
        "ellipsis": ...,
        "simple": types.SimpleNamespace(a=1),
    }
    read = load(pickle.dumps(beside, protocol))
    value = read.value
    assert value["args"].state == {"lr": 0.1}
    assert value["ordered"] == {"w": 1}
    assert value["default"] == {"a": [1]}
    assert value["counter"] == {"a": 2, "b": 1}
    assert value["deque"] == [1.5, 2.5]
    assert value["path"] == "/runs/pong/1"
    assert (value["range"].name, value["range"].args) == ("builtins.range", (0, 3, 1))
    assert value["when"].name == "datetime.datetime"
    assert value["buffer"] == b"\x00\xff"
    assert value["ellipsis"].name == "builtins.Ellipsis"
    assert value["simple"].state == {"a": 1}
    assert read.placeholders == ()


def test_byte_strings_of_python_2_are_text_where_they_can_be() -> None:
    read = load(b"(dp0\nS'w\\n'\np1\nS'\\xff\\x00'\nsU\x02abI01\ns.").value
    assert read == {"w\n": b"\xff\x00", "ab": True}


def test_text_of_python_2_joins_its_surrogates() -> None:
    assert load(b"V\\ud83d\\ude00\n.").value == "\U0001f600"


def test_an_array_of_python_2_whose_bytes_are_text_is_read() -> None:
    array = np.zeros(3, "<f4")
    order = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01(K\x03tcnumpy\ndtype\nU\x02f4K\x00K\x01\x87R" + order + b"\x89U\x0c" + bytes(12) + b"tb."
    read = load(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R" + state).value
    assert read.read() == array.tobytes()


def test_a_name_is_refused_unless_the_user_takes_the_risk() -> None:
    data = b"\x80\x02}X\x01\x00\x00\x00wcposix\nsystem\nX\x02\x00\x00\x00ls\x85Rs."
    with pytest.raises(UnsafeSource) as refusal:
        load(data)
    assert str(refusal.value) == "refused, its pickle calls posix.system; nothing was run"
    assert refusal.value.code == "source.unsafe"
    read = load(data, allow_unsafe=True)
    call = read.value["w"]
    assert (call.kind, call.name, call.args) == ("call", "posix.system", ("ls",))
    assert read.placeholders == ("posix.system",)


def test_a_module_of_torch_is_a_placeholder_with_its_parameters() -> None:
    body = b"ctorch.nn.modules.linear\nLinear\n)\x81}X\x08\x00\x00\x00trainingK\x01sb."
    read = load(b"\x80\x02" + body)
    assert (read.value.kind, read.value.name) == ("instance", "torch.nn.modules.linear.Linear")
    assert read.value.state == {"training": 1}
    assert read.placeholders == ()
    older = b"ccopy_reg\n_reconstructor\n(ctorch.nn.modules.linear\nLinear\nc__builtin__\nobject\nNtR."
    assert load(older).value.name == "torch.nn.modules.linear.Linear"


def tensor_pickle(function: bytes, args: bytes) -> Any:
    def persistent(pid: Any) -> Storage:
        stated = storage_id(pid)
        return Storage(stated.key, stated.dtype, MemoryBlock(struct.pack("<4f", 1, 2, 3, 4)))

    untyped = b"(X\x07\x00\x00\x00storagectorch.storage\nUntypedStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQ"
    typed = untyped.replace(b"torch.storage\nUntyped", b"torch\nFloat").replace(b"K\x10", b"K\x04")
    args = args.replace(b"UNTYPED", untyped).replace(b"TYPED", typed)
    return load(b"\x80\x02ctorch._utils\n" + function + b"\n(" + args + b"tR.", persistent=persistent).value


VIEW = b"K\x00K\x02K\x02\x86K\x01K\x02\x86"


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (b"_rebuild_tensor", b"TYPED" + VIEW),
        (b"_rebuild_tensor_v2", b"TYPED" + VIEW + b"\x89N"),
        (b"_rebuild_tensor_v2", b"TYPED" + VIEW + b"\x89NN"),
        (b"_rebuild_tensor_v3", b"UNTYPED" + VIEW + b"\x89Nctorch\nfloat32\n"),
        (b"_rebuild_parameter", b"ctorch._utils\n_rebuild_tensor\n(TYPED" + VIEW + b"tR\x88N"),
        (b"_rebuild_parameter_with_state", b"ctorch._utils\n_rebuild_tensor\n(TYPED" + VIEW + b"tR\x88N}"),
        (b"_rebuild_from_type_v2", b"ctorch._utils\n_rebuild_tensor\nctorch\nTensor\n(TYPED" + VIEW + b"t}"),
    ],
)
def test_each_of_torchs_rebuilders_gives_the_tensor(function: bytes, args: bytes) -> None:
    tensor = tensor_pickle(function, args)
    assert (tensor.dtype, tensor.shape, tensor.strides) == ("F32", (2, 2), (1, 2))
    assert tensor.numbers() == [1, 3, 2, 4]


def test_a_parameter_of_an_old_torch_keeps_its_tensor() -> None:
    data = b"ctorch._utils\n_rebuild_tensor\n(TYPED" + VIEW + b"tR"
    tensor = tensor_pickle(b"_rebuild_parameter", data + b"\x88N")
    assert tensor.numbers() == [1, 3, 2, 4]


def test_tensors_that_safetensors_cannot_hold_do_not_spoil_the_rest() -> None:
    def persistent(pid: Any) -> Storage:
        return Storage("0", storage_id(pid).dtype, MemoryBlock(bytes(16)))

    storage = b"(X\x07\x00\x00\x00storagectorch\nComplexDoubleStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ"
    body = b"](ctorch._utils\n_rebuild_tensor\n(" + storage + b"K\x00K\x01\x85K\x01\x85tRK\x07e."
    read = load(b"\x80\x02" + body, persistent=persistent).value
    assert (read[0].name, read[0].args, read[1]) == ("torch.Tensor", ("complex128", (1,)), 7)
    sparse = b"](ctorch._utils\n_rebuild_sparse_tensor\n(NNtRK\x07e."
    assert load(b"\x80\x02" + sparse).value[0].name == "torch._utils._rebuild_sparse_tensor"


def test_extension_codes_are_refused_although_they_are_registered() -> None:
    copyreg.add_extension("posix", "system", 240)
    try:
        with pytest.raises(UnsafeSource) as refusal:
            load(b"\x80\x02\x82\xf0.")
    finally:
        copyreg.remove_extension("posix", "system", 240)
    assert "extension registry" in str(refusal.value)


def test_placeholders_are_told_apart_by_identity() -> None:
    assert Opaque("global", "a.B") != Opaque("global", "a.B")
    assert repr(Opaque("global", "a.B")) == "<global a.B>"
