"""Settings beside weights: the file's own text weighs more than the names of layers, and less than shapes."""

import json
import pickle

import numpy as np
import pytest

import ckptfmt
from ckptfmt.convert.convert import convert
from ckptfmt.convert.settings import agents_of, environment_of, facts_of, merged
from ckptfmt.errors import ConversionError

TRUNK = {
    "conv1.weight": (32, 4, 8, 8), "conv1.bias": (32,), "conv2.weight": (64, 32, 4, 4), "conv2.bias": (64,),
    "conv3.weight": (64, 64, 3, 3), "conv3.bias": (64,),
}  # fmt: skip
HIDDEN = TRUNK | {"fc1.weight": (16, 64), "fc1.bias": (16,)}


def head(name, rows, features=16):
    return {f"{name}.weight": (rows, features), f"{name}.bias": (rows,)}


def streams(one, two, rows):
    return HIDDEN | head(one, 1) | head(two, rows)


def saved(tmp_path, shapes, **beside):
    random = np.random.default_rng(0)
    tensors = {name: random.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    (tmp_path / "case.pkl").write_bytes(pickle.dumps({"model": tensors, **beside}))
    return tmp_path / "case.pkl"


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"num_atoms": 51, "Vmin": -10, "vmax": 10.5}, {"n_atoms": 51, "v_min": -10, "v_max": 10.5}),
        ({"num_quantiles": 32, "activation_fn": "nn.Tanh"}, {"n_quantiles": 32, "activation": "tanh"}),
        ({"quantiles": True, "activation": "softsign"}, {}),
        ({"normalize_images": False}, {"input_scale": 1.0}),
        ({"normalize_images": True}, {"input_scale": 255.0}),
        ({"scaler": "pixel"}, {"input_scale": 255.0}),
        ({"observation_scaler": {"type": "pixel", "params": {}}}, {"input_scale": 255.0}),
        ({"scaler": None, "q_func_factory": "mean"}, {"input_scale": 1.0}),
        ({"scaler": None}, {}),
        ({"scaler": "standard"}, {}),
        ({"input_scale": 256, "normalize_images": True}, {"input_scale": 256}),
        ({"input_scale": 0}, {}),
        ({"dueling_type": "avg"}, {"dueling_join": "mean"}),
        ({"dueling_mode": "max"}, {"dueling_join": "max"}),
        ({"dueling_type": "other"}, {}),
        ({"obs_shape": [84, 84, 4]}, {"input_shape": (4, 84, 84)}),
        ({"input_shape": (4, 84, 80)}, {"input_shape": (4, 84, 80)}),
        ({"obs_shape": [4], "state_dim": 4}, {}),
        ({"n_actions": 6.0, "num_atoms": True}, {}),
    ],
)  # fmt: skip
def test_facts_are_read_off_settings_under_the_names_that_code_gives_them(settings, facts):
    found = facts_of(settings)
    assert {**found.known(), **found.more} == facts


def test_groups_within_groups_are_looked_through():
    found = merged({"hyper_parameters": {"config": {"policy_kwargs": {"normalize_images": False}}, "env": "Pong"}})
    assert (found["env"], found["normalize_images"]) == ("Pong", False)


def test_an_agent_is_named_by_text_by_a_class_or_by_what_it_switches_on():
    assert [*agents_of({"agent": {"class": "agents.DQN"}, "algo": "dqn", "double_dqn": True, "dueling": False})] == [
        "agents.DQN", "dqn", "double_dqn",
    ]  # fmt: skip
    assert [*agents_of({"agent": 3, "algo": "x" * 200, "exp_name": {"name": "c51"}})] == ["c51"]


def test_an_environment_is_named_by_text_or_by_a_group_of_settings():
    assert environment_of({"env": {"id": "ALE/Pong-v5", "frame_skip": 4}}) == {"id": "ALE/Pong-v5"}
    assert environment_of({"env": {"frame_skip": 4}}) == environment_of({"env": "no id, a sentence"}) == {}


def family_of(path):
    with ckptfmt.open(path) as checkpoint:
        return checkpoint.manifest.architecture.family


@pytest.mark.parametrize("name", ["DQNAgent", "agents.DuelingDQN", "c51_atari", "Rainbow"])
@pytest.mark.parametrize("holder", ["hyper_parameters", "args"])
def test_what_the_agent_is_called_settles_a_head_whose_name_says_another_thing(tmp_path, name, holder):
    policy = HIDDEN | head("action_probs", 6)
    without = convert(saved(tmp_path, policy), tmp_path / "without")
    assert (family_of(tmp_path / "without"), without.architecture) == ("policy", "categorical")
    result = convert(saved(tmp_path, policy, **{holder: {"agent_name": name}}), tmp_path / "out")
    assert family_of(tmp_path / "out") == "atari-dqn"
    assert (result.architecture, result.config_origin.get("architecture")) == ("dqn", None)
    assert result.classification.chosen.witnesses[0].kind == "declared"


@pytest.mark.parametrize(
    ("name", "what"), [("PPO", "PPO"), ("sac_atari", "sac_atari"), ("QR-DQN", "QR-DQN"), ("A2C", "A2C"), ("iqn", "iqn")]
)
def test_an_agent_of_another_kind_wins_over_the_name_of_a_head(tmp_path, name, what):
    result = convert(saved(tmp_path, HIDDEN | head("q_values", 6), args={"algo": name}), tmp_path / "out")
    assert result.classification.refusal == (
        f"the file says that its agent is '{what}'; it has the shapes of dqn"
    )  # fmt: skip
    given = convert(saved(tmp_path, HIDDEN | head("q_values", 6), args={"algo": name}), tmp_path / "given",
                    architecture="dqn")  # fmt: skip
    assert given.architecture == "dqn"


def test_an_agent_whose_name_says_two_things_settles_nothing(tmp_path):
    with pytest.raises(ConversionError) as caught:
        convert(saved(tmp_path, HIDDEN | head("q", 6), args={"algo": "dqn_vs_ppo"}), tmp_path / "out")
    assert caught.value.what == (
        "dqn_vs_ppo is a name of actor-critics, and q.weight is a name of Q-values: "
        "it may be an actor-critic or a Q-network (dqn)"
    )


def test_two_streams_are_settled_by_the_agent_unless_they_are_called_something_else(tmp_path):
    told = convert(saved(tmp_path, streams("out1", "out2", 6), args={"dueling": True}), tmp_path / "told")
    assert (told.architecture, told.config_origin.get("architecture")) == ("dueling", None)
    with pytest.raises(ConversionError, match="of a dueling network and of an actor-critic"):
        convert(saved(tmp_path, streams("out1", "out2", 6)), tmp_path / "open")
    with pytest.raises(ConversionError):
        convert(saved(tmp_path, streams("v", "q", 6), args={"algo": "dqn"}), tmp_path / "q")
    convert(saved(tmp_path, streams("critic", "actor", 6), args={"dueling": True}), tmp_path / "critic")
    assert family_of(tmp_path / "critic") == "actor-critic"


def test_settings_settle_what_would_be_assumed_and_are_marked_as_declared(tmp_path):
    settings = {"agent": "dqn", "normalize_images": True, "dueling_type": "max", "obs_shape": [36, 36, 4]}
    file = saved(tmp_path, streams("value", "advantage", 6), hyper_parameters=settings)
    result = convert(file, tmp_path / "out")
    assert {name: result.config[name] for name in ("input_scale", "dueling_join", "input_shape")} == {
        "input_scale": 255.0, "dueling_join": "max", "input_shape": [4, 36, 36],
    }  # fmt: skip
    origin = result.config_origin
    assert {origin[name] for name in ("input_scale", "dueling_join", "input_shape")} == {"declared"}
    given = convert(file, tmp_path / "given", input_scale=1.0)
    assert (given.config["input_scale"], given.config_origin["input_scale"]) == (1.0, "given")


def test_settings_of_another_run_overrule_no_weights_and_are_said(tmp_path):
    settings = {"n_actions": 4, "obs_shape": [1, 84, 84], "algo": "dqn"}
    result = convert(saved(tmp_path, HIDDEN | head("q", 6), config=settings), tmp_path / "out")
    assert (result.config["n_action"], result.config["input_shape"]) == (6, [4, 36, 36])
    assert [(problem.code, problem.message) for problem in result.warnings] == [
        ("convert.settings", "has settings that say it has 4 actions; its network has 6")
    ]


def test_settings_in_a_file_beside_the_weights_settle_as_well(tmp_path):
    file = saved(tmp_path, HIDDEN | head("fc2", 6))
    (tmp_path / "config.json").write_text(json.dumps({"algo": "DQN", "normalize_images": False, "env": "ALE/Pong-v5"}))
    result = convert(file, tmp_path / "out")
    assert (result.config_origin.get("architecture"), result.config_origin["input_scale"]) == (None, "declared")
    assert json.loads((tmp_path / "out/manifest.json").read_text())["environment"] == {"id": "ALE/Pong-v5"}


def test_settings_of_branches_leave_open_what_the_rows_of_streams_are(tmp_path):
    shapes = {"fc.weight": (16, 4), "fc.bias": (16,)} | head("value", 1) | head("adv", 15)
    with pytest.raises(ConversionError) as e:
        convert(saved(tmp_path, shapes, args={"n_branches": 3, "n_bins": 5}), tmp_path / "out")
    assert e.value.what == (
        "its settings have 'n_branches', so its rows may be bins, or those of several choices at once"
    )
    assert convert(saved(tmp_path, shapes, args={"n_branches": 0}), tmp_path / "out").architecture == "dueling"


def test_a_number_of_quantiles_in_settings_rivals_the_ends_of_a_support(tmp_path):
    ends = {"n_actions": 6, "v_min": -10.0, "v_max": 10.0}
    shapes = HIDDEN | head("fc2", 306)
    source = saved(tmp_path, shapes, config={**ends, "num_quantiles": 51})
    with pytest.raises(ConversionError) as e:
        convert(source, tmp_path / "out")
    assert e.value.what == (
        "could be dqn (306 actions) or distributional (6 actions × 51 atoms): settings say that n_quantiles is 51, and "
        "there is no support"
    )
    assert convert(saved(tmp_path, shapes, config=ends), tmp_path / "out").architecture == "distributional"
