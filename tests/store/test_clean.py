"""What lies beside checkpoints under the names that writers give, and was put there by somebody else."""

import contextlib
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import CkptError, TargetExists, WriteError
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.clean import clean, leftovers

STAGE = ".out.ckpt-stage-0123456789abcdef"
SIGNED = '{{"host": "{}", "process": {}}}'


def save(path, value=1.0, **options):
    # No save writes under a writer's own name; a writer gives it to what it has written.
    made = path.with_name("made") if path.name.startswith(".") else path
    ckptfmt.save(made, {"a": np.full((3, 2), value, "f4")}, **options).close()
    made.rename(path)


def value(path):
    with Checkpoint(path) as checkpoint:
        return float(checkpoint.tensors["a"][0, 0])


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        return dead.pid


def tree(folder):
    """Return everything below a folder: links as what they name, files as their bytes and their inode."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = (path.read_bytes(), path.stat().st_ino)
        else:
            found[name] = path.stat().st_ino
    return found


# Each puts something of a user's under a name that a writer gives; `mine` is a folder of theirs with a file `x.pth`.
def a_file(path, mine):
    path.write_text("mine")


def a_link_to_a_file(path, mine):
    path.symlink_to(mine / "x.pth")


def a_link_to_a_checkpoint(path, mine):
    path.symlink_to(mine / "checkpoint")


def a_link_to_nothing(path, mine):
    path.symlink_to("nowhere")


def a_second_name_of_a_file(path, mine):
    os.link(mine / "x.pth", path)


def a_folder_with_notes(path, mine):
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def a_folder_with_notes_and_weights(path, mine):
    save(path)
    (path / "notes.txt").write_text("mine")


def a_folder_with_another_manifest(path, mine):
    path.mkdir()
    (path / "manifest.json").write_text('{"name": "My web page", "start_url": "/"}')


def a_folder_with_other_weights(path, mine):
    path.mkdir()
    (path / "weights.safetensors").write_bytes(b"something of mine, and it is all that I have of it")


def a_folder_with_a_second_name_of_weights(path, mine):
    path.mkdir()
    os.link(mine / "checkpoint" / "weights.safetensors", path / "weights.safetensors")


def a_folder_with_a_link_to_weights(path, mine):
    path.mkdir()
    (path / "weights.safetensors").symlink_to(mine / "checkpoint" / "weights.safetensors")


def a_folder_with_a_folder(path, mine):
    (path / "weights.safetensors").mkdir(parents=True)


def a_pipe(path, mine):
    os.mkfifo(path)


def a_socket(path, mine):
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


PLANTS = [
    a_file,
    a_link_to_a_file,
    a_link_to_a_checkpoint,
    a_link_to_nothing,
    a_second_name_of_a_file,
    a_folder_with_notes,
    a_folder_with_notes_and_weights,
    a_folder_with_another_manifest,
    a_folder_with_other_weights,
    a_folder_with_a_second_name_of_weights,
    a_folder_with_a_link_to_weights,
    a_folder_with_a_folder,
    a_pipe,
    a_socket,
]
NAMES = [".out.ckpt-lock", ".out.ckpt-owner", ".out.ckpt-old", STAGE]


@pytest.fixture
def mine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    (folder / "x.pth").write_text("weights of mine")
    save(folder / "checkpoint", 7)
    return folder


@pytest.mark.parametrize("target", ["missing", "file", "checkpoint"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("plant", PLANTS)
def test_what_is_not_a_writers_is_left_as_it_is(tmp_path, mine, plant, name, target):
    plant(tmp_path / name, mine)
    if target == "file":
        (tmp_path / "out").write_text("mine")
    elif target == "checkpoint":
        save(tmp_path / "out") if name in (".out.ckpt-old", STAGE) else os.rename(mine / "checkpoint", tmp_path / "out")
    before, theirs = tree(tmp_path), tree(mine)
    listed = leftovers(tmp_path)
    assert [(os.path.basename(left.path), left.state) for left in listed] == [(name, "kept")]
    assert listed[0].why
    cleaned = clean(tmp_path)
    assert [(left.state, left.why) for left in cleaned] == [("kept", listed[0].why)]
    assert tree(tmp_path) == before
    for overwrite in (False, True):
        with contextlib.suppress(WriteError):
            save(tmp_path / "out", 2, overwrite=overwrite)
    after = tree(tmp_path)
    assert {path: what for path, what in after.items() if path.startswith(".")} == {
        path: what for path, what in before.items() if path.startswith(".")
    }
    assert target != "file" or after["out"] == before["out"]
    assert tree(mine) == theirs


def test_a_file_is_not_replaced_by_what_somebody_put_beside_it(tmp_path, mine):
    """A forged predecessor of `x.pth` once took its place."""
    for name in ("x.pth", "y.pth"):
        (tmp_path / name).write_text("weights of mine")
        (tmp_path / f".{name}.ckpt-old").write_text("forged")
    before = tree(tmp_path)
    with pytest.raises(TargetExists):
        save(tmp_path / "x.pth")
    with pytest.raises(TargetExists):
        ckptfmt.save(tmp_path / "y.pth", {"a": np.zeros(3, "f4")}, overwrite=True)
    clean(tmp_path)
    assert tree(tmp_path) == before


def test_a_name_that_no_writer_gives_is_no_leftover(tmp_path):
    for name in (".notes.ckpt-stage", ".notes.ckpt-old-0123456789abcdef", ".notes.ckpt-lock-0123456789abcdef"):
        (tmp_path / name).write_text("")
    assert leftovers(tmp_path) == clean(tmp_path) == ()
    assert len(os.listdir(tmp_path)) == 3


def test_the_only_copy_of_a_predecessor_stays_where_a_file_has_its_place(tmp_path):
    save(tmp_path / ".out.ckpt-old", 5)
    (tmp_path / "out").write_text("mine")
    (left,) = clean(tmp_path)
    assert (left.state, left.why) == ("kept", "is the only copy, its successor is no whole checkpoint")
    assert value(tmp_path / ".out.ckpt-old") == 5
    (tmp_path / "out").unlink()
    assert [left.state for left in clean(tmp_path)] == ["restored"]
    assert value(tmp_path / "out") == 5


@pytest.mark.parametrize("spoil", ["manifest.json", "weights.safetensors"])
def test_a_predecessor_stays_until_its_successor_is_whole(tmp_path, spoil):
    save(tmp_path / "out", 6)
    save(tmp_path / ".out.ckpt-old", 5)
    whole = (tmp_path / "out" / spoil).read_bytes()
    (tmp_path / "out" / spoil).write_bytes(whole[:-1])
    assert [left.state for left in clean(tmp_path)] == ["kept"]
    (tmp_path / "out" / spoil).write_bytes(whole)
    assert [left.state for left in clean(tmp_path)] == ["removed"]
    assert os.listdir(tmp_path) == ["out"]


def test_one_odd_lock_keeps_nothing_else_from_being_cleaned(tmp_path, mine):
    for number, plant in enumerate(PLANTS):
        plant(tmp_path / f".odd-{number}.ckpt-lock", mine)
        (tmp_path / f".dead-{number}.ckpt-stage-0123456789abcdef").mkdir()
    states = [left.state for left in clean(tmp_path)]
    assert states.count("removed") == states.count("kept") == len(PLANTS)
    assert sorted(os.listdir(tmp_path)) == sorted(f".odd-{number}.ckpt-lock" for number in range(len(PLANTS)))


@pytest.mark.parametrize(
    "text",
    [
        '{"host": "here", "process": 99999999999999999999999}',
        '{"host": "here", "process": 0}',
        '{"host": "here", "process": -1}',
        '{"host": "here", "process": 1, "more": 2}',
        '{"host": ["here"], "process": 1}',
        "[" * 4000,
        "1" * 4000,
        '{"host": "here", "port": 8080}',
    ],
)
def test_what_no_writer_signed_is_no_lock(tmp_path, text):
    for kind in ("lock", "owner"):
        (tmp_path / f".out.ckpt-{kind}").write_text(text)
    before = tree(tmp_path)
    assert [left.state for left in clean(tmp_path)] == ["kept", "kept"]
    with pytest.raises(WriteError) as caught:
        save(tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path}/out: '.out.ckpt-lock', where its lock belongs, holds what no writer wrote into it; move that away"
    )
    assert tree(tmp_path) == before


@pytest.mark.parametrize("size", range(0, 60, 3))
def test_a_lock_that_a_power_cut_tore_is_a_lock(tmp_path, size):
    signed = SIGNED.format(socket.gethostname(), 4_000_000).encode()
    (tmp_path / ".torn.ckpt-lock").write_bytes(signed[:size])
    (tmp_path / ".zeros.ckpt-lock").write_bytes(bytes(size))
    assert {left.state for left in clean(tmp_path)} == {"removed"}
    assert os.listdir(tmp_path) == []


def test_what_is_said_to_be_removed_is_gone(tmp_path):
    """The lock by existence of a process that ended is removed too, where the filesystem knows locks."""
    (tmp_path / ".out.ckpt-owner").write_text(SIGNED.format(socket.gethostname(), dead_process()))
    (tmp_path / ".far.ckpt-owner").write_text(SIGNED.format("elsewhere", 1))
    found = {os.path.basename(left.path): (left.state, left.held_by) for left in clean(tmp_path)}
    assert found == {
        ".out.ckpt-owner": ("removed", ""),
        ".far.ckpt-owner": ("left", "process 1 on elsewhere"),
    }
    assert os.listdir(tmp_path) == [".far.ckpt-owner"]


def test_no_link_is_followed_on_the_way_down(tmp_path, mine):
    (mine / STAGE).mkdir()
    (tmp_path / "runs").symlink_to(mine)
    assert clean(tmp_path) == ()
    assert (mine / STAGE).is_dir()


def test_a_predecessor_of_another_user_is_not_removed(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (tmp_path / STAGE).mkdir()
    os.chown(tmp_path / STAGE, 12345, 12345)
    (left,) = clean(tmp_path)
    assert (left.state, left.why) == ("kept", "belongs to user 12345")


@pytest.mark.parametrize("plant", [a_folder_with_another_manifest, a_folder_with_a_link_to_weights])
def test_what_is_no_checkpoint_is_not_replaced_on_request(tmp_path, mine, plant):
    plant(tmp_path / "out", mine)
    before, theirs = tree(tmp_path), tree(mine)
    with pytest.raises(TargetExists) as caught:
        save(tmp_path / "out", overwrite=True)
    assert caught.value.what.endswith("and would be lost")
    assert (tree(tmp_path), tree(mine)) == (before, theirs)


@pytest.mark.parametrize("name", ["manifest.json", "weights.safetensors"])
@pytest.mark.parametrize("byte", [0, 3, 9, 30])
def test_a_damaged_checkpoint_is_replaced_on_request(tmp_path, name, byte):
    save(tmp_path / "out")
    data = bytearray((tmp_path / "out" / name).read_bytes())
    data[byte] ^= 4
    (tmp_path / "out" / name).write_bytes(data)
    save(tmp_path / "out", 2, overwrite=True)
    assert value(tmp_path / "out") == 2
    assert os.listdir(tmp_path) == ["out"]


def test_a_checkpoint_with_second_names_elsewhere_is_replaced_and_those_stay(tmp_path):
    save(tmp_path / "out")
    (tmp_path / "kept").mkdir()
    for name in ("manifest.json", "weights.safetensors"):
        os.link(tmp_path / "out" / name, tmp_path / "kept" / name)
    save(tmp_path / "out", 2, overwrite=True)
    assert (value(tmp_path / "out"), value(tmp_path / "kept")) == (2, 1)


def test_a_link_where_a_predecessor_would_wait_is_not_read(tmp_path, mine):
    (tmp_path / ".out.ckpt-old").symlink_to(mine / "checkpoint")
    with pytest.raises(ckptfmt.errors.NotACheckpoint):
        Checkpoint(tmp_path / "out")


def test_what_is_to_be_done_in_a_store_is_said():
    with pytest.raises(CkptError) as raised:
        clean("s3://bucket/run")
    assert str(raised.value) == (
        "s3://bucket/run: is in a store, where no lock tells whether the writer of an unfinished upload lives; "
        "upload there again with overwrite=True, which takes it over"
    )
