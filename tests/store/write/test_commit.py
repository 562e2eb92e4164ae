import dataclasses
import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import Locked, NotACheckpoint, TargetExists, WeightsError, WriteError
from ckptfmt.format.files import WEIGHTS
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.save import tensor_file
from ckptfmt.store.write import TensorFile, remove_checkpoint, require_update, update_manifest, write_checkpoint
from ckptfmt.store.write.place import hold_place


def save(path, value=1.0, **options):
    ckptfmt.save(path, {"a": np.full((3, 2), value, "f4")}, **options).close()


def value(path):
    with Checkpoint(path) as checkpoint:
        return float(checkpoint.tensors["a"][0, 0])


def test_missing_parents_are_made_and_nothing_else_is_left(tmp_path):
    save(tmp_path / "runs" / "one" / "out")
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "runs",
        "runs/one",
        "runs/one/out",
        "runs/one/out/manifest.json",
        "runs/one/out/weights.safetensors",
    ]


def test_parents_made_for_a_save_that_fails_go_again(tmp_path):
    with pytest.raises(WeightsError):
        write_checkpoint(tmp_path / "a" / "b" / "out", {WEIGHTS: TensorFile({"x": Short()})}, no_manifest)
    assert os.listdir(tmp_path) == []


class Short:
    """A tensor that gives fewer bytes than its shape needs."""

    dtype = "F32"
    shape = (4,)

    def chunks(self):
        yield bytes(12)


def no_manifest(entries):
    raise AssertionError("the manifest comes after all tensors")


def test_a_tensor_that_gives_too_few_bytes_is_named(tmp_path):
    with pytest.raises(WeightsError) as caught:
        write_checkpoint(tmp_path / "out", {WEIGHTS: TensorFile({"x": Short()})}, no_manifest)
    assert str(caught.value) == f"{tmp_path}/out/weights.safetensors: x gave 12 bytes, its shape needs 16"


def test_what_is_there_is_replaced_only_when_told(tmp_path):
    save(tmp_path / "out")
    with pytest.raises(TargetExists) as caught:
        save(tmp_path / "out", 2)
    assert str(caught.value) == (
        f"{tmp_path}/out: exists and is not empty; add overwrite=True to replace it, or choose another folder"
    )
    assert value(tmp_path / "out") == 1
    save(tmp_path / "out", 2, overwrite=True)
    assert value(tmp_path / "out") == 2
    assert os.listdir(tmp_path) == ["out"]


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "out").mkdir()
    save(tmp_path / "out")
    assert value(tmp_path / "out") == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_never_replaced(tmp_path, overwrite):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(TargetExists) as caught:
        save(tmp_path / "out", overwrite=overwrite)
    assert str(caught.value) == f"{tmp_path}/out: is a file; choose another folder"
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_with_foreign_files_is_never_replaced(tmp_path):
    save(tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(TargetExists) as caught:
        save(tmp_path / "out", 2, overwrite=True)
    assert str(caught.value) == (
        f"{tmp_path}/out: holds 'notes.txt', which is no part of a checkpoint and would be lost; "
        "move it away, or choose another folder"
    )
    assert value(tmp_path / "out") == 1
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("target", ["real", "nowhere"])
def test_nothing_is_written_through_a_link(tmp_path, target):
    save(tmp_path / "real")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(TargetExists) as caught:
        save(tmp_path / "link", 2, overwrite=True)
    assert str(caught.value) == (
        f"{tmp_path}/link: is a link to '{target}', which is not written through it; "
        "name the folder itself, or remove the link"
    )
    for write in (lambda path: update_manifest(path, lambda m: m), require_update, remove_checkpoint):
        with pytest.raises((TargetExists, NotACheckpoint)):
            write(tmp_path / "link")
    assert os.readlink(tmp_path / "link") == target
    assert value(tmp_path / "real") == 1
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_what_keeps_an_update_from_writing_is_told_ahead(tmp_path, monkeypatch, locked):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "runs" / "out")
    before = ckptfmt.open("runs/out").manifest
    require_update("runs/out")
    assert ckptfmt.open("runs/out").manifest == before
    assert os.listdir("runs") == ["out"]
    with hold_place("runs/out"), pytest.raises(Locked, match="is being written by process"):
        require_update("runs/out")
    (tmp_path / "runs").chmod(0o777)
    locked(tmp_path / "runs" / "out", 0o555)
    with pytest.raises(WriteError) as caught:
        require_update("runs/out")
    assert str(caught.value) == "runs/out: cannot be written: Permission denied; choose a folder you may write to"


def test_links_on_the_way_to_the_target_are_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    save(tmp_path / "link" / "out")
    save(tmp_path / "link" / ".." / "link" / "out" / ".", 2, overwrite=True)
    assert value(tmp_path / "real" / "out") == 2


@pytest.mark.parametrize(("umask", "file", "folder"), [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700), (0, 0o666, 0o777)])
def test_modes_follow_the_umask(tmp_path, umask, file, folder):
    before = os.umask(umask)
    try:
        save(tmp_path / "out")
        update_manifest(tmp_path / "out", lambda m: dataclasses.replace(m, extra={"x": 1}))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == folder
    assert {stat.S_IMODE(f.stat().st_mode) for f in (tmp_path / "out").iterdir()} == {file}


def test_a_reader_keeps_the_checkpoint_it_opened(tmp_path):
    save(tmp_path / "out")
    with Checkpoint(tmp_path / "out") as checkpoint:
        save(tmp_path / "out", 2, overwrite=True)
        remove_checkpoint(tmp_path / "out")
        assert float(checkpoint.tensors["a"][0, 0]) == 1


def test_too_little_space_is_said_before_the_first_byte(tmp_path):
    class Huge:
        dtype = "F32"
        shape = (1 << 50,)

        def chunks(self):
            raise AssertionError("no byte is asked for")

    with pytest.raises(WriteError) as caught:
        write_checkpoint(tmp_path / "out", {WEIGHTS: TensorFile({"x": Huge()})}, no_manifest)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.what.startswith("needs 4,503,599,627,")
    assert caught.value.fix == "free some space or choose another folder"


def test_the_manifest_is_changed_alone_and_at_once(tmp_path):
    save(tmp_path / "out")
    inode = (tmp_path / "out" / WEIGHTS).stat().st_ino
    changed = update_manifest(tmp_path / "out", lambda m: dataclasses.replace(m, extra={"seen": 1}))
    with Checkpoint(tmp_path / "out") as checkpoint:
        assert checkpoint.manifest == changed
        assert checkpoint.manifest.extra == {"seen": 1}
    assert (tmp_path / "out" / WEIGHTS).stat().st_ino == inode
    assert os.listdir(tmp_path) == ["out"]


def test_the_files_listed_cannot_be_changed(tmp_path):
    save(tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    with pytest.raises(WriteError) as caught:
        update_manifest(tmp_path / "out", lambda m: dataclasses.replace(m, files={}))
    assert caught.value.code == "write.file-name"
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before


def test_there_must_be_a_checkpoint_to_update_or_remove(tmp_path):
    with pytest.raises(NotACheckpoint):
        update_manifest(tmp_path / "a" / "out", lambda m: m)
    with pytest.raises(NotACheckpoint):
        remove_checkpoint(tmp_path / "a" / "out")
    assert os.listdir(tmp_path) == []


def test_a_predecessor_that_is_set_aside_is_read_and_comes_back(tmp_path):
    save(tmp_path / "out")
    os.rename(tmp_path / "out", tmp_path / ".out.ckpt-old")
    assert value(tmp_path / "out") == 1
    with pytest.raises(TargetExists):
        save(tmp_path / "out", 2)
    assert value(tmp_path / "out") == 1
    assert os.listdir(tmp_path) == ["out"]


def test_ctrl_c_leaves_nothing(tmp_path):
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(ckptfmt.__file__).parent.parent)!r})
from ckptfmt.store.write import TensorFile, write_checkpoint

class Endless:
    dtype, shape = "F32", (1 << 24,)
    def chunks(self):
        for n in range(16):
            if n == 8:
                os.kill(os.getpid(), signal.SIGINT)
            yield bytes(4 << 20)

write_checkpoint({str(tmp_path / "out")!r}, {{"weights.safetensors": TensorFile({{"x": Endless()}})}}, None)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("count", [0, 1, 4097, (4 << 20) - 1, 4 << 20, (8 << 20) + 5])
def test_bytes_come_back_whatever_their_number(tmp_path, count):
    data = np.frombuffer(os.urandom(count), "u1")
    ckptfmt.save(tmp_path / "out", {"a": data, "b": data[: count // 2], "c": np.zeros((), "f8")}).close()
    with Checkpoint(tmp_path / "out") as checkpoint:
        checkpoint.verify()
        assert checkpoint.read("a") == data.tobytes()
        assert checkpoint.read("b") == data[: count // 2].tobytes()


@pytest.mark.parametrize("count", [0, 1, 4097, (4 << 20) - 1, (8 << 20) + 5])
def test_one_of_many_is_written_as_one_alone(tmp_path, count):
    data = np.frombuffer(os.urandom(count), "u1")
    np.savez(tmp_path / "source.npz", **{"x.weight": data.reshape(-1, 1), "x.bias": np.zeros(3, "f4")})
    for name, bulk in (("alone", False), ("of many", True)):
        ckptfmt.convert(tmp_path / "source.npz", tmp_path / name, architecture="none", bulk=bulk)
        with Checkpoint(tmp_path / name) as checkpoint:
            checkpoint.verify()
            assert checkpoint.read("x.weight") == data.tobytes()
    files = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("alone", "of many")]
    assert files[0] == files[1]


def test_a_name_that_leaves_no_room_for_the_names_beside_it_is_refused(tmp_path):
    with pytest.raises(WriteError) as caught:
        save(tmp_path / ("x" * 221))
    assert caught.value.what == "the name is longer than 220 bytes"
    save(tmp_path / ("x" * 220))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("", "is the current folder, and this process would be left in one that is gone"),
        (".", "is the current folder, and this process would be left in one that is gone"),
        ("a\0b", "the name holds a zero byte"),
        ("a\ud800b", "the name holds half of a surrogate pair"),
    ],
)
def test_a_name_that_cannot_be_a_targets_is_said_before_anything_is_written(tmp_path, monkeypatch, name, what):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WriteError) as caught:
        save(name)
    assert caught.value.what == what
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("given", [None, 5, ["a"]])
def test_tensors_come_as_a_mapping(tmp_path, given):
    with pytest.raises(WeightsError, match=r"^weights\.safetensors: must be a mapping of names to arrays, not a "):
        ckptfmt.save(tmp_path / "out", given)
    if given is not None:
        with pytest.raises(WeightsError, match=r"^state\.safetensors: must be a mapping of names to arrays, not a "):
            ckptfmt.save(tmp_path / "out", {"a": np.zeros(3)}, state=given)
    assert os.listdir(tmp_path) == []


def test_what_a_write_that_went_wrong_left_in_a_file_of_ours_goes_too(tmp_path, monkeypatch):
    """As of a filesystem that says it wrote one byte, and wrote all: the file begins as none of ours does."""
    lies = iter([True])
    plain = os.write
    monkeypatch.setattr(
        os, "write", lambda file, data: (plain(file, data[1:]), 1)[1] if next(lies, False) else plain(file, data)
    )
    with pytest.raises(WriteError, match="what was read back is not what was written"):
        save(tmp_path / "out")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", [".best.ckpt-old", ".q.ckpt-stage-0123456789abcdef", ".x.ckpt-lock", ".x.ckpt-owner"])
def test_a_name_that_writers_give_is_no_target(tmp_path, name):
    with pytest.raises(WriteError) as caught:
        save(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path}/{name}: the name is one that writers give what they leave, which the next save would remove; "
        "choose another one"
    )
    assert caught.value.code == "write.name"
    assert not list(tmp_path.iterdir())


def test_nor_is_it_one_in_a_store():
    pytest.importorskip("obstore", reason="the extra remote is not installed")
    with pytest.raises(WriteError, match="the name is one that writers give"):
        ckptfmt.save("s3://bucket/runs/.best.ckpt-old/", {"a": np.ones(1)})


def test_where_the_current_folder_was_removed_a_full_path_is_written_to(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    save(tmp_path / "out")
    assert value(tmp_path / "out") == 1


@pytest.mark.parametrize("what", ["manifest", "bytes"])
def test_only_the_checkpoint_that_was_read_is_replaced(tmp_path, what):
    out = tmp_path / "out"
    save(out)
    with Checkpoint(out) as checkpoint:
        manifest = checkpoint.manifest
    expected = manifest if what == "manifest" else (out / "manifest.json").read_bytes()
    files = {WEIGHTS: tensor_file({"a": np.zeros((3, 2), "f4")})}

    def write():
        write_checkpoint(
            out,
            files,
            lambda entries: dataclasses.replace(manifest, files=entries),
            overwrite=True,
            expected=expected,
        )

    write()
    assert value(out) == 0
    save(out, 2.0, overwrite=True)
    with pytest.raises(WriteError) as caught:
        write()
    assert str(caught.value) == f"{out}: was changed since it was read; run it again"
    assert caught.value.code == "write.changed"
    assert value(out) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
