"""Networks made of blocks over the whole space of their configs: told as what they are, and by no other family."""

import random

import pytest

from ckptfmt.families import registry
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.families.skeleton import Skeleton
from ckptfmt.families.tell import tell

SIZES = (16, 24, 32, 48, 64)


def mlp(chance, least=1, **more):
    return [{"kind": "mlp", "sizes": [chance.choice(SIZES) for _ in range(chance.randint(least, 3))], **more}]


def actor_critic(chance, names):
    gaussian = chance.random() < 0.5
    said = {"policy": "gaussian", "action_dim": 3, "deviation": "vector"} if gaussian else {"policy": "categorical"}
    config = {"observation": [11], "policy_trunk": mlp(chance), "value_trunk": mlp(chance), **said}
    names |= {"policy.": "pi_net.", "logits": "pi_head", "mean": "mean_head", "deviation": "log_std"}
    names |= {"value.": "vf_net.", "state_value": "vf_head"}
    return "actor-critic", config if gaussian else {**config, "n_action": 5}


def actor_q(chance, names):
    names |= {"policy.": "actor.body.", "action": "actor.mu", "critics.": "qf."}
    config = {"observation": [11], "policy": "deterministic", "action_dim": 3, "policy_trunk": mlp(chance)}
    return "actor-q", {**config, "n_critics": chance.randint(1, 3), "critic_trunk": mlp(chance)}


def q_network(chance, names):
    names |= {"trunk.": "q_net.", "q": "q_values"}
    trunk = mlp(chance, norm=chance.choice(["none", "layer"]))
    return "q-network", {"observation": [11], "n_action": 5, "trunk": trunk}


def recurrent_q(chance, names):
    names |= {"trunk.": "q_net.", "q": "q_values"}
    cell = {"kind": "cell", "cell": chance.choice(["lstm", "gru"]), "size": chance.choice(SIZES)}
    return "recurrent-q", {"observation": [11], "n_action": 5, "trunk": [*mlp(chance), cell]}


def policy(chance, names):
    names |= {"policy.": "actor.", "mean": "actor_mean", "deviation": "actor_log_std"}
    config = {"observation": [11], "policy": "gaussian", "action_dim": 3, "deviation": "head"}
    return "policy", {**config, "policy_trunk": mlp(chance)}


KINDS = (actor_critic, actor_q, q_network, recurrent_q, policy)


def renamed(name, names):
    old = next((old for old in names if name == old or name.startswith(old if old.endswith(".") else f"{old}.")), "")
    new = names[old] + name.removeprefix(old) if old else name
    return new.replace(".linear.", ".fc").replace(".norm.", ".ln")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_a_network_is_told_as_what_it_is_and_by_no_other_family(kind, seed):
    names: dict[str, str] = {}
    family, data = kind(random.Random(seed), names)
    network = Blueprint.of(registry.find(family).config.from_dict(data))
    shapes = {renamed(name, names): shape for name, shape in network.tensors().items()}
    answer = tell(Skeleton(shapes=shapes))
    assert (answer.family, answer.architecture, answer.refusal) == (family, network.name, "")
    told = Blueprint.of(answer.chosen.config)
    assert dict(told.tensors()) == dict(network.tensors())
    sources = {placement.name: placement.source for placement in answer.chosen.placements}
    assert {name: renamed(name, names) for name in network.tensors()} == sources


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_names_that_say_nothing_are_no_witness(kind, seed):
    chance = random.Random(seed)
    family, data = kind(chance, {})
    tensors = list(Blueprint.of(registry.find(family).config.from_dict(data)).tensors().items())
    layers = dict.fromkeys(name.rpartition(".")[0] for name, _ in tensors)
    numbers = {layer: str(i) for i, layer in enumerate(layers)}
    shapes = {}
    for name, shape in tensors:
        layer, _, leaf = name.rpartition(".")
        shapes[f"{numbers[layer]}.{leaf}"] = shape
    answer = tell(Skeleton(shapes=shapes))
    # What a critic takes is what the policy sees and gives: that needs no names.
    assert answer.family in (None, family)
    assert answer.chosen is None or family == "actor-q"
