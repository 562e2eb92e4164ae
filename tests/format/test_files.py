import os
import resource
import shutil
from pathlib import Path

import pytest

from ckptfmt.errors import CkptError, NotACheckpoint, WeightsError
from ckptfmt.format.files import is_companion, open_file, open_folder, read_exactly
from ckptfmt.look.validate import validate
from ckptfmt.store.checkpoint import Checkpoint

DQN = Path(__file__).resolve().parents[2] / "fixtures" / "valid" / "dqn" / "checkpoint"


@pytest.fixture
def folder(tmp_path):
    descriptor = open_folder(tmp_path)
    yield descriptor
    os.close(descriptor)


def test_a_file_of_the_folder_is_opened_with_its_size(tmp_path, folder):
    (tmp_path / "a").write_bytes(b"abcdef")
    file, size = open_file(folder, "a", where="here")
    assert (size, read_exactly(file, 2, 3, where="here/a")) == (6, b"cde")
    os.close(file)


def test_too_many_open_files_are_no_fault_of_the_one_that_is_opened(tmp_path, folder):
    (tmp_path / "a").write_bytes(b"abcdef")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(tmp_path / "a", "rb") as last:
        # The lowest that was free, so none is free below.
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + 1, limit[1]))
        try:
            with pytest.raises(CkptError) as caught:
                open_file(folder, "a", where="here")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert not isinstance(caught.value, WeightsError)
    assert str(caught.value) == (
        "here/a: cannot be opened: Too many open files; raise the limit of open files (ulimit -n)"
    )


OTHER = "it is a device, pipe or folder; put a copy of the plain file in its place"
LINK = (
    "it is a link that does not lead into a download cache; copy the folder so that links become files: cp -rL OLD NEW"
)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: os.mkfifo(path), OTHER),
        (lambda path: path.mkdir(), OTHER),
        (lambda path: path.symlink_to("/etc/passwd"), LINK),
        (lambda path: os.symlink("/dev/zero", path), LINK),
    ],
    ids=["fifo", "folder", "link", "link-to-device"],
)
def test_only_plain_files_are_opened_and_none_is_waited_for(tmp_path, folder, make, reason):
    make(tmp_path / "x")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(WeightsError) as caught:
        open_file(folder, "x", where="here")
    assert str(caught.value) == f"here/x: is not a regular file: {reason}"
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_ends_early_is_an_error(tmp_path, folder):
    (tmp_path / "a").write_bytes(b"abc")
    file, _ = open_file(folder, "a", where="here")
    with pytest.raises(WeightsError) as caught:
        read_exactly(file, 0, 4, where="here/a")
    os.close(file)
    assert str(caught.value) == "here/a: ends too early, it was truncated; copy it again"


@pytest.mark.parametrize("name", ["x\0y", "a" * 5000])
def test_a_path_that_no_system_takes_is_one_error(name):
    with pytest.raises(CkptError) as caught:
        open_folder(name)
    assert isinstance(caught.value, NotACheckpoint)
    assert "\0" not in str(caught.value)


@pytest.mark.parametrize("name", ["README.md", "config.json", "model.sig", "film.mp4", ".DS_Store", ".git"])
def test_what_other_tools_put_beside_the_files_is_a_companion(name):
    assert is_companion(name)


def test_a_folder_is_a_companion_where_git_and_the_hub_make_one():
    assert is_companion(".cache", folder=True)
    assert not is_companion("README.md", folder=True)


@pytest.mark.parametrize("name", ["model.safetensors", "weights.pth", "notes.txt", "film.mp4.exe", "config.json.bak"])
def test_anything_else_is_none(name):
    assert not is_companion(name)


def test_the_weights_may_be_called_as_on_the_hub(tmp_path):
    shutil.copytree(DQN, tmp_path / "hub")
    (tmp_path / "hub" / "weights.safetensors").rename(tmp_path / "hub" / "model.safetensors")
    (tmp_path / "hub" / "README.md").write_text("# A card\n")
    assert validate(tmp_path / "hub").problems == ()
    with Checkpoint(tmp_path / "hub") as checkpoint:
        checkpoint.verify()
    data = bytearray((tmp_path / "hub" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "hub" / "model.safetensors").write_bytes(data)
    assert [problem.code for problem in validate(tmp_path / "hub").problems] == ["weights.digest"]


def test_both_names_at_once_are_an_error(tmp_path):
    shutil.copytree(DQN, tmp_path / "hub")
    shutil.copy(tmp_path / "hub" / "weights.safetensors", tmp_path / "hub" / "model.safetensors")
    assert [problem.code for problem in validate(tmp_path / "hub").errors] == ["layout.unlisted-weights"]
