"""Networks made of blocks over the whole space of their configs: told as what they are, and by no other family."""

import random

import pytest

from ckptfmt.families import registry
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.families.skeleton import Skeleton
from ckptfmt.families.tell import tell

from . import draws
from .draws import renamed

# Those whose names say all by themselves.
TOLD = ("actor_critic", "actor_q", "q_network", "recurrent_q", "policy")
KINDS = tuple(kind for kind in draws.KINDS if kind.__name__ in TOLD)


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


@pytest.mark.parametrize("kind", draws.KINDS)
def test_no_other_family_claims_a_network_in_whatever_order_its_tensors_come(kind):
    answers = [draws.answer_to(kind, seed) for seed in range(20)]
    assert set(answers) <= {"right", "refused"}
    assert answers.count("right") >= 10
