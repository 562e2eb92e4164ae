import dataclasses
import json

import pytest

from ckptfmt.errors import ManifestError, UnsupportedVersion
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.format.kinds import mapping, text
from ckptfmt.format.manifest import Architecture, FileEntry, Lineage, Manifest, TensorEntry, render_manifest
from ckptfmt.format.parse import contradictions, parse_manifest

SIZE = len(b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}')
FILE_BYTES = 8 + SIZE + -SIZE % 8 + 4


def make(**changes) -> Manifest:
    entry = FileEntry(
        bytes=FILE_BYTES,
        sha256="0" * 64,
        tensors={"a": TensorEntry(dtype="F32", shape=(1,), offset=0, digest="blake3:" + "1" * 64)},
        tied={"b": "a"},
    )
    fields = {
        "created_at": "2026-11-22T21:04:07Z",
        "created_by": {"ckptfmt": "0.1.0"},
        "architecture": Architecture(family="atari-dqn", name="dqn"),
        "config": ModelConfig(n_action=6).to_dict(),
        "config_origin": {"n_action": "inferred"},
        "training_info": {"best": float("-inf"), "mean": 12.0},
        "lineage": Lineage(kind="trained"),
        "files": {"weights.safetensors": entry},
        "content_digest": "",
    }
    return Manifest(**{**fields, **changes}).sealed()


def reseal(document: dict) -> bytes:
    """A manifest that was edited on purpose, digest and all."""
    from ckptfmt.format.digest import manifest_digest
    from ckptfmt.format.jsontext import render

    document["manifest_digest"] = manifest_digest(document)
    return render(document).encode()


def test_a_manifest_comes_back_equal_from_its_bytes():
    manifest = make()
    data = render_manifest(manifest)
    parsed = parse_manifest(data, where="m")
    assert parsed == dataclasses.replace(manifest, training_info={"best": float("-inf"), "mean": 12.0})
    assert render_manifest(parsed) == data
    assert list(contradictions(parsed)) == []


def test_every_flipped_bit_is_found():
    data = render_manifest(make())
    survived = []
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            try:
                parse_manifest(bytes(damaged), where="m")
            except (ManifestError, UnsupportedVersion):
                continue
            survived.append((position, bit))
    assert survived == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d.pop("created_at"), "m $.created_at: is missing"),
        (lambda d: d.update(notes="x"), "m $.notes: is no field of this version"),
        (lambda d: d.update(format="zip"), "m $.format: must be ckptfmt"),
        (lambda d: d.update(created_at="yesterday"),
         "m $.created_at: must be an instant in UTC such as 2026-11-22T21:04:07Z, not 'yesterday'"),
        (lambda d: d.update(config=None), "m $.config: architecture and config are known together or not at all"),
        (lambda d: d["architecture"].update(family="../x"),
         "m $.architecture.family: must be the name of a family such as atari-dqn or lab/world-model, not '../x'"),
        (lambda d: d["architecture"].update(name=7), "m $.architecture.name: must be text"),
        (lambda d: d["config_origin"].update(n_action="guessed"),
         "m $.config_origin.n_action: must be one of declared, inferred, given, measured, assumed, not 'guessed'"),
        (lambda d: d["files"].update({"../up.safetensors": d["files"]["weights.safetensors"]}),
         "m $.files: names '../up.safetensors', which is no file of a checkpoint"),
        (lambda d: d["files"]["weights.safetensors"]["tensors"]["a"].update(digest="xyz"),
         "m $.files.weights.safetensors.tensors.a.digest: must be an algorithm and a digest in hex such as "
         "blake3:0f…, not 'xyz'"),
        (lambda d: d["files"]["weights.safetensors"].update(bytes=1.0),
         "m $.files.weights.safetensors.bytes: must be a whole number of 0 or more"),
        (lambda d: d.update(files={}), "m $.files: weights.safetensors is missing"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_path(change, sentence):
    document = json.loads(render_manifest(make()))
    change(document)
    with pytest.raises(ManifestError) as caught:
        parse_manifest(reseal(document), where="m")
    assert str(caught.value) == sentence


def test_a_manifest_that_was_edited_is_refused():
    data = render_manifest(make()).replace(b'"n_action": 6', b'"n_action": 7')
    with pytest.raises(ManifestError) as caught:
        parse_manifest(data, where="m")
    assert str(caught.value) == (
        "m: does not match its own manifest_digest, it was changed after it was written; copy it again or re-save it"
    )


def test_a_manifest_in_another_text_form_is_refused():
    data = json.dumps(json.loads(render_manifest(make()))).encode()
    with pytest.raises(ManifestError) as caught:
        parse_manifest(data, where="m")
    assert caught.value.code == "manifest.form"


def test_a_newer_minor_version_keeps_what_it_does_not_know():
    document = json.loads(render_manifest(make()))
    document.update(format_version="1.9", colour="blue")
    document["files"]["weights.safetensors"]["shards"] = 1
    data = reseal(document)
    manifest = parse_manifest(data, where="m")
    assert manifest.unknown == {"colour": "blue"}
    assert manifest.weights.unknown == {"shards": 1}
    assert json.loads(render_manifest(manifest)) == document


def test_a_newer_major_version_is_refused_in_one_sentence():
    document = json.loads(render_manifest(make()))
    document["format_version"] = "2.0"
    with pytest.raises(UnsupportedVersion) as caught:
        parse_manifest(reseal(document), where="m")
    assert str(caught.value) == "m: format_version is 2.0, this ckpt reads 1.x; install a newer ckptfmt"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"files": {"weights.safetensors": FileEntry(bytes=FILE_BYTES, sha256="0" * 64, tensors={
            "a": TensorEntry(dtype="F32", shape=(1,), offset=4, digest="blake3:" + "1" * 64)})}},
         "m $.files.weights.safetensors.tensors.a.offset: is 4, must be 0"),
        ({"files": {"weights.safetensors": FileEntry(bytes=3, sha256="0" * 64, tensors={
            "a": TensorEntry(dtype="F32", shape=(1,), offset=0, digest="blake3:" + "1" * 64)})}},
         f"m $.files.weights.safetensors.bytes: is 3, the tensors listed make {FILE_BYTES}"),
        ({"files": {"weights.safetensors": FileEntry(bytes=FILE_BYTES, sha256="0" * 64, tied={"a": "c"}, tensors={
            "a": TensorEntry(dtype="F32", shape=(1,), offset=0, digest="blake3:" + "1" * 64)})}},
         "m $.files.weights.safetensors.tied.a: must share a stored tensor and not be one itself, not 'c'"),
    ],
)  # fmt: skip
def test_parts_that_contradict_one_another_are_found(change, sentence):
    with pytest.raises(ManifestError) as caught:
        parse_manifest(render_manifest(make(**change)), where="m")
    assert str(caught.value) == sentence


def test_a_content_digest_of_other_tensors_is_found():
    document = json.loads(render_manifest(make()))
    document["content_digest"] = "sha256:" + "0" * 64
    with pytest.raises(ManifestError) as caught:
        parse_manifest(reseal(document), where="m")
    assert caught.value.code == "manifest.content-digest"


@pytest.mark.parametrize("tag", ["$float", "$int"])
def test_a_mapping_of_texts_cannot_be_a_tagged_number(tag):
    # It would be read as one where the manifest is compared.
    with pytest.raises(ManifestError) as caught:
        mapping(text).parse({tag: "inf"}, "$.created_by", False)
    assert str(caught.value) == f"$.created_by: the key {tag} is reserved for numbers"
