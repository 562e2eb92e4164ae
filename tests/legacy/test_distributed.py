"""Folders of torch.distributed.checkpoint are named, with the command that makes one file of them."""

import pytest

from ckptfmt.convert.sources import find_sources
from ckptfmt.errors import SourceError
from ckptfmt.legacy.sharded import open_source


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "step 9").mkdir(parents=True)
    for name in (".metadata", "__0_0.distcp", "__1_0.distcp"):
        (tmp_path / "runs" / "step 9" / name).write_bytes(b"PK\x03\x04")
    return "runs/step 9"


@pytest.mark.parametrize("inside", ["", "/.metadata", "/__1_0.distcp", "/"])
def test_a_folder_of_parts_is_told_with_what_to_do(folder, inside):
    with pytest.raises(SourceError) as refusal:
        open_source(folder + inside)
    part = "part of " if len(inside) > 1 else ""
    assert refusal.value.what == (
        f"is {part}a folder of torch.distributed.checkpoint, whose tensors lie in parts"
    )  # fmt: skip
    assert refusal.value.fix.endswith(
        "python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
        f"'runs/step 9{'/' if inside == '/' else ''}' 'runs/step 9.pt'"
    )


def test_among_many_files_such_a_folder_is_one(folder):
    assert [item.source for item in find_sources(["runs"], "out").items] == [folder]


def test_a_part_that_lies_alone_is_told_by_its_bytes(tmp_path):
    (tmp_path / "__0_0.distcp").write_bytes(b"PK\x03\x04")
    with pytest.raises(SourceError, match="is a zip archive without its end"):
        open_source(tmp_path / "__0_0.distcp")
