"""Which files of a folder are converted, and where to."""

import json
import os

import pytest

from ckptfmt.convert.sources import Item, find_sources
from ckptfmt.errors import SourceError


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, data in {
        "runs/a.pth": b"x",
        "runs/deep/b.pth.tar.gz": b"x",
        "runs/deep/same.pt": b"x",
        "runs/deep/same.pth": b"x",
        "runs/step-100": b"PK\x03\x04rest",
        "runs/config.yaml": b"lr: 1",
        "runs/monitor.csv.gz": b"\x1f\x8b\x08",
        "runs/.cache/hidden.pth": b"x",
        "runs/.hidden.pth": b"x",
        "runs/done/manifest.json": b"{}",
        "runs/done/weights.safetensors": b"x",
        "other/a.pth": b"x",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def test_the_tree_is_mirrored_in_order_without_suffixes(tree):
    found = find_sources(["runs"], "out")
    assert found.items == (
        Item("runs/a.pth", "out/a"),
        Item("runs/step-100", "out/step-100"),
        Item("runs/deep/b.pth.tar.gz", "out/deep/b"),
        Item("runs/deep/same.pt", "out/deep/same.pt"),
        Item("runs/deep/same.pth", "out/deep/same.pth"),
    )
    assert found.others == 2


def test_several_folders_keep_their_names_apart(tree):
    found = find_sources(["runs", "other"], "out")
    assert [item.dest for item in found.items if item.source.endswith("/a.pth")] == ["out/runs/a", "out/other/a"]


def test_files_that_are_named_are_taken_whatever_they_are(tree):
    assert find_sources(["runs/config.yaml"], "out").items == (Item("runs/config.yaml", "out/config.yaml"),)


def test_two_files_of_one_name_do_not_share_a_target(tree):
    found = find_sources(["runs/a.pth", "other/a.pth"], "out")
    assert [item.dest for item in found.items] == ["out/runs/a.pth", "out/other/a.pth"]


def test_the_target_is_not_its_own_source(tree):
    os.makedirs("runs/out")
    with open("runs/out/c.pth", "w"):
        pass
    assert not [item for item in find_sources(["runs"], "runs/out").items if "c.pth" in item.source]


def test_pipes_and_broken_links_are_left_alone(tree):
    os.mkfifo("runs/pipe.pth")
    os.symlink("nowhere", "runs/broken.pth")
    os.symlink("a.pth", "runs/best.pth")
    found = find_sources(["runs"], "out")
    assert "runs/best.pth" in {item.source for item in found.items}
    assert not {"runs/pipe.pth", "runs/broken.pth"} & {item.source for item in found.items}


def test_links_out_of_a_folder_are_left_alone_but_for_those_into_a_cache_of_downloads(tree):
    cached = tree / "cache" / "blobs" / ("ab" * 32)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"x")
    os.symlink(cached, "runs/model.safetensors")
    os.symlink("../../other/a.pth", "runs/deep/secret.pth")
    os.symlink(tree / "other", "runs/linked")
    os.symlink("../other/a.pth", "runs/shard.bin")
    for name, shard in (("whole", "a.pth"), ("secret", "shard.bin")):
        with open(f"runs/{name}.bin.index.json", "w") as file:
            json.dump({"weight_map": {"w": shard}}, file)
    os.symlink(tree / "runs" / "whole.bin.index.json", "other/elsewhere.bin.index.json")
    before = find_sources(["other"], "out")
    found = find_sources(["runs", "runs/deep/secret.pth"], "out")
    sources = [item.source for item in found.items]
    assert [source for source in sources if "secret" in source or "linked" in source] == ["runs/deep/secret.pth"]
    assert {"runs/model.safetensors", "runs/whole.bin.index.json"} <= set(sources)
    assert found.others == 4
    assert [item.source for item in before.items] == ["other/a.pth"]


def test_what_does_not_exist_is_an_error(tree):
    with pytest.raises(SourceError) as caught:
        find_sources(["nosuch"], "out")
    assert str(caught.value) == "nosuch: there is no such file; check the path"


def test_no_checkpoint_comes_to_lie_inside_of_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("runs/m.pt", "runs/m/x.pt", "runs/m/x/deep/y.pt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    dests = [item.dest for item in find_sources(["runs"], "out").items]
    assert dests == ["out/m.pt", "out/m/x.pt", "out/m/x/deep/y"]


def test_a_folder_that_may_not_be_read_is_not_passed_over(tree, locked):
    locked(tree / "runs" / "deep")
    assert Item("runs/deep", "out/deep") in find_sources(["runs"], "out").items
