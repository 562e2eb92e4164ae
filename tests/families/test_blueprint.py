"""A config and its family say which tensors a network has; a family that is not here leaves the bytes to be checked."""

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from ckptfmt.errors import ManifestError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.blueprint import Blueprint, layer_order, misnamed, parse_blueprint, read_blueprint
from ckptfmt.families.encoder import NATURE
from ckptfmt.families.flattened import flattened
from ckptfmt.families.registry import find
from ckptfmt.format.manifest import Architecture, Manifest
from ckptfmt.look.validate import validate
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write import update_manifest

DQN = Path(__file__).resolve().parents[2] / "fixtures" / "valid" / "dqn" / "checkpoint"


@pytest.fixture
def manifest():
    with Checkpoint(DQN) as checkpoint:
        yield checkpoint.manifest


@pytest.fixture
def foreign(tmp_path):
    """A checkpoint of a family that is not installed."""
    for file in DQN.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = {"layers": [3, 4], "scale": math.inf}
    update_manifest(tmp_path, lambda m: _family(m, config))
    return tmp_path


def _family(manifest: Manifest, config: dict) -> Manifest:
    return dataclasses.replace(manifest, architecture=Architecture(family="lab/net", name="big"), config=config)


def tensors(shapes, dtype="F32"):
    return {name: SimpleNamespace(dtype=dtype, shape=shape) for name, shape in shapes.items()}


def test_a_blueprint_knows_name_and_tensors():
    network = Blueprint.of(ModelConfig(n_action=6, noisy_networks=True))
    assert network.name == "noisy"
    assert network.architecture.to_dict() == {"family": "atari-dqn", "name": "noisy"}
    assert network.tensors()["fc.2.weight_mu"] == (6, 512)


def test_missing_surplus_and_misshapen_tensors_are_named():
    network = Blueprint.of(ModelConfig(n_action=6))
    shapes = {**network.tensors(), "extra": (1,), "fc.2.bias": (5,)}
    del shapes["conv.0.bias"]
    assert list(network.mismatches(tensors(shapes))) == [
        "conv.0.bias is missing",
        "fc.2.bias is 5, the config demands 6",
        "extra belongs to no layer of this network",
    ]


def test_a_layer_of_whole_numbers_is_named():
    network = Blueprint.of(ModelConfig(n_action=6))
    found = list(network.mismatches({**tensors(network.tensors()), **tensors({"fc.2.bias": (6,)}, "I32")}))
    assert found == ["fc.2.bias is I32, a layer of this network holds real floating-point numbers"]


def test_noise_may_be_missing():
    network = Blueprint.of(ModelConfig(n_action=6, noisy_networks=True))
    assert network.optional()
    shapes = {name: shape for name, shape in network.tensors().items() if name not in network.optional()}
    assert list(network.mismatches(tensors(shapes))) == []


def test_layers_come_in_their_order_and_strangers_last():
    network = Blueprint.of(ModelConfig(n_action=6))
    assert layer_order(["z", "fc.0.bias", "conv.0.bias", "a"], network) == ["conv.0.bias", "fc.0.bias", "z", "a"]
    assert layer_order(["b", "a"], None) == ["b", "a"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n_action": True}, "m $.config.n_action: n_action must be a whole number of 1 or more, not True"),
        ({"colour": 1}, "m $.config.colour: colour is no field of a model config"),
        ({"dueling_dqn": True}, "m $.architecture.name: is dqn, the config describes dueling"),
    ],
)
def test_a_wrong_description_is_named_with_its_path(manifest, change, sentence):
    changed = dataclasses.replace(manifest, config={**manifest.config, **change})
    with pytest.raises(ManifestError) as caught:
        read_blueprint(changed, where="m")
    assert str(caught.value) == sentence


def test_a_field_that_is_absent_and_has_a_default_is_read_as_the_default(manifest):
    config = {name: item for name, item in manifest.config.items() if name not in ("n_steps", "noisy_std_init")}
    network = parse_blueprint(dataclasses.replace(manifest, config=config), where="m")
    assert (network.config.n_steps, network.config.noisy_std_init) == (1, 0.5)


def test_a_newer_minor_version_may_have_fields_of_the_config_that_are_passed_over(manifest):
    newer = dataclasses.replace(manifest, format_version="1.7", config={**manifest.config, "colour": 1})
    network = parse_blueprint(newer, where="m")
    assert list(misnamed(newer, network)) == []
    assert network.config == ModelConfig.from_dict(manifest.config)


def test_a_family_that_is_not_installed_is_one_warning_and_everything_else_is_checked(foreign):
    report = validate(foreign)
    (problem,) = report.problems
    assert report.valid
    assert (problem.code, problem.severity) == ("config.family", "warning")
    assert f"{problem.where}: {problem.message}" == (
        "manifest.json $.architecture.family: is lab/net, which is not installed; "
        "the bytes are checked, the structure of the network is not"
    )
    weights = foreign / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert {found.code for found in validate(foreign).errors} == {"weights.digest"}


def test_the_config_of_a_family_that_is_not_installed_is_kept_as_it_is(foreign):
    with Checkpoint(foreign) as checkpoint:
        assert checkpoint.config is None
        assert checkpoint.manifest.config == {"layers": [3, 4], "scale": math.inf}
        assert [warning.code for warning in checkpoint.warnings] == ["config.family"]
        checkpoint.verify()
    update_manifest(foreign, lambda m: dataclasses.replace(m, training_info={"frame_idx": 7}))
    raw = json.loads((foreign / "manifest.json").read_text())
    assert raw["config"] == {"layers": [3, 4], "scale": {"$float": "inf"}}


def test_columns_of_an_image_are_found_behind_the_convolutions_of_a_shared_trunk():
    convs = {"kind": "convs", "convs": [conv.to_dict() for conv in NATURE.convs]}
    described = {"observation": [4, 84, 84], "policy": "categorical", "n_action": 4}
    config = find("actor-critic").config.from_dict({**described, "trunk": [convs, {"kind": "mlp", "sizes": [512]}]})
    assert flattened(config) == {"trunk.1.linear.0.weight": (64, 7, 7)}
