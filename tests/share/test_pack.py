"""A run goes into one file and comes out of it, every byte; what was damaged or made to mislead is refused."""

import dataclasses
import json
import os
import random
import shutil
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ckptfmt
from ckptfmt.errors import CkptError, TargetExists, WriteError
from ckptfmt.format.digest import new_blake3
from ckptfmt.format.frames import Encoder
from ckptfmt.share.pack import Archive, check, pack, unpack
from ckptfmt.share.pack import writer as writing
from ckptfmt.share.pack.coding import encode_part, restore_part, shuffle, unshuffle
from ckptfmt.share.pack.index import FOOTER, MARK, BadArchive, Footer, parse_index
from ckptfmt.store.forms import compress

STEPS = 6


def steps(folder: Path, count: int = STEPS) -> Path:
    """A run whose weights change a little from step to step, as training changes them."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(300, 200)).astype("f4")
    moments = np.zeros_like(weights)
    for step in range(1, count + 1):
        changed = generator.random(weights.shape) < 0.2
        moments = np.where(changed, generator.normal(size=weights.shape) / 1000, moments).astype("f4")
        weights = (weights + moments * changed).astype("f4")
        state = {"exp_avg": moments, "target": weights if step % 2 else weights * 1, "step": np.array(step)}
        replay = {"frames": np.repeat(np.arange(step * 10, dtype="u1"), 5000)}
        info = {"frame_idx": step}
        ckptfmt.save(folder / f"step-{step:012d}", {"w": weights}, None, info, state=state, replay=replay).close()
    (folder / "tensorboard").mkdir()
    (folder / "tensorboard" / "events").write_bytes(b"event" * 100)
    (folder / "empty" / "deep").mkdir(parents=True)
    (folder / "curve.json").write_text("[1, 2]")
    (folder / "nothing").write_bytes(b"")
    (folder / os.fsdecode(b"odd\\ name \xff\n")).write_bytes(b"odd")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return steps(tmp_path_factory.mktemp("runs") / "pong")


@pytest.fixture
def packed(run, tmp_path) -> Path:
    pack(run, tmp_path / "pong.ckptpack")
    return tmp_path / "pong.ckptpack"


def tree(folder: Path) -> dict[str, bytes | None]:
    found = {}
    for path in folder.rglob("*"):
        found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else None
    return found


@pytest.mark.parametrize("form", ["plain", "compressed", "mixed"])
def test_every_byte_comes_back_whatever_the_form(tmp_path, form):
    run = steps(tmp_path / "run")
    for number, folder in enumerate(sorted(run.glob("step-*"))):
        if form == "compressed" or (form == "mixed" and number % 2):
            compress(folder)
    done = pack(run, tmp_path / "a.pack")
    assert (done.checkpoints, done.left) == (STEPS, ())
    assert done.stored == (tmp_path / "a.pack").stat().st_size
    assert done.bytes == sum(len(data) for data in tree(run).values() if data is not None)
    out = unpack(tmp_path / "a.pack", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(run)
    assert (out.run, out.bytes, len(out.files)) == ("run", done.bytes, done.files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pack", "out", "run"]


def test_checkpoints_are_stored_as_what_changed(run, packed, tmp_path):
    alone = tmp_path / "alone.pack"
    first = sorted(run.glob("step-*"))[0]
    pack(first, alone)
    one = alone.stat().st_size - len((first / "manifest.json").read_bytes())
    assert packed.stat().st_size < 0.6 * STEPS * one
    with Archive(packed) as archive:
        assert any(part.base >= 0 for part in archive.index.parts)
        # The target network of odd steps is the network: its bytes are there once.
        stored = [number for file in archive.index.files for number in file.parts]
        assert len(set(stored)) < len(stored)


def test_the_same_run_gives_the_same_archive(run, packed, tmp_path):
    pack(run, tmp_path / "again.pack")
    assert (tmp_path / "again.pack").read_bytes() == packed.read_bytes()


def test_one_checkpoint_is_read_without_the_others(run, packed, tmp_path):
    name = f"step-{3:012d}"
    with Archive(packed) as archive:
        needed = set()
        for file in archive.find(name):
            for number in file.parts:
                while number >= 0:
                    needed.add(number)
                    number = archive.index.parts[number].base
        others = [part for number, part in enumerate(archive.index.parts) if number not in needed]
    assert others
    data = bytearray(packed.read_bytes())
    for part in others:
        data[part.offset : part.offset + part.stored] = bytes(part.stored)
    packed.write_bytes(data)
    unpack(packed, tmp_path / "one", only=[name])
    assert tree(tmp_path / "one" / name) == tree(run / name)
    with pytest.raises(BadArchive, match="a byte of it was changed"):
        unpack(packed, tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("place", ["pong.ckptpack", "tensorboard/pong.ckptpack"])
def test_an_archive_cannot_lie_in_the_run_that_it_holds(run, place):
    before = tree(run)
    with pytest.raises(WriteError) as caught:
        pack(run, run / place)
    assert (
        str(caught.value) == f"{run / place}: lies in {run}, which it is to hold; choose a place outside of that folder"
    )
    assert tree(run) == before


def test_one_file_is_enough_and_a_name_that_is_not_there_is_said(packed, tmp_path):
    unpack(packed, tmp_path / "one", only=["tensorboard/events"])
    assert tree(tmp_path / "one") == {"tensorboard": None, "tensorboard/events": b"event" * 100}
    for asked, fix in (("step-7", "it holds 28 files of other names"), ("curve", "did you mean 'curve.json'?")):
        with pytest.raises(CkptError) as caught:
            unpack(packed, tmp_path / "two", only=[asked])
        assert str(caught.value) == f"{packed}: holds no '{asked}'; {fix}"


def test_every_flipped_bit_is_found(tmp_path):
    (tmp_path / "run").mkdir()
    for name in "ab":
        (tmp_path / "run" / name).write_bytes(bytes(range(64)) + name.encode())
    pack(tmp_path / "run", tmp_path / "small.pack")
    data = (tmp_path / "small.pack").read_bytes()
    descriptor = os.open(tmp_path / "small.pack", os.O_RDWR)
    missed = []
    for bit in range(8 * len(data)):
        os.pwrite(descriptor, bytes([data[bit // 8] ^ 1 << bit % 8]), bit // 8)
        try:
            check(tmp_path / "small.pack")
            missed.append(bit)
        except BadArchive:
            pass
        os.pwrite(descriptor, data[bit // 8 : bit // 8 + 1], bit // 8)
    os.close(descriptor)
    assert missed == []
    check(tmp_path / "small.pack")


@pytest.mark.parametrize("kept", [0, 1, 15, 100, 0.5, -1])
def test_an_archive_that_was_cut_short_is_refused(packed, tmp_path, kept):
    data = packed.read_bytes()
    packed.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(BadArchive):
        unpack(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_not_an_archive_is_said(tmp_path):
    (tmp_path / "x").write_bytes(b"hello" * 100)
    with pytest.raises(BadArchive) as caught:
        check(tmp_path / "x")
    assert str(caught.value) == f"{tmp_path}/x: is no archive of a run; make one with: ckpt pack RUN FILE"
    with pytest.raises(CkptError, match="is missing; check the path"):
        check(tmp_path / "y")


def forged(change: Callable[[dict], object], parts: bytes = b"") -> bytes:
    """An archive whose index is changed and whose every digest is right again."""
    encoder = Encoder(3)
    frame = encoder.shrink(b"0123456789")
    document = {
        "run": "r",
        "folders": [],
        "files": [{"path": "a", "bytes": 10, "blake3": new_blake3(b"0123456789").hexdigest(), "parts": [0]}],
        "parts": [[len(frame), 10, 1, -1]],
    }
    change(document)
    text = json.dumps(document).encode("utf-8", "surrogateescape")
    body = MARK + frame + parts
    stored = encoder.shrink(text)
    footer = Footer(len(body), len(stored), len(text), new_blake3(text).digest(), b"").begin()
    return body + stored + footer + new_blake3(body + stored + footer).digest()


def put(*keys: object, value: object) -> Callable[[dict], None]:
    def change(document: dict) -> None:
        place = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def test_what_is_forged_by_this_test_is_an_archive_unless_it_is_changed(tmp_path):
    (tmp_path / "a.pack").write_bytes(forged(lambda document: None))
    unpack(tmp_path / "a.pack", tmp_path / "out")
    assert tree(tmp_path / "out") == {"a": b"0123456789"}


PATHS = ["../a", "/a", "a/../../b", "a//b", "", ".", "..", "a/", "a\0b", "a/" * 3000 + "a", 5, None, ["a"]]


@pytest.mark.parametrize(
    "change",
    [
        *(put("files", 0, "path", value=path) for path in PATHS),
        *(put("folders", value=[path]) for path in PATHS),
        *(put("run", value=name) for name in PATHS[:5]),
        put("folders", value=["a"]),
        put("folders", value=["a/b"]),
        put("folders", value=["b", "b"]),
        lambda d: d["files"].append(d["files"][0]),
        lambda d: d["files"].append({**d["files"][0], "path": "a/b"}),
        put("files", 0, "parts", value=[1]),
        put("files", 0, "parts", value=[-1]),
        put("files", 0, "parts", value=[0, 0]),
        put("files", 0, "parts", value=[True]),
        put("files", 0, "bytes", value=11),
        put("files", 0, "blake3", value="x"),
        put("parts", 0, 0, value=5),
        put("parts", 0, 1, value=1 << 40),
        put("parts", 0, 1, value=0),
        put("parts", 0, 2, value=3),
        put("parts", 0, 3, value=0),
        put("parts", 0, 3, value=-2),
        put("parts", 0, value=[1]),
        put("parts", value=None),
        put("files", value={}),
        lambda d: d.pop("run"),
        lambda d: d["parts"].append([1, 11, 1, 0]),
    ],
)
def test_an_index_that_no_writer_makes_is_refused(tmp_path, change):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.pack").write_bytes(forged(change, b"x" * 0))
    with pytest.raises(BadArchive):
        unpack(tmp_path / "in" / "a.pack", tmp_path / "in" / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.pack", "in"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        *((put("files", 0, "path", value=f"a/b{char}"), "names a file by what is no text") for char in "\ud800\udc41"),
        (put("folders", value=["\udfff"]), "names a file by what is no text"),
        (put("run", value="\ud800"), "names a file by what is no text"),
        (put("files", 0, "path", value="a/" + "é" * 128), "names a file by more than 255 bytes"),
        (put("files", 0, "path", value="a" * 256 + "/b"), "names a file by more than 255 bytes"),
        (put("parts", 0, value=[10 + 512 + 1, 10, 1, -1]), "part 0 has sizes that no archive has"),
        (put("parts", 0, value=[1 << 31, 10, 1, -1]), "part 0 has sizes that no archive has"),
    ],
)
def test_names_that_no_disk_takes_and_parts_that_take_more_than_any_are_refused(tmp_path, change, what):
    path = tmp_path / "a.pack"
    path.write_bytes(forged(change))
    with pytest.raises(BadArchive) as caught:
        unpack(path, tmp_path / "out")
    assert str(caught.value) == f"{path}: {what}; copy it again"


def test_a_name_of_bytes_that_are_no_text_is_one_that_a_disk_has(tmp_path):
    (tmp_path / "a.pack").write_bytes(forged(put("files", 0, "path", value="\udce9" + "é" * 127)))
    unpack(tmp_path / "a.pack", tmp_path / "out")
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"\xe9" + "é".encode() * 127]


def test_a_long_chain_of_parents_is_refused(tmp_path):
    frame = Encoder(3).shrink(bytes(10))

    def change(document: dict) -> None:
        document["parts"] += [[len(frame), 10, 1, number] for number in range(20)]

    (tmp_path / "a.pack").write_bytes(forged(change, frame * 20))
    with pytest.raises(BadArchive, match="part 17 has more than 16 parents"):
        check(tmp_path / "a.pack")


def test_an_index_that_claims_to_be_huge_is_refused_unread(tmp_path):
    data = bytearray(forged(lambda document: None))
    end, offset, stored, size, index, _ = FOOTER.unpack(data[-FOOTER.size :])
    data[-FOOTER.size :] = FOOTER.pack(end, offset, stored, 1 << 40, index, b"")
    (tmp_path / "a.pack").write_bytes(data)
    with pytest.raises(BadArchive, match="its footer does not fit its size"):
        check(tmp_path / "a.pack")
    data[-FOOTER.size :] = struct.pack("<8sQQQ32s32s", end, offset, stored, size + 1, index, b"")
    (tmp_path / "a.pack").write_bytes(data)
    with pytest.raises(BadArchive, match="its index is damaged"):
        check(tmp_path / "a.pack")


def test_an_index_that_shrinks_as_none_does_is_refused_in_little_memory(tmp_path):
    (tmp_path / "a.pack").write_bytes(forged(put("run", value="r" * (64 << 20))))
    tracemalloc.start()
    with pytest.raises(BadArchive, match="its footer does not fit its size"):
        check(tmp_path / "a.pack")
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_links_and_leftovers_are_left_out_and_said(tmp_path):
    run = steps(tmp_path / "run", 1)
    (tmp_path / "secret").write_text("mine")
    (run / "link").symlink_to("../secret")
    (run / "folder").symlink_to("..")
    os.mkfifo(run / "pipe")
    (run / ".step-000000000002.ckpt-stage-0123456789abcdef").mkdir()
    done = pack(run, tmp_path / "a.pack")
    assert done.left == (".step-000000000002.ckpt-stage-0123456789abcdef", "folder", "link", "pipe")
    unpack(tmp_path / "a.pack", tmp_path / "out")
    assert set(tree(run)) - set(tree(tmp_path / "out")) == set(done.left)


def test_what_is_there_is_not_replaced_unasked(run, packed, tmp_path):
    before = packed.read_bytes()
    with pytest.raises(TargetExists):
        pack(run, packed)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(TargetExists):
        unpack(packed, tmp_path / "out")
    assert (packed.read_bytes(), tree(tmp_path / "out")) == (before, {"mine": b"mine"})
    pack(run / "tensorboard", packed, overwrite=True)
    assert len(check(packed).files) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pong.ckptpack"]


def test_the_current_folder_is_not_replaced(packed, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for dest in (".", tmp_path / "here"):
        with pytest.raises(TargetExists) as caught:
            unpack(packed, dest)
        assert str(caught.value) == (
            f"{dest}: is the current folder, and this process would be left in one that is gone; "
            "change to another folder first"
        )
    assert not list(Path.cwd().iterdir())


def test_a_run_that_changes_while_it_is_packed_is_no_archive(tmp_path, monkeypatch):
    run = steps(tmp_path / "run", 2)
    plain = writing.cuts

    def cut(size, entry):
        with open(run / "curve.json", "a") as file:
            file.write("x")
        return plain(size, entry)

    monkeypatch.setattr(writing, "cuts", cut)
    with pytest.raises(WriteError) as caught:
        pack(run, tmp_path / "a.pack")
    assert str(caught.value) == f"{run}/curve.json: changed while it was packed; pack it again"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def in_the_midst(monkeypatch, change):
    """Let `change` happen once, when a weights file is about to be read; all of its checkpoint is open then."""
    plain, left = writing.cuts, [change]

    def cut(size, entry):
        if entry is not None and left:
            left.pop()()
        return plain(size, entry)

    monkeypatch.setattr(writing, "cuts", cut)


def other(folder):
    ckptfmt.save(folder, {"w": np.ones((300, 200), "f4")}, state={"m": np.ones(3)}, overwrite=True).close()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (other, "/state.safetensors"),
        (lambda best: os.rename(best, best.with_name("away")), ""),
        (lambda best: os.replace(best.parent / "spare", best / "weights.safetensors"), "/weights.safetensors"),
        (lambda best: (best / "weights.safetensors").unlink(), "/weights.safetensors"),
        (lambda best: os.truncate(best / "manifest.json", 10), "/manifest.json"),
    ],
    ids=["saved", "moved", "exchanged", "removed", "truncated"],
)
def test_no_archive_holds_half_of_two_checkpoints(tmp_path, monkeypatch, change, named):
    best = tmp_path / "run" / "best"
    other(best)
    (tmp_path / "run" / "spare").write_bytes(b"spare")
    in_the_midst(monkeypatch, lambda: change(best))
    with pytest.raises(WriteError) as caught:
        pack(tmp_path / "run", tmp_path / "a.pack")
    assert str(caught.value) == f"{best}{named}: changed while it was packed; pack it again"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_step_that_is_removed_before_it_is_reached_is_said(tmp_path, monkeypatch):
    run = tmp_path / "run"
    for name in ("a", "b"):
        other(run / name)
    in_the_midst(monkeypatch, lambda: shutil.rmtree(run / "b"))
    with pytest.raises(WriteError) as caught:
        pack(run, tmp_path / "a.pack")
    assert str(caught.value) == f"{run}/b: changed while it was packed; pack it again"


def test_the_only_copy_is_packed_also_where_it_was_set_aside(tmp_path):
    run = tmp_path / "run"
    for name in ("best", "before", "last"):
        other(run / name)
    (run / "before").rename(run / ".best.ckpt-old")
    assert pack(run, tmp_path / "both.pack").left == (".best.ckpt-old",)
    shutil.rmtree(run / "best")
    done = pack(run, tmp_path / "old.pack")
    assert (done.checkpoints, done.left) == (2, ())
    unpack(tmp_path / "old.pack", tmp_path / "out")
    with ckptfmt.open(tmp_path / "out" / "best") as checkpoint:
        checkpoint.verify()


def test_what_was_damaged_before_is_packed_and_said(tmp_path):
    run = tmp_path / "run"
    for name in ("a", "b"):
        other(run / name)
    file = run / "b" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    os.rename(run / "b" / "weights.safetensors", run / "b" / "model.safetensors")
    assert pack(run, tmp_path / "a.pack").damaged == ("b/state.safetensors",)
    unpack(tmp_path / "a.pack", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(run)


def test_a_damaged_checkpoint_is_kept_as_it_is(tmp_path):
    run = steps(tmp_path / "run", 2)
    (run / f"step-{1:012d}" / "manifest.json").write_bytes(b"{not JSON")
    os.truncate(run / f"step-{2:012d}" / "weights.safetensors", 1000)
    assert pack(run, tmp_path / "a.pack").checkpoints == 1
    unpack(tmp_path / "a.pack", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(run)


@given(st.binary(max_size=300), st.sampled_from([1, 2, 4, 8]))
def test_shuffled_bytes_come_back(data, width):
    assert sorted(shuffle(data, width)) == sorted(data)
    assert unshuffle(shuffle(data, width), width) == data


@given(st.binary(min_size=1, max_size=300), st.sampled_from([1, 2, 4, 8]), st.integers(0, 2**32))
def test_a_part_comes_back_however_it_was_stored(data, width, seed):
    base = bytearray(data)
    base[seed % len(base)] ^= 1
    for other in (None, bytes(base), random.Random(seed).randbytes(len(data))):
        frame, shuffled, differs = encode_part(Encoder(3), data, width, other)
        assert restore_part(frame, len(data), shuffled, other if differs else None) == data


def test_the_index_is_frozen_data(packed):
    with Archive(packed) as archive, pytest.raises(dataclasses.FrozenInstanceError):
        archive.index.run = "other"


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ("[" + "[]," * 1_000_001 + "[]]", "its index holds more than 300,000 lists and objects"),
        ("[" * 70 + "]" * 70, "its index nests deeper than 64 levels"),
    ],
    ids=["many", "deep"],
)
def test_an_index_of_more_than_memory_holds_is_refused_before_it_is_made(parts, what):
    text = f'{{"run": "r", "folders": [], "files": [], "parts": {parts}}}'.encode()
    with pytest.raises(BadArchive) as caught:
        parse_index(text, Footer(len(MARK), 1, len(text), new_blake3(text).digest(), b""), "a.pack")
    assert str(caught.value) == f"a.pack: {what}; copy it again"


def test_an_index_whose_folders_take_more_text_than_itself_is_refused():
    deep = "/a" * 2000
    folders = [f"{number:05d}{deep}" for number in range(40)]
    document = {"run": "r", "folders": folders, "files": [], "parts": []}
    text = json.dumps(document).encode()
    footer = Footer(len(MARK), 1, len(text), new_blake3(text).digest(), b"")
    with pytest.raises(BadArchive) as caught:
        parse_index(text, footer, "a.pack")
    assert str(caught.value) == "a.pack: its paths take more folders than those of any run; copy it again"
