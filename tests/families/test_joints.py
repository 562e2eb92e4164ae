"""Networks that could follow one another: only what its name puts before another one is strung with it."""

from itertools import pairwise

import pytest

from ckptfmt.families.tell import classify


def row(stem, *sizes):
    return {
        name: shape
        for i, (inputs, outputs) in enumerate(pairwise(sizes))
        for name, shape in ((f"{stem}.{2 * i}.weight", (outputs, inputs)), (f"{stem}.{2 * i}.bias", (outputs,)))
    }


WHY = "{}.0.weight takes what {}.2.weight gives, and nothing says that the two are of one network"


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        ("manager", "worker_actor"), ("planner", "policy"), ("ensemble_model", "actor"), ("preproc", "q_network"),
        ("autoenc", "q_network"), ("speaker", "listener_q"), ("agent_0", "agent_1_q"), ("manager_net", "worker_q_net"),
    ],
)  # fmt: skip
def test_two_whole_networks_are_not_strung_into_one(before, behind):
    answer = classify(row(before, 11, 16, 7) | row(behind, 7, 16, 3))
    assert (answer.refusal, answer.options) == (WHY.format(behind, before), ("key",))


@pytest.mark.parametrize("before", ["encoder", "obs_encoder", "phi", "features_extractor", "q.torso", "net", "trunk"])
def test_what_is_called_so_lies_before_and_whether_an_activation_follows_it_is_assumed(before):
    chosen = classify(row(before, 11, 16, 7) | row("q_network", 7, 16, 3)).chosen
    assert (chosen.name, chosen.config.observation, chosen.origin["trunk"]) == ("dqn", (11,), "assumed")


def test_one_layer_is_no_network_of_its_own():
    chosen = classify(row("simple", 11, 7) | row("q_network", 7, 16, 3)).chosen
    assert (chosen.name, chosen.origin["trunk"]) == ("dqn", "inferred")


def test_a_model_beside_an_actor_and_its_critic_is_not_what_the_actor_sees_through():
    shapes = row("actor", 7, 16, 3) | row("critic", 7, 16, 1) | row("ensemble_model", 10, 16, 7)
    assert classify(shapes).refusal == WHY.format("actor", "ensemble_model")


def test_layers_of_two_networks_are_not_strung_by_turns():
    def named(stem, inputs, outputs):
        sizes = {"fc1": (16, inputs), "fc2": (16, 16), "q": (outputs, 16)}
        ends = {"weight": 2, "bias": 1}
        return {f"{stem}.{name}.{part}": size[:end] for name, size in sizes.items() for part, end in ends.items()}

    answer = classify(named("speaker", 3, 3) | named("listener", 11, 5))
    why = "speaker.q.weight takes what listener.fc2.weight gives, and nothing says that the two are of one network"
    assert (answer.refusal, answer.options) == (why, ("key",))
