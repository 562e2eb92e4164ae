"""What differs between checkpoints and legacy files, and by how much."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ckptfmt
from ckptfmt.convert.convert import convert
from ckptfmt.errors import CkptError, WeightsError
from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.safetensors import tensor_bytes
from ckptfmt.format.tensors import ArrayPayload
from ckptfmt.look.diff import ManifestChange, diff, diff_open
from ckptfmt.look.diff.changes import Filter, manifest_changes
from ckptfmt.look.diff.distance import Distance, Tolerance, measure, measure_small
from ckptfmt.store.save import save
from ckptfmt.store.write import TensorFile, write_checkpoint

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures"
FOREIGN = sorted((FIXTURES / "foreign").rglob("*.pth"))


@pytest.fixture
def pair(tmp_path):
    """Save two sets of tensors, with what is said of them, and return their paths."""

    def make(a, b, said_of_a=None, said_of_b=None):
        for name, tensors, said in (("a", a, said_of_a), ("b", b, said_of_b)):
            save(tmp_path / name, tensors, **(said or {})).close()
        return tmp_path / "a", tmp_path / "b"

    return make


def weights(n: int = 1000) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {"w": random.standard_normal(n).astype("f4"), "b": np.arange(5, dtype="f4"), "n": np.array(3)}


def test_a_checkpoint_is_the_same_as_itself(pair):
    a, b = pair(weights(), weights())
    found = diff(a, b)
    assert found.same
    assert found.counts == {"changed": 0, "added": 0, "removed": 0, "renamed": 0, "close": 0, "identical": 3}
    assert found.a.digest == found.b.digest


def test_checkpoints_that_are_open_are_compared_alike_and_stay_open(pair):
    a, b = pair(weights(), {**weights(), "b": np.ones(5, "f4")}, {"training_info": {"seed": 1}})
    with ckptfmt.open(a) as older, ckptfmt.open(b) as newer:
        assert diff_open(older, newer) == diff(a, b)
        assert newer.tensors["b"].tolist() == [1.0] * 5


def test_numbers_are_those_of_the_whole_vectors(pair):
    other = weights(200_000)
    other["w"] = (other["w"] * 1.5).astype("f4")
    other["w"][:1000] = weights(200_000)["w"][:1000]
    a, b = pair(weights(200_000), other)
    (change,) = diff(a, b).weights
    left, right = weights(200_000)["w"].astype("f8"), other["w"].astype("f8")
    assert change.rel_l2 == pytest.approx(np.linalg.norm(right - left) / np.linalg.norm(left), rel=1e-12)
    assert change.cosine == pytest.approx(left @ right / np.linalg.norm(left) / np.linalg.norm(right), rel=1e-12)
    assert change.max_abs == np.abs(right - left).max()
    assert change.changed_fraction == np.count_nonzero(left != right) / 200_000


@pytest.mark.parametrize("size", [1, 8192, 8193, 65_536, 131_000, 131_073])
@pytest.mark.parametrize("dtype", ["f4", "f2", "f8", "i4", "u1"])
def test_no_block_leaves_anything_to_the_next(pair, size, dtype):
    random = np.random.default_rng(size)
    left, right = (random.integers(1, 100, size).astype(dtype) for _ in range(2))
    right[-1] = left[-1] + 1
    a, b = pair({"w": left}, {"w": right})
    (change,) = diff(a, b).weights
    gap = right.astype("f8") - left.astype("f8")
    assert change.rel_l2 == pytest.approx(np.linalg.norm(gap) / np.linalg.norm(left.astype("f8")), rel=1e-12)
    assert change.max_abs == np.abs(gap).max()
    assert change.changed_fraction == np.count_nonzero(gap) / size


def test_what_was_added_removed_and_renamed_is_told_apart(pair):
    before = {"kept": np.ones(3), "old": np.arange(4), "gone": np.zeros(2)}
    after = {"kept": np.ones(3), "new": np.arange(4), "more": np.zeros(3)}
    found = diff(*pair(before, after))
    assert [(c.op, c.name, c.from_name) for c in found.weights] == [
        ("added", "more", None),
        ("renamed", "new", "old"),
        ("removed", "gone", None),
    ]
    assert not found.same


def test_a_rename_is_told_by_the_bytes_and_not_by_the_shape(pair):
    before = {"x": np.zeros(2), "y": np.ones(2)}
    found = diff(*pair(before, {"new": np.ones(2)}))
    assert [(c.op, c.name, c.from_name) for c in found.weights] == [("renamed", "new", "y"), ("removed", "x", None)]


def test_another_shape_has_no_numbers_and_another_dtype_has(pair):
    found = diff(*pair({"s": np.ones(4), "d": np.ones(4, "f4")}, {"s": np.ones((2, 2)), "d": np.ones(4, "f8")}))
    shape, dtype = sorted(found.weights, key=lambda c: c.name, reverse=True)
    assert (shape.from_shape, shape.shape, shape.rel_l2) == ((4,), (2, 2), None)
    assert (dtype.from_dtype, dtype.dtype, dtype.rel_l2, dtype.changed_fraction) == ("F32", "F64", 0.0, 0.0)


def test_a_tensor_within_the_tolerance_is_close(pair):
    a, b = pair({"w": np.array([1.0, 100.0, math.nan])}, {"w": np.array([1.001, 100.1, math.nan])})
    assert diff(a, b).counts["changed"] == 1
    close = diff(a, b, rtol=0.002)
    assert (close.same, close.counts["close"], close.counts["identical"]) == (True, 1, 0)
    assert diff(a, b, atol=0.01).weights[0].changed_fraction == pytest.approx(1 / 3)


def test_no_tolerance_is_wide_enough_for_what_is_not_finite(pair):
    a, b = pair({"w": np.array([1.0, math.nan, 0.0])}, {"w": np.array([1.0, 0.0, math.inf])})
    (change,) = diff(a, b, rtol=1e9, atol=1e9).weights
    assert (change.changed_fraction, change.non_finite) == (pytest.approx(2 / 3), 2)


def test_without_numbers_none_is_computed(pair):
    a, b = pair({"w": np.zeros(3)}, {"w": np.ones(3)})
    assert diff(a, b, numbers=False).weights[0].rel_l2 is None
    assert diff(a, b).weights[0].max_abs == 1.0


def test_values_of_the_manifest_are_compared_by_path(pair):
    same = {"w": np.zeros(1)}
    before = {"training_info": {"frame_idx": 3, "best": -math.inf, "old": 1, "nan": math.nan, "list": [1, 2]}}
    after = {"training_info": {"frame_idx": 4, "best": 2.5, "new": None, "nan": math.nan, "list": [1, 2]}}
    found = diff(*pair(same, same, before, after))
    assert found.manifest == (
        ManifestChange("changed", "training_info.frame_idx", 3, 4),
        ManifestChange("changed", "training_info.best", -math.inf, 2.5),
        ManifestChange("removed", "training_info.old", 1, None),
        ManifestChange("added", "training_info.new", None, None),
    )
    assert found.to_dict()["manifest"][1]["a"] == "-inf"


def test_when_a_checkpoint_was_made_is_shown_and_makes_no_difference(pair, monkeypatch):
    a, b = pair({"w": np.zeros(1)}, {"w": np.zeros(1)})
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    save(b, {"w": np.zeros(1)}, overwrite=True).close()
    found = diff(a, b)
    assert found.same
    assert [(c.path, c.b, c.volatile) for c in found.manifest] == [("created_at", "1970-01-01T00:00:00Z", True)]


@pytest.mark.parametrize(
    ("only", "ignore", "names"),
    [
        ((), (), ["training_info.x", "conv.0.bias", "conv.2.bias"]),
        (["weights"], (), ["conv.0.bias", "conv.2.bias"]),
        (["manifest"], (), ["training_info.x"]),
        (["conv.0"], (), ["conv.0.bias"]),
        (["*.bias"], ["conv.2.bias"], ["conv.0.bias"]),
        ((), ["weights"], ["training_info.x"]),
        ((), ["manifest", "conv.0"], ["conv.2.bias"]),
        (["training_info"], (), ["training_info.x"]),
    ],
)
def test_words_choose_what_counts(pair, only, ignore, names, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    before, after = ({f"conv.{i}.bias": np.full(2, value) for i in (0, 2)} for value in (1.0, 2.0))
    found = diff(
        *pair(before, after, {"training_info": {"x": 1}}, {"training_info": {"x": 2}}), only=only, ignore=ignore
    )
    assert [c.path for c in found.manifest] + [c.name for c in found.weights] == names


@pytest.mark.parametrize("word", ["conv.0.wieght", "config.gama", "x*", ""])
def test_a_word_that_names_nothing_is_refused_instead_of_called_the_same(pair, word):
    a, b = pair({"conv.0.bias": np.zeros(2)}, {"conv.0.bias": np.ones(2)})
    with pytest.raises(CkptError) as caught:
        diff(a, b, only=["weights", word])
    assert str(caught.value) == (
        f"{b}: has no field or tensor '{word}', nor has the one it is compared with; "
        "see their names: ckptfmt.summarize(PATH)"
    )


def test_a_field_that_neither_has_may_be_asked_for(pair):
    assert diff(*pair({"x": np.zeros(2)}, {"x": np.ones(2)}), only=["lineage"]).same


def test_true_is_not_one_and_one_is_not_one_point_nought():
    found = manifest_changes({"config": {"a": 1, "b": 1}}, {"config": {"a": True, "b": 1.0}}, Filter())
    assert [change.path for change in found] == ["config.a", "config.b"]


DTYPES = ["BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64", "F16", "BF16", "F32", "F64", "C64"]
DTYPES += ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F4"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_can_be_compared(tmp_path, dtype):
    for name, last in (("a", 0), ("b", 1)):
        payload = ArrayPayload(dtype, (2,), memoryview(_two(dtype, last)))
        write_checkpoint(tmp_path / name, {WEIGHTS: TensorFile({"w": payload})}, _label)
    (change,) = diff(tmp_path / "a", tmp_path / "b").weights
    assert change.changed_fraction == (None if dtype == "F4" else 0.5)
    assert change.max_abs is None if dtype == "F4" else change.max_abs > 0


def _two(dtype: str, last: int) -> bytes:
    data = bytearray(tensor_bytes(dtype, (2,)))
    if dtype != "F4":
        data[: len(data) // 2] = bytes([1]) + bytes(len(data) // 2 - 1)
    data[-1] = last
    return bytes(data)


def _label(entries):
    said = {"created_at": "2026-01-01T00:00:00Z", "created_by": {}, "architecture": None, "config": None}
    return Manifest(**said, files=entries, content_digest="")


def distance(a: np.ndarray, b: np.ndarray, dtype: str) -> Distance:
    return measure(iter([a.tobytes()]), iter([b.tobytes()]), (dtype, dtype), Tolerance())


@pytest.mark.parametrize("special", [0.0, math.nan, -math.inf])
@pytest.mark.parametrize(("dtype", "kind"), [("F32", "f4"), ("F64", "f8"), ("I16", "i2"), ("BOOL", "?")])
def test_small_tensors_measured_together_are_as_far_apart_as_each_by_itself(dtype, kind, special):
    draw = np.random.default_rng(0)
    sides = [[draw.normal(0, 100, size).astype(kind) for size in (1, 7, 300, 2, 511)] for _ in "ab"]
    if kind.startswith("f"):
        sides[0][2][3] = special
        sides[1][4][:] = -np.finfo(kind).max
    pairs = list(zip(*sides, strict=True))
    together = measure_small([(a.tobytes(), b.tobytes()) for a, b in pairs], dtype)
    for (a, b), found in zip(pairs, together, strict=True):
        alone = distance(a, b, dtype)
        assert (found.elements, found.changed, found.non_finite) == (alone.elements, alone.changed, alone.non_finite)
        for name in ("max_abs", "rel_l2", "cosine"):
            mine, other = getattr(found, name), getattr(alone, name)
            assert mine == (other if other is None else pytest.approx(other, rel=1e-12, abs=1e-12))


def test_integers_of_64_bits_are_not_rounded():
    a, b = np.array([2**62, 2**62]), np.array([2**62 + 1, 2**62])
    found = distance(a, b, "I64")
    assert (found.max_abs, found.changed) == (1.0, 1)
    extremes = distance(np.array([-(2**63)]), np.array([2**63 - 1]), "I64")
    assert extremes.max_abs == float(2**64 - 1)
    unsigned = distance(np.array([2**64 - 1], "u8"), np.array([0], "u8"), "U64")
    assert unsigned.max_abs == float(2**64 - 1)


def test_what_is_not_finite_is_counted_and_left_out_of_the_norms():
    a = np.array([1.0, math.nan, math.inf, math.inf, 0.0])
    b = np.array([2.0, math.nan, math.inf, -math.inf, math.nan])
    found = distance(a, b, "F64")
    assert (found.changed, found.non_finite, found.max_abs, found.rel_l2) == (3, 2, 1.0, 1.0)


def test_the_sign_of_zero_is_a_change_of_no_size():
    found = distance(np.array([0.0, 1.0]), np.array([-0.0, 1.0]), "F64")
    assert (found.changed, found.rel_l2, found.max_abs) == (1, 0.0, 0.0)


def test_from_nothing_every_change_is_infinite_and_has_no_direction():
    found = distance(np.zeros(2), np.ones(2), "F64")
    assert (found.rel_l2, found.cosine) == (math.inf, None)


def test_beyond_the_range_of_numbers_there_is_no_norm():
    found = distance(np.array([1e300]), np.array([2e300]), "F64")
    assert (found.rel_l2, found.cosine, found.max_abs) == (None, None, 1e300)


@given(st.lists(st.floats(allow_nan=True, width=32), max_size=20), st.data())
def test_distance_is_symmetric_where_it_should_be(values, data):
    a = np.array(values, "<f4")
    b = a.copy()
    for i in data.draw(st.sets(st.integers(0, max(len(values) - 1, 0)))) if values else ():
        b[i] = data.draw(st.floats(width=32))
    there, back = distance(a, b, "F32"), distance(b, a, "F32")
    assert (there.changed, there.non_finite, there.max_abs) == (back.changed, back.non_finite, back.max_abs)
    assert there.cosine == pytest.approx(back.cosine, nan_ok=True) if there.cosine is not None else back.cosine is None
    assert there.changed <= there.elements == len(values)


@pytest.mark.skipif(not FOREIGN, reason="fixtures/foreign holds no legacy file")
def test_a_legacy_file_is_the_same_as_the_checkpoint_made_of_it(tmp_path):
    for i, source in enumerate(FOREIGN[:8]):
        convert(source, tmp_path / str(i))
        for a, b in ((source, tmp_path / str(i)), (tmp_path / str(i), source), (source, source)):
            found = diff(a, b)
            assert found.same, found
            assert found.counts["identical"] > 0
            assert found.a.digest == found.b.digest


def test_memory_is_bounded_whatever_differs(tmp_path):
    """Two times 160 MiB that differ throughout, in a process that tells how much memory it had at most."""
    script = (
        "import sys; from ckptfmt.look.diff import diff; found = diff(sys.argv[1], sys.argv[2]);"
        "assert found.weights[0].changed_fraction == 1.0, found;"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    for name, value in (("a", 0x3F), ("b", 0x40)):
        payload = type("P", (), {"dtype": "F32", "shape": (40, 1 << 20)})()
        payload.chunks = lambda value=value: (bytes([value]) * (1 << 22) for _ in range(40))
        write_checkpoint(tmp_path / name, {WEIGHTS: TensorFile({"w": payload})}, _label)
    command = [sys.executable, "-P", "-c", script, tmp_path / "a", tmp_path / "b"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(run.stdout) < 200_000


def test_a_flipped_bit_is_not_called_the_same(tmp_path):
    for name in "ab":
        save(tmp_path / name, {"w": np.arange(4, dtype="f4")}).close()
    data = bytearray((tmp_path / "b" / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (tmp_path / "b" / WEIGHTS).write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        diff(tmp_path / "a", tmp_path / "b")
    assert str(caught.value) == (
        f"{tmp_path}/b/{WEIGHTS}: w: bytes do not match the manifest; copy it again or re-save it"
    )


def test_a_large_checkpoint_is_believed_and_that_is_said(tmp_path):
    """Its digests decide; 160 MiB are not read to find that nothing differs."""
    for name in "ab":
        payload = type("P", (), {"dtype": "F32", "shape": (40, 1 << 20)})()
        payload.chunks = lambda: (bytes(1 << 22) for _ in range(40))
        write_checkpoint(tmp_path / name, {WEIGHTS: TensorFile({"w": payload})}, _label)
    found = diff(tmp_path / "a", tmp_path / "b")
    assert found.same
    assert (found.a.verified, found.b.verified) == (False, False)


def test_of_a_manifest_more_changes_than_anybody_reads_are_counted(pair):
    a, b = pair(*[weights()] * 2, *({"training_info": {f"k{i}": i + add for i in range(10_005)}} for add in (0, 1)))
    found = diff(a, b, only=["training_info"])
    assert (len(found.manifest), found.unlisted, found.same) == (10_000, 5, False)
    assert (found.to_dict()["unlisted"], len(found.to_dict()["manifest"])) == (5, 10_000)


def test_a_name_as_long_as_a_manifest_is_not_in_the_path_of_all_that_is_below_it(pair):
    long = {"k" * 1_000_000: {"deeper" * 1_000: {f"k{i}": i for i in range(1_000)}}}
    other = {"k" * 1_000_000: {"deeper" * 1_000: {f"k{i}": i + 1 for i in range(1_000)}}}
    found = diff(*pair(weights(), weights(), {"training_info": long}, {"training_info": other}), ignore=["created_at"])
    assert len(found.manifest) == 1_000
    assert max(len(change.path) for change in found.manifest) < 1_300
    assert found.manifest[7].path.endswith(".k7")
