"""Folders of torch.distributed.checkpoint are one source: tensors joined exactly, whatever does not fit refused."""

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ckptfmt.convert.batch import convert_many
from ckptfmt.convert.convert import convert
from ckptfmt.convert.sources import find_sources
from ckptfmt.errors import CkptError, SourceError, TooCostly, UnsafeSource
from ckptfmt.legacy.bytes.blocks import MemoryBlock, Spool
from ckptfmt.legacy.bytes.budget import Budget
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage
from ckptfmt.legacy.distributed.joined import Part, join
from ckptfmt.legacy.sharded import open_source
from ckptfmt.look.summarize import summarize
from ckptfmt.share.export.dcp import Slice, index_bytes
from ckptfmt.share.export.opcodes import Call, Name, pickled
from ckptfmt.share.export.torchfile import StoredTensor, torch_bytes
from ckptfmt.store.checkpoint import Checkpoint

DTYPES = {"f4": "F32", "i8": "I64"}
ROWS = np.arange(21, dtype="f4").reshape(7, 3)
WHOLE = np.arange(5, dtype="i8")


def stored(array: np.ndarray) -> StoredTensor:
    return StoredTensor(DTYPES[array.dtype.str[1:]], array.shape, lambda: array.tobytes())


@dataclasses.dataclass
class Saved:
    """A folder as two processes write it: each has the rows of `rows` that are its own, the second all of `whole`."""

    folder: Path
    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    parts: dict[str, tuple[str, tuple[int, ...], list[Slice]]] = dataclasses.field(default_factory=dict)

    def add(self, name: str, array: np.ndarray, shape: Sequence[int], at: Sequence[int], file: str) -> None:
        begin = len(self.files.setdefault(file, b""))
        self.files[file] += torch_bytes(stored(array))
        part = Slice(tuple(at), array.shape, file, begin, len(self.files[file]) - begin)
        kind = DTYPES[array.dtype.str[1:]]
        self.parts.setdefault(name, (kind, tuple(shape), []))[2].append(part)

    def change(self, name: str, number: int, **fields: Any) -> None:
        part = self.parts[name][2][number]
        self.parts[name][2][number] = dataclasses.replace(part, **fields)

    def write(self) -> Path:
        self.folder.mkdir(exist_ok=True)
        for file, data in self.files.items():
            (self.folder / file).write_bytes(data)
        (self.folder / ".metadata").write_bytes(index_bytes(self.parts))
        return self.folder


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    saved = Saved(tmp_path / "step 9")
    saved.add("net.rows", ROWS[:4], (7, 3), (0, 0), "__0_0.distcp")
    saved.add("net.rows", ROWS[4:], (7, 3), (4, 0), "__1_0.distcp")
    saved.add("net.whole", WHOLE, (5,), (0,), "__1_0.distcp")
    return saved


def refusal(folder: Path) -> str:
    with pytest.raises(SourceError) as refused:
        open_source(folder)
    assert refused.value.where.startswith(str(folder))
    return f"{refused.value.where.removeprefix(str(folder)).removeprefix(': ')}: {refused.value.what}".removeprefix(
        ": "
    )


def test_tensors_in_parts_are_whole_in_the_checkpoint(saved: Saved) -> None:
    result = convert(saved.write(), saved.folder.parent / "out", architecture="none")
    assert (result.source.name, result.source.container) == ("step 9", "dcp")
    assert result.source.bytes == sum(file.stat().st_size for file in saved.folder.iterdir())
    with Checkpoint(saved.folder.parent / "out") as checkpoint:
        assert np.array_equal(checkpoint.tensors["net.rows"], ROWS)
        assert np.array_equal(checkpoint.tensors["net.whole"], WHOLE)


def test_a_folder_is_told_as_a_file_is(saved: Saved) -> None:
    told = summarize(saved.write())
    assert [tensor.name for network in told.networks for tensor in network.tensors] == ["net.rows", "net.whole"]


def test_a_folder_among_many_files_is_converted_once(saved: Saved) -> None:
    saved.write()
    found = find_sources([saved.folder.parent], saved.folder.parent / "out")
    assert [(item.source, Path(item.dest).name) for item in found.items] == [(str(saved.folder), "step 9")]
    alone = find_sources([saved.folder], saved.folder.parent / "out")
    assert [Path(item.dest).name for item in alone.items] == ["step 9"]
    for status in ("converted", "unchanged"):
        assert [outcome.status for outcome in convert_many(found.items, architecture="none")] == [status]


@pytest.mark.parametrize("name", [".metadata", "__1_0.distcp"])
def test_a_file_of_it_points_to_the_folder(saved: Saved, name: str) -> None:
    file = saved.write() / name
    with pytest.raises(SourceError) as refused:
        open_source(file)
    assert str(refused.value) == (
        f"{file}: is part of a folder of torch.distributed.checkpoint, whose tensors lie in parts; "
        f"give the folder: {saved.folder}"
    )


def test_a_process_that_had_nothing_to_save_leaves_an_empty_file(saved: Saved) -> None:
    (saved.write() / "__2_0.distcp").write_bytes(b"")
    with open_source(saved.folder) as source:
        assert sorted(source.members[""]) == ["net.rows", "net.whole"]


def test_files_of_an_earlier_save_are_named(saved: Saved) -> None:
    for name in ("__2_0.distcp", "__3_0.distcp"):
        (saved.write() / name).write_bytes(b"PK")
    assert refusal(saved.folder) == (
        "holds files of an earlier save, of which .metadata does not tell: __2_0.distcp, __3_0.distcp"
    )


def test_a_save_that_was_not_finished_is_refused(saved: Saved) -> None:
    saved.write().joinpath(".metadata.tmp").write_bytes(b"")
    assert refusal(saved.folder) == "holds .metadata.tmp, so the last save into it was not finished"
    for name in (".metadata.tmp", ".metadata"):
        (saved.folder / name).unlink()
    assert refusal(saved.folder) == "has no .metadata, so its save was not finished"


def astray(saved: Saved) -> None:
    """Let the index tell of a file outside of the folder."""
    del saved.files["__1_0.distcp"]
    saved.change("net.rows", 1, file="../__1_0.distcp")
    saved.change("net.whole", 0, file="../__1_0.distcp")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda saved: saved.parts["net.rows"][2].pop(),
            "__1_0.distcp: the part of net.whole at byte 920 leaves 920 bytes before it",
        ),
        (
            lambda saved: saved.change("net.rows", 1, at=(3, 0)),
            "net.rows: __0_0.distcp and __1_0.distcp both hold the same elements of net.rows",
        ),
        (
            lambda saved: saved.change("net.rows", 1, at=(5, 0)),
            "net.rows: net.rows has the shape (7, 3), its part in __1_0.distcp reaches outside of it",
        ),
        (
            lambda saved: saved.parts.update({"net.rows": ("F32", (8, 3), saved.parts["net.rows"][2])}),
            "net.rows: net.rows has 24 elements, of which its parts hold 21",
        ),
        (
            lambda saved: saved.change("net.rows", 1, lengths=(2, 3)),
            ".metadata: says that the part of net.rows in __1_0.distcp is F32 [2, 3], it is F32 [3, 3]",
        ),
        (
            lambda saved: saved.parts.update({"net.whole": ("F32", (5,), saved.parts["net.whole"][2])}),
            ".metadata: says that the part of net.whole in __1_0.distcp is F32 [5], it is I64 [5]",
        ),
        (
            lambda saved: saved.change("net.whole", 0, length=10**12),
            "__1_0.distcp: has 1,719 bytes where .metadata tells of 1,000,000,000,920",
        ),
        (
            lambda saved: saved.change("net.whole", 0, offset=600),
            "__1_0.distcp: the part of net.whole at byte 600 overlaps the one before it",
        ),
        (
            lambda saved: (
                [saved.files.pop("__1_0.distcp")]
                + [saved.change(name, 1 - i, file="../__1_0.distcp") for i, name in enumerate(saved.parts)]
            ),
            "../__1_0.distcp: names '../__1_0.distcp', which is not the name of a file in the folder",
        ),
        (
            lambda saved: saved.files.pop("__1_0.distcp"),
            "__1_0.distcp: is missing",
        ),
    ],
)
def test_an_index_that_does_not_fit_its_files_is_refused(
    saved: Saved, change: Callable[[Saved], object], said: str
) -> None:
    change(saved)
    assert refusal(saved.write()) == said


def test_a_part_that_lies_nowhere_is_missed(saved: Saved) -> None:
    index = index_bytes(saved.parts)
    gone = saved.parts["net.whole"][2].pop()
    saved.files["__1_0.distcp"] = saved.files["__1_0.distcp"][: gone.offset]
    saved.write()
    assert refusal(saved.folder) == "net.whole: net.whole is of no dtype"
    (saved.folder / ".metadata").write_bytes(index)
    assert refusal(saved.folder) == "__1_0.distcp: has 920 bytes where .metadata tells of 1,719"


def test_an_index_that_names_what_no_index_names_is_refused(saved: Saved) -> None:
    saved.write()
    for name in (("os", "system"), ("builtins", "eval"), ("torch.hub", "load"), ("my.code", "Planner")):
        (saved.folder / ".metadata").write_bytes(pickled(Call(Name(*name), ("touch /tmp/owned",))))
        with pytest.raises(UnsafeSource) as refused:
            open_source(saved.folder, allow_unsafe=True)
        assert refused.value.what == (
            f"refused, its pickle names {'.'.join(name)}, which no torch.distributed.checkpoint writes; nothing was run"
        )


def test_a_part_that_would_run_code_is_refused(saved: Saved, make: Any) -> None:
    evil = make.zip([make.Rec("archive/data.pkl", pickled(Call(Name("os", "system"), ("true",)))),
                     make.Rec("archive/version", b"3\n")])  # fmt: skip
    begin = len(saved.files["__1_0.distcp"])
    saved.files["__1_0.distcp"] += evil
    saved.parts["more"] = "F32", (1,), [Slice((0,), (1,), "__1_0.distcp", begin, len(evil))]
    with pytest.raises(UnsafeSource) as refused:
        open_source(saved.write())
    assert refused.value.what == "refused, its pickle calls os.system; nothing was run"
    assert refused.value.where == f"{saved.folder}: __1_0.distcp: more: data.pkl"


@pytest.mark.parametrize("data", [b"", b"\x80\x04N.", b"\x80\x04}.", b"\x80\x02(lp0\n.", b"not a pickle"])
def test_an_index_that_is_none_is_refused(saved: Saved, data: bytes) -> None:
    (saved.write() / ".metadata").write_bytes(data)
    with pytest.raises(SourceError):
        open_source(saved.folder)


def test_every_cut_of_an_index_is_refused(saved: Saved) -> None:
    saved.write()
    whole = index_bytes(saved.parts)
    for end in range(0, len(whole), 97):
        (saved.folder / ".metadata").write_bytes(whole[:end])
        with pytest.raises(SourceError):
            open_source(saved.folder)


def test_a_flipped_bit_is_found(saved: Saved) -> None:
    data = saved.files["__1_0.distcp"]
    at = data.index(ROWS[4:].tobytes()) + 5
    saved.files["__1_0.distcp"] = data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]
    with pytest.raises(SourceError) as refused:
        open_source(saved.write())
    assert refused.value.code == "source.crc"


def test_a_file_that_is_replaced_while_it_is_read_is_noticed(saved: Saved) -> None:
    with pytest.raises(SourceError) as refused, open_source(saved.write()):
        (saved.folder / "__0_0.distcp").write_bytes(saved.files["__0_0.distcp"])
    assert refused.value.code == "source.changed"


def test_a_link_out_of_the_folder_is_not_followed(saved: Saved) -> None:
    moved = (saved.write() / "__0_0.distcp").rename(saved.folder.parent / "elsewhere")
    os.symlink(moved, saved.folder / "__0_0.distcp")
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source(saved.folder)


# Shards of safetensors


def shards(folder: Path, rows: int, processes: int) -> None:
    """Write the shards of a tensor of so many rows, as equal as torch makes them."""
    folder.mkdir(exist_ok=True)
    whole = np.arange(rows * 2, dtype="f4").reshape(rows, 2)
    size = -(-rows // processes)
    for number in range(processes):
        begin = number * size
        where = json.dumps({"w": {"saved_offsets": [begin, 0]}})
        tensors = {"w": whole[begin : begin + size]}
        save_file(tensors, folder / shard(number + 1), {"DCP_SHARDING_INFO": where, "format": "pt"})


def shard(number: int) -> str:
    return f"shard-{number:05}-model-00001-of-00001.safetensors"


def test_shards_are_joined_and_that_one_may_be_missing_is_said(tmp_path: Path) -> None:
    shards(tmp_path / "a", 11, 4)
    result = convert(tmp_path / "a", tmp_path / "out", architecture="none")
    assert result.source.container == "dcp-safetensors"
    with Checkpoint(tmp_path / "out") as checkpoint:
        assert np.array_equal(checkpoint.tensors["w"], np.arange(22, dtype="f4").reshape(11, 2))
    said = [problem for problem in result.warnings if problem.code == "source.open-ended"]
    assert [problem.message for problem in said] == ["has 4 shards and none says how many there are"]


def test_shards_of_an_earlier_save_by_more_processes_are_named(tmp_path: Path) -> None:
    shards(tmp_path / "a", 11, 4)
    shards(tmp_path / "a", 11, 2)
    assert refusal(tmp_path / "a") == (
        f"holds shards of an earlier save by more processes, whose elements others hold too: {shard(3)}, {shard(4)}"
    )


def test_shards_of_one_process_in_two_cuts_are_named(tmp_path: Path) -> None:
    shards(tmp_path / "a", 4, 1)
    other = "shard-00001-model-00001-of-00002.safetensors"
    (tmp_path / "a" / other).write_bytes((tmp_path / "a" / shard(1)).read_bytes())
    said = refusal(tmp_path / "a")
    assert said == f"holds shards of two saves: {shard(1)} and {other} hold the same elements"


def test_a_shard_that_is_missing_in_the_middle_leaves_a_gap(tmp_path: Path) -> None:
    shards(tmp_path / "a", 11, 4)
    (tmp_path / "a" / shard(2)).unlink()
    assert refusal(tmp_path / "a") == "w has 22 elements, of which its parts hold 16"


def test_one_shard_is_no_network(tmp_path: Path) -> None:
    shards(tmp_path / "a", 11, 4)
    with pytest.raises(SourceError, match="is part of a folder of torch"):
        open_source(tmp_path / "a" / shard(2))
    alone = (tmp_path / "a" / shard(2)).rename(tmp_path / "model.safetensors")
    with pytest.raises(SourceError) as refused:
        open_source(alone)
    assert refused.value.what == "holds parts of tensors, and other files the rest"


@pytest.mark.parametrize("where", ["{}", "[]", "{", '{"w": {"saved_offsets": [-1, 0]}}', '{"w": {"saved_offsets": 1}}',
                                   '{"w": {"saved_offsets": [0]}}', '{"w": {"saved_offsets": [true, 0]}}'])  # fmt: skip
def test_a_shard_that_lies_of_its_place_is_refused(tmp_path: Path, where: str) -> None:
    (tmp_path / "a").mkdir()
    save_file({"w": np.ones((2, 2), "f4")}, tmp_path / "a" / shard(1), {"DCP_SHARDING_INFO": where})
    with pytest.raises(SourceError) as refused:
        open_source(tmp_path / "a")
    assert refused.value.code == "source.shard"


# Joining


def tensor(array: np.ndarray, *, turned: bool = False) -> LegacyTensor:
    """A part as it may be stored: dense, or with its dimensions in another order."""
    data = np.ascontiguousarray(array.T if turned else array)
    strides = tuple(n // 8 for n in (data.T if turned else data).strides)
    return LegacyTensor("I64", array.shape, strides, 0, Storage("0", "I64", MemoryBlock(data.tobytes())))


@st.composite
def grids(draw: st.DrawFn) -> tuple[np.ndarray, list[Part]]:
    """A tensor and its parts on a grid of cuts, in any order, some of them empty."""
    shape = tuple(draw(st.lists(st.integers(0, 6), min_size=1, max_size=4)))
    whole = np.arange(int(np.prod(shape)), dtype="i8").reshape(shape)
    cuts = [sorted({0, n, *draw(st.lists(st.integers(0, n), max_size=2))}) for n in shape]
    spans = [list(pairwise(cut)) or [(0, 0)] for cut in cuts]
    boxes = [()]
    for span in spans:
        boxes = [(*box, one) for box in boxes for one in span]
    parts = []
    for number, box in enumerate(draw(st.permutations(boxes))):
        piece = whole[tuple(slice(a, b) for a, b in box)]
        parts.append(Part(tuple(a for a, _ in box), tensor(piece, turned=draw(st.booleans())), str(number)))
    return whole, parts


@given(grids(), st.integers(1, 40))
def test_any_grid_of_parts_is_the_whole_read_in_any_steps(grid: tuple[np.ndarray, list[Part]], step: int) -> None:
    whole, parts = grid
    with closing(Spool(1 << 20)) as spool:
        joined = join("w", whole.shape, parts, spool, Budget())
        assert b"".join(joined.chunks()) == whole.tobytes()
        data = joined.storage.data
        if data is not None and len(parts) > 1 and whole.size:
            read = (data.read(at, min(step, data.size - at)) for at in range(0, data.size, step))
            assert b"".join(read) == whole.tobytes()


@given(grids(), st.data())
def test_a_part_too_few_or_twice_is_refused(grid: tuple[np.ndarray, list[Part]], data: st.DataObject) -> None:
    whole, parts = grid
    filled = [part for part in parts if part.tensor.size]
    if not filled:
        return
    one = data.draw(st.sampled_from(filled))
    for wrong in ([part for part in parts if part is not one], [*parts, one]):
        spool = Spool(1 << 20)
        with pytest.raises(SourceError), closing(spool):
            join("w", whole.shape, wrong, spool, Budget())


def test_parts_of_a_few_bytes_each_are_not_read_by_the_million() -> None:
    whole = np.zeros((3_000_000, 2), "i1")
    block = MemoryBlock(whole[:, :1].tobytes())
    half = LegacyTensor("I8", (3_000_000, 1), (1, 1), 0, Storage("0", "I8", block))
    parts = [Part((0, 0), half, "a"), Part((0, 1), half, "b")]
    with pytest.raises(TooCostly):
        join("w", whole.shape, parts, Spool(1 << 20), Budget())


def test_every_error_is_one_of_ours(saved: Saved) -> None:
    """A bit flipped anywhere in the index is refused in a sentence, or changes nothing of the tensors' numbers."""
    saved.write()
    whole = index_bytes(saved.parts)
    for at in range(0, len(whole), 41):
        (saved.folder / ".metadata").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            with open_source(saved.folder) as source:
                found = source.members[""]
        except CkptError:
            continue
        arrays = [t for t in found.values() if isinstance(t, LegacyTensor)]
        assert sum(t.size for t in arrays) == ROWS.size + WHOLE.size
