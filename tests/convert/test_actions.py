"""What settings say of an agent's actions: whether they are real is never told from how many there are."""

import pickle
from itertools import pairwise

import numpy as np
import pytest

from ckptfmt.convert.actions import actions_said
from ckptfmt.convert.convert import convert
from ckptfmt.errors import ConversionError


@pytest.mark.parametrize(
    ("settings", "kind", "counts"),
    [
        ({"action_dim": 6}, None, {"action_dim": 6}),
        ({"n_actions": 6}, None, {}),
        ({"action_dim": 6, "action_std": 0.6}, "real", {"action_dim": 6}),
        ({"action_std": None}, None, {}),
        ({"has_continuous_action_space": True}, "real", {}),
        ({"has_continuous_action_space": False, "action_std": 0.6}, "discrete", {}),
        ({"is_discrete": True}, "discrete", {}),
        ({"discrete_actions": False}, "real", {}),
        ({"continuous_learning": True, "discrete_bins": True}, None, {}),
        ({"action_type": "Continuous"}, "real", {}),
        ({"action_space": "Box(-1.0, 1.0, (5,), float32)"}, "real", {"action_dim": 5}),
        ({"action_space": "Box(5,)"}, "real", {"action_dim": 5}),
        ({"action_space": "Box(0, 255, (84, 84), uint8)"}, "real", {}),
        ({"action_space": {"class": "gymnasium.spaces.box.Box", "_shape": [3]}}, "real", {"action_dim": 3}),
        ({"action_space": "Discrete(4)"}, "discrete", {"n_action": 4}),
        ({"action_space": {"class": "gym.spaces.discrete.Discrete", "n": 4}}, "discrete", {"n_action": 4}),
        ({"action_space": "MultiDiscrete([2 3])"}, "choices", {"choices": [2, 3]}),
        ({"action_nvec": [2, 3]}, "choices", {"choices": [2, 3]}),
        ({"action_space": "MultiBinary(5)"}, "switches", {}),
        ({"action_space": "a sentence", "observation_space": "Box(5,)"}, None, {}),
        ({"max_action": 2.0}, "real", {}),
        ({"max_action": 5, "action_scale": None}, None, {}),
    ],
)
def test_settings_say_what_kind_of_actions_an_agent_takes_and_how_many(settings, kind, counts):
    assert actions_said(settings, "") == (kind, counts)


def test_a_game_that_is_played_with_real_numbers_says_so_unless_the_settings_say_another_thing():
    assert actions_said({}, "Walker2d-v4") == ("real", {})
    assert actions_said({}, "HalfCheetahBulletEnv-v0") == ("real", {})
    assert actions_said({"discrete": True}, "Pendulum-v1") == ("discrete", {})
    assert actions_said({}, "CartPole-v1") == (None, {})


def row(stem, *sizes):
    return {f"{stem}.{2 * i}.{part}": shape for i, (inputs, outputs) in enumerate(pairwise(sizes))
            for part, shape in (("weight", (outputs, inputs)), ("bias", (outputs,)))}  # fmt: skip


def head(name, rows):
    return {f"{name}.weight": (rows, 8), f"{name}.bias": (rows,)}


NUMBERED = row("actor", 5, 8, 8, 6) | row("critic", 5, 8, 8, 1)


def named(name, rows=6):
    return row("body", 5, 8, 8) | head(name, rows) | head("critic", 1)


def converted(tmp_path, shapes, **settings):
    random = np.random.default_rng(0)
    tensors = {name: random.normal(size=shape).astype("f4") for name, shape in shapes.items()}
    (tmp_path / "case.pkl").write_bytes(pickle.dumps({"model": tensors, "args": settings}))
    return convert(tmp_path / "case.pkl", tmp_path / "out")


@pytest.mark.parametrize(
    ("shapes", "settings", "name", "origin"),
    [
        (NUMBERED, {"action_dim": 6, "action_std": 0.6}, "gaussian", "declared"),
        (NUMBERED, {"action_dim": 6, "continuous": False}, "categorical", "declared"),
        (NUMBERED, {"action_dim": 3, "continuous": True}, "gaussian", "inferred"),
        (NUMBERED, {"action_space": "MultiDiscrete([2 4])"}, "multi-categorical", "inferred"),
        (named("actor"), {"env_id": "Walker2d-v4", "action_dim": 6}, "gaussian", "declared"),
        (named("actor", 5), {"env_id": "Walker2d-v4"}, "gaussian", "declared"),
        (named("actor"), {"action_dim": 6}, "categorical", "assumed"),
        (named("_logits._model.0", 12), {}, "categorical", "assumed"),
        (named("distribution_linear", 12), {}, "categorical", "assumed"),
        (named("logits"), {}, "categorical", "inferred"),
        (named("mu"), {}, "gaussian", "inferred"),
        (named("action_mean"), {"n_actions": 6}, "gaussian", "inferred"),
    ],
)
def test_a_policy_beside_a_value_is_discrete_where_something_but_a_number_says_so(
    tmp_path, shapes, settings, name, origin
):
    result = converted(tmp_path, shapes, **settings)
    assert (result.family, result.architecture, result.config_origin["policy"]) == ("actor-critic", name, origin)
    if name == "categorical":
        # How many actions there are is as sure as that there are some.
        assert (result.config_origin["n_action"] == "assumed") == (origin == "assumed")


@pytest.mark.parametrize(
    ("shapes", "settings", "what"),
    [
        (NUMBERED, {"action_dim": 6}, "whether its actions are discrete or real cannot be told"),
        (
            NUMBERED,
            {"continuous": True, "action_dim": 4},
            "whether half of the 6 rows of actor.4.weight are deviations cannot be told",
        ),
        (
            row("actor", 5, 8, 8, 6),
            {"continuous": True, "action_dim": 6},
            "whether actor.4.weight gives an action or the mean of one cannot be told",
        ),
        (NUMBERED, {"action_space": "MultiDiscrete"}, "how its 6 rows are parted into choices is not said"),
    ],
)
def test_what_settings_leave_open_is_asked_for(tmp_path, shapes, settings, what):
    with pytest.raises(ConversionError) as caught:
        converted(tmp_path, shapes, **settings)
    assert caught.value.what == what


@pytest.mark.parametrize(
    ("shapes", "settings", "why"),
    [
        (
            named("actor"),
            {"action_space": "MultiBinary(6)"},
            "its actions are several times yes or no, which is not rebuilt here",
        ),
        (
            row("actor", 5, 8, 8, 6) | row("critic", 11, 8, 8, 1),
            {"discrete_action": True},
            "the file says that its actions are discrete, and its critics take them beside what it sees",
        ),
    ],
)  # fmt: skip
def test_what_the_settings_contradict_is_not_claimed(tmp_path, shapes, settings, why):
    assert converted(tmp_path, shapes, **settings).classification.refusal == f"no family of networks fits it: {why}"
