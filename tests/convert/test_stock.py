"""Every tensor of a file, each once: in the checkpoint, in a network that is left, or among what is dropped."""

import collections
import datetime
import math
import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpies

from ckptfmt.convert.convert import convert
from ckptfmt.convert.plan import make_plan
from ckptfmt.errors import ConversionError
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find.census import same
from ckptfmt.legacy.find.find import find_networks
from ckptfmt.store.checkpoint import Checkpoint

# What lies in a file and has no place in a checkpoint.
UNREAD = {"c16"}
DTYPES = ("?", "u1", "i1", "<u2", ">i2", "<i4", ">u4", "<i8", "<f2", ">f4", "<f8", "<c8", "<c16")
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: numpies.arrays(
        np.dtype(dtype), numpies.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3), unique=False
    )
)
KEYS = st.sampled_from(["1", 1, "a", "a.b", "b", "c/d", "1.5", 1.5, None, "None", b"a", (1, "a")])
PLAIN = st.none() | st.integers(0, 5) | st.text("ab", max_size=2)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    mappings = st.dictionaries(KEYS, inner, max_size=4)
    pairs = st.lists(st.tuples(st.sampled_from("ab"), ARRAYS), min_size=1, max_size=3)
    return (
        mappings
        | mappings.map(collections.OrderedDict)
        | st.lists(inner, max_size=3)
        | pairs
        | inner.map(lambda x: (x, x))
    )


NESTS = st.recursive(ARRAYS | PLAIN, containers, max_leaves=12)


def arrays(nest: Any) -> Iterator[np.ndarray]:
    """Yield each array of a nest once, as a pickle keeps it."""
    stack, seen = [nest], set()
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, list | tuple):
            stack += value


def described(array: np.ndarray) -> tuple[object, ...]:
    little = array.astype(array.dtype.newbyteorder("<"))
    return array.shape, array.dtype.str[1:], little.tobytes()


CODES = {
    "BOOL": "b1", "U8": "u1", "I8": "i1", "U16": "u2", "I16": "i2", "I32": "i4", "U32": "u4", "I64": "i8",
    "F16": "f2", "F32": "f4", "F64": "f8", "C64": "c8",
}  # fmt: skip


def read(tensor: LegacyTensor) -> tuple[object, ...]:
    return tensor.shape, CODES[tensor.dtype], tensor.read()


def stored(path: Path) -> Iterator[tuple[object, ...]]:
    with Checkpoint(path) as checkpoint:
        for name in checkpoint.manifest.weights.tensors:
            info = checkpoint.info(name)
            yield info.shape, CODES[info.dtype], bytes(checkpoint.read(name))


def accounted(path: Path, out: Path) -> tuple[Counter[Any], int]:
    """Return what became of the tensors that are read, and how many others are named as dropped."""
    with make_plan(path) as plan:
        convert(path, out)
        found, unread = Counter(stored(out)), 0
        own = {same(tensor) for tensor in plan.tensors.values()}
        left = [network for network in find_networks(plan.legacy.members) if network.path in plan.left]
        assert [network.path for network in left] == list(plan.left)
        others = {same(tensor): tensor for network in left for tensor in network.tensors.values()}
        found += Counter(read(tensor) for identity, tensor in others.items() if identity not in own)
        for item in plan.lost:
            found += Counter(read(tensor) for tensor in item.tensors if isinstance(tensor, LegacyTensor))
            unread += sum(not isinstance(tensor, LegacyTensor) for tensor in item.tensors)
            assert str(item) in plan.dropped
    return found, unread


@given(NESTS, st.sampled_from([2, 4, 5]))
@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_every_tensor_of_a_nest_is_somewhere_once(
    tmp_path_factory: pytest.TempPathFactory, nest: Any, protocol: int
) -> None:
    folder = tmp_path_factory.mktemp("nest")
    (folder / "case.pkl").write_bytes(pickle.dumps(nest, protocol))
    held = [described(array) for array in arrays(nest)]
    try:
        found, unread = accounted(folder / "case.pkl", folder / "out")
    except ConversionError as e:
        refused = e.code
    else:
        refused = ""
    if refused:
        assert refused in ("convert.no-tensors", "convert.unread", "convert.key", "convert.ambiguous")
        assert refused != "convert.no-tensors" or all(code in UNREAD for _, code, _ in held)
        return
    assert found == Counter(item for item in held if item[1] not in UNREAD)
    assert unread == sum(item[1] in UNREAD for item in held)


# Keys of which two or more become one text, at one level or as a path through two.
MEETING = st.sampled_from([1, "1", 1.0, "1.0", None, "None", "a", "a.b", "b", "b.a", True, "True"])
MET = st.recursive(
    st.integers(0, 99).map(lambda start: np.arange(start, start + 4, dtype="<f4").reshape(2, 2)),
    lambda inner: st.dictionaries(MEETING, inner, min_size=2, max_size=6),
    max_leaves=8,
).filter(lambda nest: isinstance(nest, dict))


@given(MET)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_no_tensor_is_lost_where_names_meet(tmp_path_factory: pytest.TempPathFactory, nest: Any) -> None:
    folder = tmp_path_factory.mktemp("met")
    path = saved(folder, nest)
    found, unread = accounted(path, folder / "out")
    assert (found, unread) == (Counter(map(described, arrays(nest))), 0)
    # Dropping one of two that meet would account for it as well; each is kept, under a name of its own.
    with make_plan(path) as plan:
        assert plan.lost == ()


def saved(folder: Path, value: Any) -> Path:
    path = folder / "case.pkl"
    path.write_bytes(pickle.dumps(value))
    return path


def ramp(*shape: int, start: float = 0) -> np.ndarray:
    return (np.arange(math.prod(shape), dtype="f4") + start).reshape(shape)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"m": {1: ramp(2, 3), "1": ramp(2, 3, start=9)}}, ["1", "1~2"]),
        ({"a.b": ramp(2, 3), "a": {"b": ramp(2, 3, start=9)}, "c": {"d": ramp(4, 2)}}, ["a.b", "a.b~2", "c.d"]),
        ([("w", ramp(2, 3)), ("w", ramp(2, 3, start=9))], ["w", "w~2"]),
        ({"w": ramp(3), "b": ramp(2)}, ["w", "b"]),
        ({"w": np.array(1.0)}, ["w"]),
    ],
)
def test_names_that_would_become_one_are_kept_apart(tmp_path: Path, value: Any, names: list[str]) -> None:
    convert(saved(tmp_path, value), tmp_path / "out")
    with Checkpoint(tmp_path / "out") as checkpoint:
        assert sorted(checkpoint.names()) == sorted(names)


def test_two_conversions_of_a_key_that_holds_a_tensor_are_one(tmp_path: Path) -> None:
    path = tmp_path / "case.pkl"
    array = pickle.dumps(np.ones((2, 2), "f4"), 2)[2:-1]
    path.write_bytes(b"\x80\x02}" + array + b"K\x01\x86" + array + b"s.")
    names = []
    for out in ("one", "two"):
        convert(path, tmp_path / out)
        with Checkpoint(tmp_path / out) as checkpoint:
            names.append(checkpoint.names())
    assert names == [("(tensor F32 [2, 2], 1)",)] * 2


def small_network() -> dict[str, np.ndarray]:
    return {"l1.weight": ramp(4, 3), "l1.bias": ramp(4), "l2.weight": ramp(2, 4), "l2.bias": ramp(2)}


def test_what_is_beside_a_network_is_named_with_its_reason(tmp_path: Path) -> None:
    network = small_network()
    moment = {"step": np.array(3), "exp_avg": ramp(4, 3)}
    value = {
        "net": network,
        "other_net": {name: array + 1 for name, array in network.items() if "l1" in name},
        "optimizer": {"state": {0: moment}, "param_groups": [{"lr": 0.1}]},
        "memory": [(ramp(2, 2), np.array(0), np.array(1.0)), (ramp(2, 2, start=1), np.array(1), np.array(0.0))],
        "bounds": {"low": ramp(3), "high": ramp(3, start=1)},
        "wave": np.ones(3, "c16"),
    }
    result = convert(saved(tmp_path, value), tmp_path / "out")
    assert (result.found_at, result.left) == ("net", ("other_net",))
    with Checkpoint(tmp_path / "out") as checkpoint:
        assert checkpoint.manifest.conversion.left == ("other_net (another network, 2 tensors)",)
    assert result.dropped == (
        "optimizer (optimizer state, 2 tensors)",
        "memory (recorded data, 6 tensors)",
        "bounds (beside the network, 2 tensors)",
        "wave (1 complex128 array, which cannot be stored)",
    )
    assert [(problem.code, problem.message) for problem in result.warnings][:1] == [
        ("source.skipped", "left out 1 complex128 array, which cannot be stored")
    ]


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"optimizer_state_dict": state, "epoch": 3}])
def test_a_file_of_an_optimizer_alone_is_no_network(tmp_path: Path, wrap: Any) -> None:
    moments = {i: {"step": np.array(3), "exp_avg": ramp(4, 3), "exp_avg_sq": ramp(4, 3)} for i in range(4)}
    file = saved(tmp_path, wrap({"state": moments, "param_groups": [{"lr": 0.1, "params": [0, 1, 2, 3]}]}))
    with pytest.raises(ConversionError) as refusal:
        convert(file, tmp_path / "out")
    assert (refusal.value.what, refusal.value.code) == (
        "holds the state of an optimizer and no network", "convert.no-tensors"
    )  # fmt: skip
    assert convert(file, tmp_path / "kept", architecture="none").tensors == 12


class _Kept:
    def __init__(self) -> None:
        self.__dict__ = {"rate": 0.5, "seed": b"\x07"}


def test_what_json_cannot_hold_is_named_with_what_it_is(tmp_path: Path) -> None:
    value = {
        "net": small_network(),
        "digest": b"\x00\x01",
        "when": datetime.datetime(2020, 1, 1),
        "gain": 1 + 2j,
        "cut": slice(1, 2),
        "frame": {"lead": [1, b"x", 3], "ends": (1, 2), "inner": {"key": b"y", "size": 4}},
        "kept": _Kept(),
        "rewards": list(range(10_001)),
        "adam": {"state": {}, "param_groups": [{"lr": 0.1}]},
        5: b"five",
        "version": "1.3",
        "training_info": "long ago",
        "epsilon": 0.25,
    }
    result = convert(saved(tmp_path, value), tmp_path / "out", architecture="none", allow_unsafe=True)
    assert result.dropped == (
        "digest (bytes)",
        "when (datetime.datetime)",
        "gain (complex)",
        "cut (builtins.slice)",
        "frame/lead (list of 3)",
        "frame/inner/key (bytes)",
        "kept/seed (bytes)",
        "rewards (list of 10,001)",
        "adam (settings of an optimizer)",
        "5 (bytes)",
    )
    with Checkpoint(tmp_path / "out") as checkpoint:
        assert checkpoint.manifest.conversion.dropped == result.dropped
        assert checkpoint.training_info == {
            "frame": {"ends": [1, 2], "inner": {"size": 4}},
            "kept": {"rate": 0.5},
            "version": "1.3",
            "training_info": "long ago",
            "epsilon": 0.25,
        }


def test_a_file_of_very_many_foreign_values_names_the_first_and_counts_the_rest(tmp_path: Path) -> None:
    value = {"net": small_network(), **{f"blob-{i:04d}": b"" for i in range(1_234)}}
    result = convert(saved(tmp_path, value), tmp_path / "out", architecture="none")
    assert result.dropped[:1] == ("blob-0000 (bytes)",)
    assert result.dropped[999:] == ("blob-0999 (bytes)", "and 234 more")


def test_a_tensor_that_cannot_be_stored_beside_one_that_can_is_named(tmp_path: Path) -> None:
    result = convert(saved(tmp_path, {"w": ramp(2, 3), "odd": np.ones(2, "c16")}), tmp_path / "out")
    assert (result.architecture, result.tensors) == (None, 1)
    assert result.dropped == ("odd (1 complex128 array, which cannot be stored)",)
    assert result.classification.refusal == "odd is a complex128 array, which cannot be stored"


def test_more_that_is_not_read_than_is_read_is_an_error(tmp_path: Path) -> None:
    value = {"state": ramp(1, 4, 4, 4), "online": {"k1": np.ones(2, "c16"), "k2": np.ones(3, "c16")}}
    with pytest.raises(ConversionError) as refusal:
        convert(saved(tmp_path, value), tmp_path / "out")
    assert str(refusal.value) == (
        f"{tmp_path}/case.pkl: holds 2 complex128 arrays, which are not read; "
        "keep the rest without a network: architecture=none"
    )
    assert not (tmp_path / "out").exists()
    kept = convert(saved(tmp_path, value), tmp_path / "out", architecture="none")
    assert kept.dropped == ("online (2 complex128 arrays, which cannot be stored)",)


def test_numbers_that_are_not_finite_are_said_when_they_are_converted(tmp_path: Path) -> None:
    value = {"w": ramp(2, 3), "v": np.array([[1, np.nan], [np.inf, 2]], "f4"), "u": np.array([np.nan], "f8")}
    for dry_run in (True, False):
        result = convert(saved(tmp_path, value), tmp_path / "out", dry_run=dry_run)
        (problem,) = [problem for problem in result.warnings if problem.code == "weights.non-finite"]
        assert problem.message == "holds 3 NaN or infinite numbers, in v and 1 more"


def test_a_tensor_that_was_taken_is_not_said_to_be_left_out_for_texts_that_are_too_long(tmp_path: Path) -> None:
    texts = {key: key * (6 << 20) for key in "abc"}
    source = saved(tmp_path, {"net": {"w": ramp(2, 2)}, **texts})
    made = convert(source, tmp_path / "out", architecture="none")
    assert [text for text in made.dropped if "w" in text.partition(" ")[0]] == []
    assert len(made.dropped) >= 1
