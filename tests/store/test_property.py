"""Whatever a writer is given, whatever lies beside: an error and the old checkpoint, or one that opens and loads."""

import contextlib
import dataclasses
import json
import os
import pickle
import socket
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.format.digest import manifest_digest
from ckptfmt.format.jsontext import render
from ckptfmt.format.manifest import Lineage, Resume
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.forms import compress, decompress
from ckptfmt.store.manager import CheckpointManager
from ckptfmt.store.merge import merge
from ckptfmt.store.repair import repair
from ckptfmt.store.write import update_manifest

TEXT = st.text(st.characters(codec=None, exclude_categories=()) | st.sampled_from("\ud800\udfff\0\n$"), max_size=8)
ODD = st.sampled_from(
    [
        "$float",
        "$int",
        "__metadata__",
        "",
        "\ud800",
        b"bytes",
        object(),
        2**53,
        -(10**400),
        10**1200,
        1e308,
        5e-324,
        -0.0,
        float("nan"),
        np.float32(0.1),
        np.int8(-3),
        np.bool_(True),
        np.str_("x"),
        np.zeros(2),
        {1, 2},
        range(3),
        print,
        ckptfmt.ModelConfig(n_action=3),
        Lineage(kind="trained"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | ODD
KEYS = TEXT | st.integers() | st.floats() | st.booleans() | st.none() | st.sampled_from(["$float", "$int", "manager"])


def nested(depth):
    value = {"x": 1}
    for _ in range(depth):
        value = [value] if depth % 3 else {"y": value}
    return value


VALUES = st.recursive(
    SCALARS | st.integers(0, 90).map(nested),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3) | VALUES
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "training_info": OBJECTS,
        "environment": OBJECTS,
        "extra": OBJECTS,
        "evaluation": st.lists(OBJECTS, max_size=2) | VALUES,
        "lineage": st.builds(
            Lineage, kind=st.sampled_from(["trained", "resumed", "finetuned"]) | VALUES, parent=VALUES, code=OBJECTS
        )
        | VALUES,
        "resume": st.builds(Resume, has=st.tuples(SCALARS), lacks=st.tuples(SCALARS) | VALUES) | VALUES,
        "config": VALUES,
    },
)
ARRAYS = st.builds(
    np.zeros,
    st.sampled_from([(), (0,), (2,), (1, 3), (1,) * 32]),
    st.sampled_from(["f4", "f8", "f2", "i8", "u1", "?", "c8", "c16", "f4", "m8[s]", "U3"]),
)
TENSORS = st.dictionaries(TEXT | st.sampled_from(["__metadata__", "a.b", "a", "\ud800", "x" * 300]), ARRAYS, max_size=4)


def a_file(path):
    path.write_text("mine")


def a_folder(path):
    path.mkdir()
    (path / "weights.safetensors").write_text("something of mine that is long enough to be looked at")


def a_link(path):
    path.symlink_to(".")


def a_pipe(path):
    os.mkfifo(path)


def a_free_lock(path):
    path.write_text(f'{{"host": "{socket.gethostname()}", "process": 1}}')


NEIGHBOURS = st.none() | st.tuples(
    st.sampled_from([".out.ckpt-lock", ".out.ckpt-old", ".out.ckpt-stage-0123456789abcdef", ".out.ckpt-owner"]),
    st.sampled_from([a_file, a_folder, a_link, a_pipe, a_free_lock]),
)


def tree(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else path.lstat().st_mode
        for path in sorted(folder.rglob("*"))
    }


def assert_whole(path: Path) -> None:
    report = ckptfmt.validate(path)
    assert report.valid, [str(problem) for problem in report.errors]
    with Checkpoint(path) as checkpoint:
        checkpoint.verify()
        for array in checkpoint.tensors.values():
            assert array is not None


def assert_kept(root: Path, target: Path, write, neighbour) -> None:
    """Do one write beside a neighbour, and see the promise kept."""
    if neighbour is not None:
        neighbour[1](root / neighbour[0])
    beside = {name: what for name, what in tree(root).items() if name.startswith(".")}
    before = tree(target) if target.exists() else None
    failed = False
    try:
        write()
    except CkptError:
        failed = True
    if failed:
        assert (tree(target) if target.exists() else None) == before
    else:
        assert_whole(target)
    after = {name: what for name, what in tree(root).items() if name.startswith(".")}
    gone = beside.keys() - after.keys()
    assert not gone or neighbour[1] is a_free_lock
    assert {name: what for name, what in after.items() if name in beside} == {
        name: what for name, what in beside.items() if name not in gone
    }
    assert not after.keys() - beside.keys()


def flip(file: Path, place: int, bit: int) -> None:
    """Turn a bit of a file over, wherever `place` falls in it."""
    data = bytearray(file.read_bytes())
    data[place % len(data)] ^= 1 << bit
    file.write_bytes(data)


def fresh(there: bool):
    """Return a folder of its own, with a checkpoint in it."""
    folder = tempfile.TemporaryDirectory(prefix="property-")
    root = Path(folder.name)
    if there:
        ckptfmt.save(root / "out", {"a": np.arange(3, dtype="f4")}, None, {"step": 1}).close()
    return folder, root


@settings(max_examples=100)
@given(tensors=TENSORS, parts=PARTS, there=st.booleans(), overwrite=st.booleans(), neighbour=NEIGHBOURS)
def test_a_save_is_whole_or_an_error(tensors, parts, there, overwrite, neighbour):
    folder, root = fresh(there)
    with folder:
        write = lambda: ckptfmt.save(root / "out", tensors, overwrite=overwrite, **parts).close()  # noqa: E731
        assert_kept(root, root / "out", write, neighbour)


@settings(max_examples=50)
@given(
    field=st.sampled_from(["training_info", "environment", "extra", "evaluation", "lineage", "resume", "created_by"]),
    value=OBJECTS,
    neighbour=NEIGHBOURS,
)
def test_a_change_of_the_manifest_is_whole_or_an_error(field, value, neighbour):
    folder, root = fresh(True)
    with folder:
        change = lambda m: dataclasses.replace(m, **{field: value})  # noqa: E731
        assert_kept(root, root / "out", lambda: update_manifest(root / "out", change), neighbour)


@settings(max_examples=40)
@given(tensors=TENSORS, parts=PARTS, metrics=VALUES, background=st.booleans(), step=st.integers(0, 2))
def test_a_step_of_a_manager_is_whole_or_an_error(tensors, parts, metrics, background, step):
    folder, root = fresh(False)
    with folder:
        CheckpointManager(root).save(1, {"a": np.zeros(3, "f4")})

        def write() -> None:
            with CheckpointManager(root, keep_last=1, background=background) as manager:
                manager.save(step, tensors, metrics=metrics, overwrite=True, **parts)

        assert_kept(root, root / f"step-{step:012d}", write, None)
        for left in root.iterdir():
            assert_whole(left)


@settings(max_examples=40)
@given(tensors=TENSORS, facts=st.dictionaries(TEXT, VALUES, max_size=3), there=st.booleans(), neighbour=NEIGHBOURS)
def test_a_conversion_is_whole_or_an_error(tensors, facts, there, neighbour):
    folder, root = fresh(there)
    with folder, tempfile.TemporaryDirectory() as elsewhere:
        source = Path(elsewhere) / "source.pkl"
        try:
            source.write_bytes(pickle.dumps({"state_dict": tensors, **facts}))
        except Exception:
            return
        convert = lambda: ckptfmt.convert(source, root / "out", overwrite=True, architecture="none")  # noqa: E731
        assert_kept(root, root / "out", convert, neighbour)


@settings(max_examples=40)
@given(
    byte=st.integers(0, 1 << 30),
    bit=st.integers(0, 7),
    spoilt=st.sampled_from(["manifest.json", "weights.safetensors"]),
    in_place=st.booleans(),
    neighbour=NEIGHBOURS,
)
def test_a_repair_is_whole_or_an_error(byte, bit, spoilt, in_place, neighbour):
    folder, root = fresh(True)
    with folder, tempfile.TemporaryDirectory() as elsewhere:
        damaged = root / "out" if in_place else Path(elsewhere) / "damaged"
        if not in_place:
            ckptfmt.save(damaged, {"a": np.arange(4, dtype="f8")}).close()
            os.rename(root / "out", Path(elsewhere) / "gone")
        flip(damaged / spoilt, byte, bit)
        target = {"in_place": True} if in_place else {"dest": root / "out"}
        assert_kept(root, root / "out", lambda: repair(damaged, **target), neighbour)


SOUND = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), ARRAYS, max_size=4).filter(
    lambda arrays: all(array.dtype.kind in "fiub" for array in arrays.values()) and "__metadata__" not in arrays
)


@settings(max_examples=60)
@given(
    tensors=SOUND,
    state=st.none() | SOUND,
    stored=st.booleans(),
    everything=st.booleans(),
    spoilt=st.none() | st.tuples(st.integers(0, 1 << 30), st.integers(0, 7)),
    neighbour=NEIGHBOURS,
)
def test_a_change_of_form_is_whole_or_an_error(tensors, state, stored, everything, spoilt, neighbour):
    """A checkpoint that is damaged stays as it is, to the byte; a sound one is the same checkpoint in any form."""
    folder, root = fresh(False)
    with folder:
        ckptfmt.save(root / "out", {**tensors, "zeros": np.zeros(4096)}, state=state).close()
        if stored:
            compress(root / "out", everything=True)
        manifest = (root / "out" / "manifest.json").read_bytes()
        if spoilt is not None:
            file = next(path for path in (root / "out").iterdir() if path.name.startswith("weights"))
            flip(file, *spoilt)
        work = decompress if stored else compress
        options = {} if stored else {"everything": everything}
        assert_kept(root, root / "out", lambda: work(root / "out", **options), neighbour)
        assert (root / "out" / "manifest.json").read_bytes() == manifest


@settings(max_examples=40)
@given(
    halves=st.lists(SOUND, min_size=2, max_size=3),
    spoilt=st.none() | st.tuples(st.integers(0, 1 << 30), st.integers(0, 7)),
    in_place=st.booleans(),
    there=st.booleans(),
    neighbour=NEIGHBOURS,
)
def test_a_merge_is_whole_or_an_error(halves, spoilt, in_place, there, neighbour):
    folder, root = fresh(there)
    with folder, tempfile.TemporaryDirectory() as elsewhere:
        apart = root / "out" if in_place else Path(elsewhere) / "apart"
        parts = [{f"{i}{name}": array for name, array in half.items()} for i, half in enumerate(halves)]
        ckptfmt.save(apart, parts, overwrite=True).close()
        if spoilt is not None:
            file = apart / f"weights-00001-of-0000{len(halves)}.safetensors"
            flip(file, *spoilt)
        target = {"in_place": True} if in_place else {"dest": root / "out"}
        # A part without tensors is read by nobody, so damage to it is no harm.
        assert_kept(root, root / "out", lambda: merge(apart, **target), neighbour)


@settings(max_examples=60)
@given(
    facts=st.dictionaries(st.sampled_from(["blake3", "digest", "tensors", "files", "x"]), VALUES, max_size=3),
    byte=st.none() | st.integers(0, 1 << 30),
    in_place=st.booleans(),
    there=st.booleans(),
    neighbour=NEIGHBOURS,
)
def test_an_upgrade_is_whole_or_an_error(facts, byte, in_place, there, neighbour):
    folder, root = fresh(False)
    with folder, tempfile.TemporaryDirectory() as elsewhere:
        old = root / "out" if in_place else Path(elsewhere) / "old"
        try:
            ckptfmt.save(old, {"a": np.arange(3), "blake3": np.zeros(2)}, extra=facts).close()
        except CkptError:
            return
        write_before_the_release(old)
        if byte is not None:
            flip(old / "weights.safetensors", byte, 0)
        if there and not in_place:
            ckptfmt.save(root / "out", {"mine": np.ones(2)}).close()
        target = {"in_place": True} if in_place else {"dest": root / "out"}
        sound = ckptfmt.validate(old).valid

        def work() -> None:
            ckptfmt.upgrade(old, **target)
            if not sound:
                # Only the manifest is another one: what is damaged stays as it was, and is found.
                assert in_place
                assert not ckptfmt.validate(old).valid
                raise CkptError("was damaged before")

        if in_place and not sound:
            before = (old / "weights.safetensors").read_bytes()
            with contextlib.suppress(CkptError):
                work()
            assert (old / "weights.safetensors").read_bytes() == before
        else:
            assert_kept(root, root / "out", work, neighbour)


def write_before_the_release(path: Path) -> None:
    """Write the manifest as it was before 1.0 was settled."""
    raw = json.loads((path / "manifest.json").read_text())
    for tensor in raw["files"]["weights.safetensors"]["tensors"].values():
        tensor["blake3"] = tensor.pop("digest").removeprefix("blake3:")
    raw["manifest_digest"] = manifest_digest(raw)
    (path / "manifest.json").write_text(render(raw))
