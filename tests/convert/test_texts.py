"""What Stable-Baselines3 and d3rlpy write as text beside their weights is read as text."""

import json
from typing import Any

import pytest

from ckptfmt.convert.texts import Text, read_texts

BOX = {
    ":type:": "<class 'gymnasium.spaces.box.Box'>", ":serialized:": "gAWVYQAAAAAAAAA=", "dtype": "uint8",
    "_shape": [4, 84, 84], "low_repr": "0", "high_repr": "255",
}  # fmt: skip
DISCRETE = {
    ":type:": "<class 'gymnasium.spaces.discrete.Discrete'>",
    ":serialized:": "gAWV",
    "n": "6",
    "dtype": "int64",
}
POLICY = {
    ":type:": "<class 'abc.ABCMeta'>", ":serialized:": "gAWV", "__module__": "stable_baselines3.dqn.policies",
    "__init__": "<function CnnPolicy.__init__ at 0x7f3d0a>",
}  # fmt: skip
DATA = {
    "policy_class": POLICY, "observation_space": BOX, "action_space": DISCRETE, "policy_kwargs": {}, "gamma": 0.99,
    "num_timesteps": 1000, "_last_obs": {":type:": "<class 'numpy.ndarray'>", ":serialized:": "gAWV"}, "seed": None,
    "lr_schedule": {":type:": "<class 'x.FloatSchedule'>", ":serialized:": "gAWV", "start": 1.0, "f": "<f at 0x7f>"},
}  # fmt: skip


def told(name: str, value: Any) -> Text:
    text, problems = read_texts({name: json.dumps(value).encode()}, where="f")
    assert problems == ()
    return text


def test_the_data_of_stable_baselines_settles_fields_and_is_kept() -> None:
    text = told("data", DATA)
    facts = {"n_action": 6, "actions": "discrete", "input_shape": (4, 84, 84), "input_scale": 255.0}
    assert text.facts == facts
    assert text.training_info == {
        "policy_class": "stable_baselines3.dqn.policies.CnnPolicy",
        "gamma": 0.99,
        "num_timesteps": 1000,
        "lr_schedule": {"class": "x.FloatSchedule", "start": 1.0},
    }
    assert text.environment["observation_space"] == {
        "class": "gymnasium.spaces.box.Box", "shape": [4, 84, 84], "dtype": "uint8", "low": "0", "high": "255",
    }  # fmt: skip
    assert text.environment["action_space"]["n"] == 6
    assert text.agent == ("stable_baselines3.dqn.policies.CnnPolicy",)


@pytest.mark.parametrize(
    ("changes", "scale"),
    [
        ({"policy_kwargs": {"normalize_images": False}}, 1.0),
        ({"policy_kwargs": {"normalize_images": "False", ":type:": "<class 'dict'>", ":serialized:": "gAWV"}}, 1.0),
        ({"observation_space": {**BOX, "dtype": "float32"}}, 1.0),
        ({"observation_space": {**BOX, "high_repr": "1"}}, 1.0),
        ({"observation_space": {name: value for name, value in BOX.items() if "repr" not in name}}, 255.0),
    ],
)
def test_frames_are_divided_exactly_where_that_library_divides_them(changes: dict[str, Any], scale: float) -> None:
    assert told("data", {**DATA, **changes}).facts["input_scale"] == scale


def test_what_is_no_image_has_no_shape_and_no_scale() -> None:
    assert told("data", {**DATA, "observation_space": {**BOX, "_shape": [8]}}).facts == {
        "n_action": 6,
        "actions": "discrete",
    }
    assert told("data", {**DATA, "action_space": {**BOX, "n": "6"}}).facts.get("n_action") is None
    assert told("data", [1]) == Text()


def test_channels_that_come_last_are_put_first() -> None:
    assert told("data", {"observation_space": {**BOX, "_shape": [84, 84, 4]}}).facts["input_shape"] == (4, 84, 84)


@pytest.mark.parametrize(
    ("kind", "scaler", "facts"),
    [
        ("double_dqn", {"type": "pixel"}, {"n_action": 4, "input_shape": (4, 84, 84), "input_scale": 255.0}),
        ("dqn", {"type": "none"}, {"n_action": 4, "input_shape": (4, 84, 84), "input_scale": 1.0}),
        ("dqn", {"type": "min_max"}, {"n_action": 4, "input_shape": (4, 84, 84)}),
        ("cql", {"type": "pixel"}, {"input_shape": (4, 84, 84), "input_scale": 255.0}),
    ],
)
def test_the_config_of_d3rlpy_settles_fields(kind: str, scaler: Any, facts: dict[str, Any]) -> None:
    params = {"gamma": 0.9, "observation_scaler": scaler, "q_func_factory": {"type": "qr"}}
    text = told(
        "config", {"observation_shape": [4, 84, 84], "action_size": 4, "config": {"type": kind, "params": params}}
    )
    assert text.facts == facts
    assert text.training_info["gamma"] == 0.9
    assert text.agent == (kind, "quantile")


@pytest.mark.parametrize("data", [b"{", b"[" * 100, b"\xff", b'{"a": NaN}', b'{"a": 1, "a": 2}'])
def test_a_text_that_is_no_json_is_said_and_does_no_harm(data: bytes) -> None:
    text, (problem,) = read_texts({"data": data}, where="f.zip")
    assert text == Text()
    assert (problem.code, problem.where, problem.severity) == ("source.skipped", "f.zip", "warning")
    assert problem.message.startswith("its text 'data' ")


@pytest.mark.parametrize(
    ("bounds", "told_as"),
    [
        ({"low": "[-4.8 -inf]", "high": "[4.8  inf]"}, ("[-4.8 -inf]", "[4.8  inf]")),
        ({"low": "[[[0 0 ... 0 0]]]", "high": "[[[255 ... 255]]]"}, ("0", "255")),
        ({"low": "[0 1 ... 5 6]", "high": None}, (None, None)),
        ({"low": 3, "high": []}, (None, None)),
    ],
)
def test_bounds_are_told_by_the_array_where_nobody_looked_at_the_space(bounds: Any, told_as: Any) -> None:
    space = {**BOX, "low_repr": None, "high_repr": None, **bounds}
    found = told("data", {**DATA, "observation_space": space}).environment["observation_space"]
    assert (found.get("low"), found.get("high")) == told_as


def test_settings_of_nothing_are_kept_and_absent_ones_are_not() -> None:
    data = {**DATA, "seed": 0, "ent_coef": 0.0, "use_sde": False, "action_noise": None, "replay_buffer_kwargs": {}}
    info = told("data", data).training_info
    assert (info["seed"], info["ent_coef"], info["use_sde"]) == (0, 0.0, False)
    assert {"action_noise", "replay_buffer_kwargs", "policy_kwargs"} & info.keys() == set()
