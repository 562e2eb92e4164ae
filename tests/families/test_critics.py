"""Which networks beside a policy are its critics: those that are called so, alike, and nothing besides."""

from itertools import pairwise

import pytest

from ckptfmt.families.evidence import Facts
from ckptfmt.families.tell import classify


def row(stem, *sizes):
    return {
        name: shape
        for i, (inputs, outputs) in enumerate(pairwise(sizes))
        for name, shape in ((f"{stem}.{2 * i}.weight", (outputs, inputs)), (f"{stem}.{2 * i}.bias", (outputs,)))
    }


def beside(*names, actor="actor", rows=1):
    return {
        name: shape
        for shapes in (row(actor, 5, 16, 2), *(row(name, 7, 16, rows) for name in names))
        for name, shape in shapes.items()
    }


TAKES = "{}.0.weight takes what a critic of the policy takes, and its name does not say that it is one"
STRANGE = "'{}' in {}.0.weight may say that it values something else than a critic of the policy"
DIFFERENT = "{}.0.weight and {}.0.weight are called differently, so they may value different things"
REFUSED = {
    ("critic", "cost_critic"): STRANGE.format("cost", "cost_critic"),
    ("critic1", "critic2", "safety_critic"): STRANGE.format("safety", "safety_critic"),
    ("q1", "q2", "qrisk/q1"): STRANGE.format("qrisk", "qrisk/q1"),
    ("critic_r", "critic_c"): STRANGE.format("r", "critic_r"),
    ("critic", "qc"): TAKES.format("qc"),
    ("critic1", "critic2", "model"): TAKES.format("model"),
    ("discriminate",): TAKES.format("discriminate"),
    ("disc",): TAKES.format("disc"),
    ("r_net",): TAKES.format("r_net"),
    ("advantage",): TAKES.format("advantage"),
    ("net1",): TAKES.format("net1"),
    ("critic", "q"): DIFFERENT.format("critic", "q"),
    ("agent_0_critic", "agent_1_critic"): STRANGE.format("agent", "agent_0_critic"),
}
CLAIMED = {
    ("critic",): "deterministic+q",
    ("critic1", "critic2"): "deterministic+twin-q",
    ("critic.q1", "critic.q2"): "deterministic+twin-q",
    ("q_a", "q_b"): "deterministic+twin-q",
    ("q_net", "twin_q_net"): "deterministic+twin-q",
    ("soft_q_net1", "soft_q_net2"): "deterministic+twin-q",
    ("critics.0", "critics.1", "critics.2"): "deterministic+3-q",
    ("critic.n",): "deterministic+q",
}


@pytest.mark.parametrize("names", REFUSED, ids=" and ".join)
def test_what_takes_the_action_and_is_no_critic_by_its_name_is_left_to_a_person(names):
    answer = classify(beside(*names))
    assert (answer.refusal, answer.options) == (REFUSED[names], ("key", "architecture"))


@pytest.mark.parametrize("names", CLAIMED, ids=" and ".join)
def test_critics_are_told_by_one_name_for_all(names):
    answer = classify(beside(*names))
    assert (answer.refusal, answer.architecture) == ("", CLAIMED[names])


def test_a_list_of_networks_has_no_names_and_needs_none():
    shapes = {name.replace("actor.0.2", "0.mu"): shape for name, shape in beside("1", "2", actor="0").items()}
    assert classify(shapes).architecture == "deterministic+twin-q"


def test_critics_of_discrete_actions_are_held_to_their_names_as_well():
    shapes = row("actor", 5, 16, 3) | row("critic", 5, 16, 3)
    assert classify(shapes).architecture == "categorical+q"
    assert classify(shapes | row("cost_critic", 5, 16, 3)).refusal == STRANGE.format("cost", "cost_critic")


def test_a_state_value_is_held_to_its_name_as_well():
    shapes = beside("q1", "q2")
    assert classify(shapes | row("v", 5, 16, 1)).architecture == "deterministic+twin-q+value"
    assert classify(shapes | row("cost_v", 5, 16, 1)).refusal == STRANGE.format("cost", "cost_v")


def test_who_says_that_they_are_critics_is_believed():
    facts = Facts(architecture="actor-q/deterministic+twin-q")
    assert classify(beside("critic", "cost_critic"), facts=facts).architecture == "deterministic+twin-q"


@pytest.mark.parametrize("rows", [2, 3, 51])
def test_several_numbers_of_a_critic_are_quantiles_where_somebody_says_so(rows):
    shapes = beside("critic", rows=rows)
    answer = classify(shapes)
    why = f"critic.2.weight gives {rows} numbers, which are quantiles, atoms or values of several things"
    assert (answer.refusal, answer.options) == (why, ("key", "n_quantiles"))
    said = classify(shapes, facts=Facts(more={"n_quantiles": rows}))
    assert (said.architecture, said.chosen.origin["n_quantiles"]) == ("deterministic+quantile-q", "given")
    assert classify(shapes, facts=Facts(more={"n_quantiles": rows + 1})).refusal == why


def test_a_word_for_quantiles_says_that_a_critic_gives_some():
    named = classify(beside("quantile_critic1", "quantile_critic2", rows=5))
    assert (named.refusal, named.architecture) == ("", "deterministic+twin-quantile-q")
    around = classify(beside("critic", rows=5), context=("sb3_contrib.tqc.policies.TQCPolicy",))
    assert (around.refusal, around.architecture) == ("", "deterministic+quantile-q")
