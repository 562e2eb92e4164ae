"""A checkpoint has at most 32,768 tensors, whoever wrote it and whoever reads it."""

import dataclasses
import json

import pytest

from ckptfmt.errors import CkptError, ManifestError, WeightsError
from ckptfmt.format.manifest import FileEntry, Manifest, render_manifest
from ckptfmt.format.parse import parse_manifest
from ckptfmt.format.safetensors import parse_header
from ckptfmt.format.tensorcount import count_tensors, too_many
from ckptfmt.look.validate import validate

from .test_manifest import make, reseal

SURPLUS = "lists 101 tensors, more than the 100 allowed"


@pytest.fixture
def few(monkeypatch):
    """The limit, lowered so that what reaches it is made in no time."""
    monkeypatch.setattr("ckptfmt.format.tensorcount.MAX_TENSORS", 100)


def listed(number, tied=0):
    """A manifest of so many tensors without elements, and so many tied names."""
    entry = make().weights.tensors["a"]
    tensors = {f"t{i}": dataclasses.replace(entry, shape=(0,)) for i in range(number)}
    weights = FileEntry(bytes=0, sha256="0" * 64, tensors=tensors, tied={f"u{i}": "t0" for i in range(tied)})
    size = len(weights.header[0])
    return make(files={"weights.safetensors": dataclasses.replace(weights, bytes=size)})


def header(number):
    text = json.dumps({f"t{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(number)}).encode()
    return len(text).to_bytes(8, "little") + text


def test_the_limit_is_two_to_the_fifteenth():
    assert [too_many(count) for count in (0, 32_768)] == ["", ""]
    assert too_many(32_769) == "lists 32,769 tensors, more than the 32,768 allowed"


def test_as_many_as_are_allowed_are_read(few):
    manifest = listed(100)
    assert parse_manifest(render_manifest(manifest), where="m") == manifest
    data = header(100)
    assert len(parse_header(lambda at, size: data[at : at + size], len(data), where="w").tensors) == 100


@pytest.mark.parametrize(("number", "tied"), [(101, 0), (50, 51), (1, 100)])
def test_one_more_is_refused_before_an_entry_is_made_of_it(few, monkeypatch, tmp_path, number, tied):
    data = render_manifest(listed(number, tied))
    (tmp_path / "manifest.json").write_bytes(data)
    monkeypatch.setattr(Manifest, "from_dict", None)
    with pytest.raises(ManifestError) as caught:
        parse_manifest(data, where="m")
    assert (str(caught.value), caught.value.code) == (f"m: {SURPLUS}", "weights.count")
    assert [(p.code, p.message) for p in validate(tmp_path).problems] == [("weights.count", SURPLUS)]


def test_a_header_of_one_more_is_refused(few):
    data = header(101)
    with pytest.raises(WeightsError) as caught:
        parse_header(lambda at, size: data[at : at + size], len(data), where="w")
    assert (str(caught.value), caught.value.code) == (f"w: {SURPLUS}", "weights.count")


def test_the_tensors_of_all_files_count_together():
    part = {"tensors": {str(i): None for i in range(40_000)}, "tied": {"a": "0"}}
    raw = {"files": {"weights.safetensors": part, "state.safetensors": part, "replay.safetensors": part}}
    assert count_tensors(raw) == 120_003
    assert count_tensors({"files": {}, "split": {"weights.safetensors": part}}) == 40_000


@pytest.mark.parametrize("wrong", [None, 1, [], "files", {"a": None}, {"a": {"tensors": 3, "tied": []}}, {"a": [1]}])
def test_what_is_of_another_type_counts_as_nothing_and_is_refused_for_that(wrong):
    raw = json.loads(render_manifest(make()))
    raw["files"] = wrong
    assert count_tensors(raw) == 0
    assert count_tensors({**raw, "split": wrong}) == 0
    with pytest.raises(CkptError) as caught:
        parse_manifest(reseal(raw), where="m")
    assert caught.value.code != "weights.count"
