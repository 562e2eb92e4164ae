import json
import os
import pickle
import shutil
import sys
import types
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ckptfmt.convert.convert import convert, migrate_old_checkpoint
from ckptfmt.errors import ConversionError, SourceError, TargetExists, WouldAssume
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.format.freeform import encode_free
from ckptfmt.store.checkpoint import Checkpoint

FOREIGN = Path(__file__).resolve().parent.parent.parent / "fixtures" / "foreign"
CASES = sorted(path.parent.name for path in FOREIGN.glob("*/expected.json"))


def source(case: str) -> Path:
    return next(path for path in (FOREIGN / case).iterdir() if path.name != "expected.json")


@pytest.mark.parametrize("case", CASES)
def test_each_foreign_file_becomes_the_network_it_holds(case, tmp_path):
    expected = json.loads((FOREIGN / case / "expected.json").read_text())
    result = convert(source(case), tmp_path / "out", **expected.get("facts", {}))
    with Checkpoint(tmp_path / "out") as checkpoint:
        manifest = checkpoint.manifest.to_dict()
        for name in checkpoint.names():
            checkpoint.read(name)
    assert result.architecture == expected["architecture"]
    assert {name: manifest["config"][name] for name in expected["config"]} == expected["config"]
    assert manifest["conversion"]["found_at"] == expected["found_at"]
    assert manifest["content_digest"] == expected["content_digest"]
    info = manifest.get("training_info", {})
    assert {name: info.get(name) for name in expected["training_info"]} == expected["training_info"]


def test_the_manifest_records_the_source_and_the_origin_of_every_field(tmp_path):
    file = source("dueling-v2")
    convert(file, tmp_path / "out")
    with Checkpoint(tmp_path / "out") as checkpoint:
        manifest = checkpoint.manifest
    origin = manifest.config_origin
    assert (manifest.conversion.source.name, manifest.conversion.source.bytes) == ("dqn_best.pth", file.stat().st_size)
    assert manifest.conversion.source.container == "torch-zip"
    assert "torch._utils._rebuild_tensor_v2" in manifest.conversion.source.globals
    assert manifest.conversion.verified
    assert (origin["n_action"], origin["double_dqn"], origin["encoder"]) == ("inferred", "declared", "inferred")
    assert set(origin) >= {name for name, value in manifest.config.items() if value is not None}


def test_a_raw_state_dict_is_inferred_and_what_is_assumed_is_marked(tmp_path):
    result = convert(source("distributional"), tmp_path / "out")
    assert result.config_origin["n_atoms"] == "inferred"
    assert result.config_origin["v_min"] == "inferred"
    assert result.config_origin["double_dqn"] == "assumed"
    assert "double_dqn" in result.assumed
    assert result.unknown == ("training_info", "environment")


def test_strict_refuses_to_assume_and_writes_nothing(tmp_path):
    with pytest.raises(ConversionError) as caught:
        convert(source("dqn"), tmp_path / "out", strict=True)
    assert caught.value.code == "convert.assumed"
    assert list(tmp_path.iterdir()) == []


def test_strict_refuses_placeholders_for_classes_of_other_packages(tmp_path, monkeypatch):
    agents = types.ModuleType("agents")
    agents.Agent = type("Agent", (), {"__module__": "agents"})
    monkeypatch.setitem(sys.modules, "agents", agents)
    agent = agents.Agent()
    agent.w = np.ones((2, 2), np.float32)
    (tmp_path / "agent.pkl").write_bytes(pickle.dumps(agent))
    with pytest.raises(WouldAssume) as caught:
        convert(tmp_path / "agent.pkl", tmp_path / "out", strict=True)
    assert str(caught.value) == (
        f"{tmp_path / 'agent.pkl'}: would put placeholders in place of agents.Agent; leave strict=True out"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["agent.pkl"]
    assert convert(tmp_path / "agent.pkl", tmp_path / "out").tensors == 1


def test_a_dry_run_decides_all_and_writes_nothing(tmp_path):
    result = convert(source("noisy"), tmp_path / "out", dry_run=True)
    assert result.architecture == "noisy"
    assert result.written == {}
    assert list(tmp_path.iterdir()) == []


def test_a_contradiction_names_both_sides(tmp_path):
    with pytest.raises(ConversionError) as caught:
        convert(source("dueling-v2"), tmp_path / "out", n_action=7)
    assert "7" in caught.value.what
    assert "6" in caught.value.what
    assert caught.value.code == "convert.contradiction"
    assert list(tmp_path.iterdir()) == []


def test_weights_can_be_kept_without_a_network(tmp_path):
    result = convert(source("dueling"), tmp_path / "out", architecture="none")
    with Checkpoint(tmp_path / "out") as checkpoint:
        assert checkpoint.manifest.architecture is None
        assert checkpoint.config is None
        assert "value_stream.0.weight" in checkpoint.names()
    assert result.architecture is None


def test_an_existing_target_is_kept_without_overwrite(tmp_path):
    convert(source("dqn"), tmp_path / "out")
    before = (tmp_path / "out" / "manifest.json").read_bytes()
    with pytest.raises(TargetExists):
        convert(source("noisy"), tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").read_bytes() == before
    assert convert(source("noisy"), tmp_path / "out", overwrite=True).architecture == "noisy"


def test_settings_of_the_user_reach_the_config(tmp_path):
    result = convert(source("dqn"), tmp_path / "out", settings={"game": "ALE/Pong-v5", "n_steps": 3})
    assert (result.config["game"], result.config["n_steps"]) == ("ALE/Pong-v5", 3)
    assert result.config_origin["game"] == "given"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"n_steps": "three"}, "given config: n_steps must be a whole number of 1 or more, not 'three'"),
        ({"colour": "blue"}, "given config: colour is no field of a model config"),
        (
            {"dueling_jion": "mean"},
            "given config: dueling_jion is no field of a model config; did you mean dueling_join?",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings, sentence, tmp_path):
    with pytest.raises(ConversionError) as caught:
        convert(source("dqn"), tmp_path / "out", settings=settings)
    assert str(caught.value) == f"{source('dqn')}: {sentence}"
    assert list(tmp_path.iterdir()) == []


def test_atoms_that_were_given_to_a_network_without_any_are_told(tmp_path):
    result = convert(source("dqn"), tmp_path / "out", v_min=5, v_max=1)
    (found,) = result.warnings
    assert (found.code, found.message) == (
        "convert.unused", "has a network without atoms, which has no v_min or v_max"
    )  # fmt: skip
    assert found.fix == "leave v_min=, v_max= out, or check which network was meant"


def test_a_key_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    with pytest.raises(ConversionError) as caught:
        convert(source("dqn-v2"), tmp_path / "out", key="agent")
    assert str(caught.value) == f"{source('dqn-v2')}: holds no network at 'agent'; choose one of: 'model_state_dict'"


def test_a_source_that_changes_meanwhile_is_refused_and_nothing_is_left(tmp_path):
    file = tmp_path / "dqn.pth"
    shutil.copy(source("dqn"), file)
    with pytest.raises(SourceError) as caught:
        convert(file, tmp_path / "out", progress=lambda _: os.truncate(file, 1000))
    assert caught.value.code == "source.changed"
    assert os.listdir(tmp_path) == ["dqn.pth"]


def test_migration_holds_the_file_against_a_config_that_is_given(tmp_path):
    config = ModelConfig(input_shape=(4, 36, 36), n_action=6, hidden_size=32, dueling_dqn=True)
    assert migrate_old_checkpoint(source("dueling"), tmp_path / "a", config).architecture == "dueling"
    assert migrate_old_checkpoint(source("dueling"), tmp_path / "b").architecture == "dueling"
    with pytest.raises(ConversionError) as caught:
        migrate_old_checkpoint(source("dqn"), tmp_path / "c", config)
    assert caught.value.code == "convert.contradiction"


def test_an_unknown_fact_is_a_type_error(tmp_path):
    with pytest.raises(TypeError, match=r"^convert\(\) knows no fact 'colour'; it knows architecture, n_action"):
        convert(source("dqn"), tmp_path / "out", colour=1)


def test_the_training_info_comes_back_as_python_numbers(tmp_path):
    convert(source("dqn-v2"), tmp_path / "out")
    with Checkpoint(tmp_path / "out") as checkpoint:
        info = checkpoint.training_info
    assert info["best_eval_reward"] == float("-inf")
    assert info["mean_eval_reward"] == 7.5
    assert encode_free(info, where="$")["best_eval_reward"] == {"$float": "-inf"}


def test_a_support_in_the_config_of_a_network_without_one_is_passed_over(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    saved = torch.load(source("dueling-v2"), weights_only=False)
    saved["model_config"] |= {"n_atoms": 51, "v_min": -10.0, "v_max": 10.0}
    torch.save(saved, tmp_path / "dqn.pth")
    assert convert(tmp_path / "dqn.pth", tmp_path / "out").config["n_atoms"] is None


def test_a_file_is_not_refused_for_its_name(tmp_path):
    name = os.fsdecode(b"\xff\xfe.pth")
    (tmp_path / name).write_bytes(pickle.dumps({"w.weight": np.ones((3, 3), np.float32)}))
    convert(tmp_path / name, tmp_path / "out")
    with Checkpoint(tmp_path / "out") as checkpoint:
        assert checkpoint.manifest.conversion.source.name == "\\xff\\xfe.pth"


def lone(tmp_path, **networks):
    """Write networks of two layers, as a pickle; each is a prefix of its names."""
    random = np.random.default_rng(0)
    shapes = {"0.weight": (16, 4), "0.bias": (16,), "2.weight": (2, 16), "2.bias": (2,)}
    saved = {
        place: {f"{prefix}{name}": random.normal(size=shape).astype("f4") for prefix in prefixes for name, shape in
                shapes.items()}
        for place, prefixes in networks.items()
    }  # fmt: skip
    (tmp_path / "networks.pkl").write_bytes(pickle.dumps(saved))
    return tmp_path / "networks.pkl"


@pytest.mark.parametrize(
    ("networks", "copy"),
    [
        ({"q_net": [""], "q_net_target": [""]}, "q_net_target."),
        ({"agent": ["algo.q_net.", "algo.target_q_net."]}, "agent/algo.target_q_net."),
    ],
)
def test_a_target_copy_that_is_not_taken_is_left_and_can_be_chosen(networks, copy, tmp_path):
    file = lone(tmp_path, **networks)
    assert convert(file, tmp_path / "out").left == (copy,)
    with Checkpoint(tmp_path / "out") as checkpoint:
        entry = checkpoint.manifest.conversion
        assert (entry.left, entry.dropped) == ((f"{copy} (a target copy, 4 tensors)",), ())
        online = checkpoint.read("q.weight")
    convert(file, tmp_path / "copy", key=copy)
    with Checkpoint(tmp_path / "copy") as checkpoint:
        assert checkpoint.read("q.weight") != online


def test_what_would_tell_a_network_apart_is_asked_for(tmp_path):
    file = lone(tmp_path, quantile_net=[""])
    with pytest.raises(ConversionError, match="how 2 rows are actions times quantiles cannot be told; give n_action="):
        convert(file, tmp_path / "out")


def test_where_it_is_open_which_networks_belong_together_none_is_taken_alone(tmp_path):
    random = np.random.default_rng(0)

    def layers(*sizes):
        # More tensors than a layer has, so that each is a network of its own.
        shapes = pairwise(sizes)
        return {
            name: random.normal(size=shape).astype("f4")
            for i, (inputs, outputs) in enumerate(shapes)
            for name, shape in ((f"{i}.weight", (outputs, inputs)), (f"{i}.bias", (outputs,)))
        }

    networks = {"manager": layers(5, 16, 16, 16, 16, 9), "q_net": layers(9, 16, 16, 16, 16, 3)}
    (tmp_path / "networks.pkl").write_bytes(pickle.dumps(networks))
    with pytest.raises(ConversionError) as e:
        convert(tmp_path / "networks.pkl", tmp_path / "out")
    assert str(e.value) == (
        f"{tmp_path / 'networks.pkl'}: q_net/0.weight takes what manager/4.weight gives, and nothing says that "
        "the two are of one network; give key=, or keep the weights without a network: architecture=none"
    )
    told = convert(tmp_path / "networks.pkl", tmp_path / "out", key="q_net")
    assert (told.architecture, told.left) == ("dqn", ("manager",))
