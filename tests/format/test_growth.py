"""Version 1.0 can grow: what a newer minor wrote is read, what it does not know is kept, and written back."""

import dataclasses
import json
from pathlib import Path

import pytest

from ckptfmt.errors import ManifestError
from ckptfmt.families.blueprint import read_blueprint
from ckptfmt.format.manifest import render_manifest
from ckptfmt.format.parse import parse_manifest
from ckptfmt.look.validate import validate
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write import update_manifest

from .test_manifest import reseal

DQN = Path(__file__).resolve().parents[2] / "fixtures" / "valid" / "dqn" / "checkpoint"


def newer() -> dict:
    """A manifest of 1.2: new fields at every level, and a new field of the config."""
    raw = json.loads((DQN / "manifest.json").read_text())
    raw["format_version"] = "1.2"
    raw["mood"] = {"good": True, "level": {"$float": "inf"}}
    raw["config"]["colour"] = "blue"
    raw["config_origin"] = {"n_action": "guessed"}
    raw["lineage"] = {"kind": "distilled", "teachers": ["a"]}
    raw["files"]["weights.safetensors"]["shards"] = 1
    raw["files"]["weights.safetensors"]["tensors"]["conv.0.bias"]["scale"] = 0.5
    return raw


def read(raw: dict):
    return parse_manifest(reseal(raw), where="m")


def test_a_newer_minor_version_is_read_and_written_back_without_loss():
    raw = newer()
    manifest = read(raw)
    assert read_blueprint(manifest, where="m").config.n_action == 2
    assert json.loads(render_manifest(manifest)) == raw


def test_what_is_changed_by_this_version_leaves_what_it_does_not_know():
    raw = newer()
    changed = dataclasses.replace(read(raw), evaluation=({"episodes": 1},)).sealed()
    written = json.loads(render_manifest(changed))
    assert written.pop("evaluation") == [{"episodes": 1}]
    kept = {name: item for name, item in raw.items() if name != "manifest_digest"}
    assert {name: item for name, item in written.items() if name != "manifest_digest"} == kept


def test_a_new_family_with_a_new_field_is_read_and_written_back():
    raw = newer()
    raw["architecture"] = {"family": "lab/world-model", "name": "small", "since": "2027"}
    raw["config"] = {"latent": 32, "spread": {"$float": "nan"}, "big": {"$int": "9007199254740993"}}
    manifest = read(raw)
    assert read_blueprint(manifest, where="m") is None
    assert json.loads(render_manifest(manifest)) == raw


def test_a_checkpoint_of_a_newer_minor_version_opens_with_a_warning_and_takes_an_evaluation(tmp_path):
    for file in DQN.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "manifest.json").write_bytes(reseal(newer()))
    report = validate(tmp_path)
    assert report.valid
    assert {problem.code for problem in report.problems} == {"version.newer"}
    update_manifest(tmp_path, lambda m: dataclasses.replace(m, evaluation=({"episodes": 1},)))
    with Checkpoint(tmp_path) as checkpoint:
        assert checkpoint.manifest.format_version == "1.2"
        assert checkpoint.manifest.unknown == {"mood": {"good": True, "level": {"$float": "inf"}}}
        assert checkpoint.manifest.config["colour"] == "blue"


def test_in_its_own_version_an_unknown_field_is_an_error():
    raw = {**newer(), "format_version": "1.0"}
    with pytest.raises(ManifestError) as caught:
        read(raw)
    assert str(caught.value) == "m $.mood: is no field of this version"
