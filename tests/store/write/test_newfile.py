import contextlib
import os

import pytest

from ckptfmt.errors import NotACheckpoint, TargetExists, WriteError
from ckptfmt.share.gitdriver.install import _add_attributes
from ckptfmt.store.write.newfile import write_new


def write(path, text="new", **options):
    with write_new(os.fspath(path), **options) as staged, open(staged, "w") as file:
        file.write(text)


def test_a_file_is_there_once_it_is_whole(tmp_path):
    with write_new(os.fspath(tmp_path / "out")) as staged:
        with open(staged, "w") as file:
            file.write("new")
        assert not (tmp_path / "out").exists()
    assert os.listdir(tmp_path) == ["out"]
    with pytest.raises(TargetExists) as caught:
        write(tmp_path / "out", "newer")
    assert str(caught.value) == f"{tmp_path}/out: exists; add overwrite=True to replace it, or choose another name"
    write(tmp_path / "out", "newer", overwrite=True)
    assert (tmp_path / "out").read_text() == "newer"
    assert os.listdir(tmp_path) == ["out"]


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "out").write_text("old")
    with pytest.raises(ZeroDivisionError), write_new(os.fspath(tmp_path / "out"), overwrite=True):
        1 / 0  # noqa: B018
    assert (os.listdir(tmp_path), (tmp_path / "out").read_text()) == (["out"], "old")


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_link_is_written_through_or_replaced(tmp_path, overwrite):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out").symlink_to("mine")
    with pytest.raises(TargetExists) as caught:
        write(tmp_path / "out", overwrite=overwrite)
    assert str(caught.value) == f"{tmp_path}/out: exists; choose another name"
    assert (os.readlink(tmp_path / "out"), (tmp_path / "mine").read_text()) == ("mine", "mine")


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_came_meanwhile_is_not_replaced(tmp_path, overwrite):
    if overwrite:
        (tmp_path / "out").write_text("old")
    with contextlib.ExitStack() as stack:
        stack.enter_context(write_new(os.fspath(tmp_path / "out"), overwrite=overwrite))
        (tmp_path / "out").unlink(missing_ok=True)
        (tmp_path / "out").write_text("mine")
        with pytest.raises(WriteError):
            stack.close()
    assert (tmp_path / "out").read_text() == "mine"
    assert [name for name in os.listdir(tmp_path) if not name.startswith(".")] == ["out"]


def test_a_folder_must_be_there(tmp_path):
    with pytest.raises(NotACheckpoint, match="no such folder; make it first"):
        write(tmp_path / "nowhere" / "out")


def test_a_link_in_a_strangers_repository_is_not_written_through(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".gitattributes.ckpt-new").symlink_to("mine")
    (tmp_path / "..gitattributes.ckpt-new").symlink_to("mine")
    _add_attributes(tmp_path / ".gitattributes")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / ".gitattributes").read_text().startswith("manifest.json diff=ckpt")
