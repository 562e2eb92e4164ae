"""Checkpoints in parts: the same network as in one file, whatever the slices are, and never a wrong one."""

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ckptfmt
from ckptfmt.errors import CkptError, ManifestError, WeightsError, WriteError
from ckptfmt.format.digest import manifest_digest
from ckptfmt.format.jsontext import render
from ckptfmt.format.safetensors import MAX_RANK
from ckptfmt.format.tensors import Part
from ckptfmt.store.forms import compress, decompress
from ckptfmt.store.merge import merge
from ckptfmt.store.slices import whole_chunks
from ckptfmt.store.write.place import hold_place

WEIGHT = np.arange(35, dtype="<f4").reshape(7, 5)
COUNT = np.array(2**53 + 1)
EMPTY = np.zeros((0, 3), "<f4")
WHOLE = {"a.weight": WEIGHT, "b.weight": WEIGHT, "count": COUNT, "empty": EMPTY}
FIRST, SECOND = (f"weights-0000{i}-of-00002.safetensors" for i in (1, 2))


def halves():
    """Rows 0 to 2 and the count in one part, rows 3 to 6 and the empty tensor in the other; b is tied to a."""
    upper, lower = Part(WEIGHT[:3], (7, 5), (0, 0)), Part(WEIGHT[3:], (7, 5), (3, 0))
    return [
        {"a.weight": upper, "b.weight": upper, "count": COUNT},
        {"a.weight": lower, "b.weight": lower, "empty": EMPTY},
    ]


@pytest.fixture
def split(tmp_path):
    ckptfmt.save(tmp_path / "split", halves(), training_info={"step": 3}).close()
    return tmp_path / "split"


def test_it_is_the_network_that_one_file_holds(split, tmp_path):
    with ckptfmt.open(split) as checkpoint, ckptfmt.save(tmp_path / "whole", WHOLE) as whole:
        assert checkpoint.manifest.content_digest == whole.manifest.content_digest
        assert sorted(checkpoint.names()) == sorted(WHOLE)
        assert all(np.array_equal(checkpoint.tensors[name], WHOLE[name]) for name in WHOLE)
        assert b"".join(checkpoint.chunks("b.weight", size=12)) == WEIGHT.tobytes()
        assert checkpoint.info("a.weight").shape == (7, 5)
        assert checkpoint.info("a.weight", SECOND).shape == (4, 5)
        checkpoint.verify()
    assert ckptfmt.validate(split).problems == ()


def test_a_tensor_in_slices_may_have_as_many_dimensions_as_any(tmp_path):
    shape = (2, *[1] * 61, 2, 3)
    assert len(shape) == MAX_RANK
    whole = np.arange(12, dtype="<f4").reshape(shape)
    places = [(row, *[0] * 61, column, 0) for row in range(2) for column in range(2)]
    # Columns, of which a block of the whole has some of each.
    parts = [{"w": Part(whole[at[0] : at[0] + 1, ..., at[62] : at[62] + 1, :], shape, at)} for at in places]
    with ckptfmt.save(tmp_path / "ck", parts) as checkpoint:
        assert np.array_equal(checkpoint.tensors["w"], whole)
        checkpoint.verify()
    assert ckptfmt.validate(tmp_path / "ck").problems == ()


def test_what_only_sits_in_files_does_not_need_the_newer_version(split, tmp_path):
    assert json.loads((split / "manifest.json").read_text())["format_version"] == "1.1"
    with ckptfmt.save(tmp_path / "whole", WHOLE) as whole:
        assert whole.manifest.format_version == "1.0"
        assert "split" not in whole.manifest.to_dict()


def test_a_reader_of_1_0_refuses_it(split):
    """Its files have names that are none of a checkpoint's there; unknown files are an error in every version."""
    raw = json.loads((split / "manifest.json").read_text())
    assert "weights.safetensors" not in raw["files"]


def test_any_box_of_a_tensor_is_read_from_what_holds_it(split):
    with ckptfmt.open(split) as checkpoint:
        for top, left in itertools.product(range(7), range(5)):
            shape = (min(3, 7 - top), min(2, 5 - left))
            box = bytearray(4 * shape[0] * shape[1])
            checkpoint.read_slice(memoryview(box), "b.weight", (top, left), shape)
            assert box == WEIGHT[top : top + 3, left : left + 2].tobytes()
        checkpoint.read_slice(memoryview(b""), "a.weight", (7, 0), (0, 5))
        with pytest.raises(WeightsError) as caught:
            checkpoint.read_slice(memoryview(bytearray(40)), "a.weight", (6, 0), (2, 5))
    assert caught.value.what == "a.weight has no elements at (6, 0) of shape (2, 5), it is 7×5"


def test_merged_it_is_the_one_file_to_the_byte(split, tmp_path):
    ckptfmt.save(tmp_path / "whole", WHOLE).close()
    done = merge(split, tmp_path / "merged")
    assert (done.parts, done.files) == (2, ("weights.safetensors",))
    merged = (tmp_path / "merged" / "weights.safetensors").read_bytes()
    assert merged == (tmp_path / "whole" / "weights.safetensors").read_bytes()
    with ckptfmt.open(tmp_path / "merged") as checkpoint:
        assert checkpoint.manifest.format_version == "1.0"
        assert checkpoint.manifest.training_info == {"step": 3}
        assert checkpoint.manifest.content_digest == done.content_digest
    assert ckptfmt.diff(split, tmp_path / "merged").same


def test_a_merge_in_place_replaces_it_and_one_of_a_whole_one_does_nothing(split):
    with pytest.raises(CkptError) as caught:
        merge(split)
    assert str(caught.value) == f"{split}: lies in parts, and no destination is given; give dest= or in_place=True"
    assert merge(split, dry_run=True).written == ""
    merge(split, in_place=True)
    assert sorted(path.name for path in split.iterdir()) == ["manifest.json", "weights.safetensors"]
    assert merge(split).parts == 0


def test_what_was_saved_while_a_merge_waited_is_not_replaced(split, tmp_path):
    ckptfmt.save(tmp_path / "newer", halves(), training_info={"step": 4}).close()
    said = []

    def merge_later():
        with pytest.raises(WriteError) as caught:
            merge(split, in_place=True, wait=60)
        said.append(str(caught.value))

    waiting = threading.Thread(target=merge_later)
    with hold_place(split):
        waiting.start()
        # Not before it has read the old one.
        while not any(is_open(split / name) for name in (FIRST, SECOND)):
            os.sched_yield()
        split.rename(tmp_path / "older")
        (tmp_path / "newer").rename(split)
    waiting.join()
    assert said == [f"{split}: was changed since it was read; run it again"]
    with ckptfmt.open(split) as checkpoint:
        assert checkpoint.training_info == {"step": 4}
        assert FIRST in checkpoint.manifest.files


def is_open(path):
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == str(path):
                return True
    return False


def test_parts_are_compressed_and_plain_again(tmp_path):
    rows = np.zeros((4000, 5), "<f4")
    parts = [{"w": Part(rows[:1000], rows.shape, (0, 0))}, {"w": Part(rows[1000:], rows.shape, (1000, 0))}]
    ckptfmt.save(tmp_path / "a", parts, compress=True).close()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "manifest.json",
        f"{FIRST}.zst",
        f"{SECOND}.zst",
    ]
    with ckptfmt.open(tmp_path / "a") as checkpoint:
        assert not checkpoint.tensors["w"].any()
        assert checkpoint.compressed()
    assert decompress(tmp_path / "a").changed == (FIRST, SECOND)
    assert compress(tmp_path / "a").changed == (FIRST, SECOND)
    assert ckptfmt.validate(tmp_path / "a").valid


def test_a_flipped_bit_in_any_file_is_found_and_the_tensor_named(split):
    for name in (FIRST, SECOND):
        data = bytearray((split / name).read_bytes())
        data[-1] ^= 1
        (split / name).write_bytes(data)
        with ckptfmt.open(split) as checkpoint, pytest.raises(WeightsError) as caught:
            checkpoint.read("a.weight")
        assert str(caught.value).startswith(f"{split / name}: a.weight: bytes do not match the manifest")
        with ckptfmt.open(split) as checkpoint, pytest.raises(WeightsError) as caught:
            list(checkpoint.chunks("a.weight"))
        assert str(caught.value).startswith(f"{split / name}: a.weight: bytes do not match the manifest")
        found = [(problem.code, problem.where) for problem in ckptfmt.validate(split).problems]
        assert found == [("weights.digest", f"{name} a.weight")]
        data[-1] ^= 1
        (split / name).write_bytes(data)


def test_a_part_that_is_gone_is_named(split):
    (split / SECOND).unlink()
    with ckptfmt.open(split) as checkpoint:
        assert checkpoint.tensors["count"] == COUNT
        with pytest.raises(WeightsError) as caught:
            checkpoint.read("a.weight")
    assert str(caught.value) == f"{split / SECOND}: is missing; copy the checkpoint again"


def test_a_part_of_another_checkpoint_is_refused(split, tmp_path):
    other = [{"a.weight": Part(WEIGHT[:3] + 1, (7, 5), (0, 0))}, {"a.weight": Part(WEIGHT[3:] + 1, (7, 5), (3, 0))}]
    ckptfmt.save(tmp_path / "other", other).close()
    (split / SECOND).write_bytes((tmp_path / "other" / SECOND).read_bytes())
    with ckptfmt.open(split) as checkpoint, pytest.raises(WeightsError):
        checkpoint.read("a.weight")
    assert not ckptfmt.validate(split).valid


def test_slices_that_do_not_cover_the_tensor_once_are_not_saved(tmp_path):
    for begin in (2, 4):
        parts = [{"w": Part(WEIGHT[:3], (7, 5), (0, 0))}, {"w": Part(WEIGHT[3:], (7, 5), (begin, 0))}]
        with pytest.raises(CkptError):
            ckptfmt.save(tmp_path / "a", parts)
    same = [{"w": Part(WEIGHT[:3], (7, 5), (0, 0))}, {"w": Part(WEIGHT[:3], (7, 5), (0, 0))}]
    with pytest.raises(CkptError):
        ckptfmt.save(tmp_path / "a", same)
    with pytest.raises(ManifestError, match="lies in several parts"):
        ckptfmt.save(tmp_path / "a", [{"w": WEIGHT}, {"w": WEIGHT}])
    assert list(tmp_path.iterdir()) == []


def test_whole_digests_are_held_against_the_slices(split):
    raw = json.loads((split / "manifest.json").read_text())
    for file, begin in ((FIRST, 4), (SECOND, 0)):
        raw["files"][file]["tensors"]["a.weight"]["slice"]["at"] = [begin, 0]
    raw["manifest_digest"] = manifest_digest(raw)
    (split / "manifest.json").write_text(render(raw))
    assert [problem.code for problem in ckptfmt.validate(split).problems] == ["weights.split"]
    with ckptfmt.open(split) as checkpoint, pytest.raises(WeightsError) as caught:
        list(checkpoint.chunks("a.weight"))
    assert caught.value.code == "weights.split"


def test_a_network_in_parts_must_be_that_of_its_config(tensors, tmp_path):
    config = ckptfmt.ModelConfig(n_action=4, input_shape=(4, 36, 36), hidden_size=16)
    rows = tensors["fc.2.weight"]
    first = {name: array for name, array in tensors.items() if name != "fc.2.weight"}
    parts = [{**first, "fc.2.weight": Part(rows[:3], rows.shape, (0, 0))}]
    parts.append({"fc.2.weight": Part(rows[3:], rows.shape, (3, 0))})
    with ckptfmt.save(tmp_path / "a", parts, config) as checkpoint:
        assert checkpoint.config.n_action == 4
    with pytest.raises(WeightsError):
        ckptfmt.save(tmp_path / "b", parts, config.replace(n_action=5))


def test_a_checkpoint_is_read_without_numpy_where_no_tensor_lies_in_slices(tmp_path):
    ckptfmt.save(tmp_path / "a", [{"a": WEIGHT}, {"b": COUNT}]).close()
    code = (
        f"import ckptfmt, sys; c = ckptfmt.open({str(tmp_path / 'a')!r}); c.read('b'); sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


@st.composite
def grids(draw):
    """A tensor, and where it is cut in each dimension."""
    shape = tuple(draw(st.lists(st.integers(1, 5), max_size=4)))
    cuts = [sorted({0, *draw(st.lists(st.integers(0, size - 1), max_size=2))}) for size in shape]
    dtype = draw(st.sampled_from(["<f4", "u1", "<i8", "<f2", "<c8"]))
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype), cuts, draw(st.integers(1, 4))


@settings(max_examples=60)
@given(grids())
def test_however_it_is_cut_it_is_the_same_tensor(tmp_path_factory, drawn):
    array, cuts, count = drawn
    folder = tmp_path_factory.mktemp("cut")
    cells = list(
        itertools.product(*(list(itertools.pairwise([*c, n])) for c, n in zip(cuts, array.shape, strict=True)))
    )
    # A file holds one slice of a tensor.
    parts = [{"w": _cell(array, cell)} for cell in cells] + [{"more": array}]
    with (
        ckptfmt.save(folder / "a", parts) as split,
        ckptfmt.save(folder / "b", {"w": array, "more": array + 0}) as whole,
    ):
        assert split.manifest.content_digest == whole.manifest.content_digest
        assert split.read("w") == whole.read("w") == array.tobytes()
        for size in (array.itemsize, count * array.itemsize, 1 << 20):
            assert b"".join(split.chunks("w", size=size)) == array.tobytes()
    assert ckptfmt.validate(folder / "a").valid


def _cell(array, cell):
    own = array[tuple(slice(*edges) for edges in cell)]
    return Part(own, array.shape, tuple(begin for begin, _ in cell))


def test_a_tensor_in_many_slices_is_read_in_bounded_parts(split):
    with ckptfmt.open(split) as checkpoint:
        found = checkpoint._pieces("a.weight", "weights.safetensors")
        chunks = whole_chunks((7, 5), checkpoint.info("a.weight").digest, found, checkpoint._data, size=20, verify=True)
        assert max(map(len, chunks)) <= 20
