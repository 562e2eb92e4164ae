import os

import pytest

from ckptfmt.errors import CkptError, NotACheckpoint, WeightsError
from ckptfmt.format.files import open_file, open_folder, read_exactly


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


OTHER = "it is a device, pipe or folder; a checkpoint holds plain files only"
LINK = "it is a link that does not end in a file of a cache; copy what it stands for: cp -rL"


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
