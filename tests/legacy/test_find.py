"""Where networks are in an object: any nest, prefix, wrapper, copy, list or whole module."""

import math
from collections.abc import Mapping
from itertools import pairwise

import pytest

from ckptfmt.legacy.bytes.blocks import MemoryBlock
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage
from ckptfmt.legacy.find.find import find_networks, twins
from ckptfmt.legacy.pickle.inert import Opaque


def tensor(*shape: int) -> LegacyTensor:
    strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
    return LegacyTensor("F32", shape, strides, 0, Storage("0", "F32", MemoryBlock(bytes(4 * math.prod(shape)))))


SHAPES = {
    "conv.0.weight": (4, 1, 3, 3), "conv.0.bias": (4,),
    "fc.0.weight": (8, 16), "fc.0.bias": (8,), "fc.2.weight": (3, 8), "fc.2.bias": (3,),
}  # fmt: skip


def network(prefix: str = "") -> dict[str, LegacyTensor]:
    return {prefix + name: tensor(*shape) for name, shape in SHAPES.items()}


def module(name: str, modules: Mapping[str, Opaque], parameters: Mapping[str, LegacyTensor] | None = None, **more):
    state = {"training": True, "_parameters": dict(parameters or {}), "_buffers": {}, "_modules": dict(modules), **more}
    return Opaque("instance", name, state=state)


def linear(out: int, size: int) -> Opaque:
    return module("torch.nn.modules.linear.Linear", {}, {"weight": tensor(out, size), "bias": tensor(out)})


def conv() -> Opaque:
    return module("torch.nn.modules.conv.Conv2d", {}, {"weight": tensor(4, 1, 3, 3), "bias": tensor(4)})


def whole_module(**more) -> Opaque:
    def sequence(**layers):
        return module("torch.nn.modules.container.Sequential", layers)

    streams = {
        "conv": sequence(**{"0": conv()}),
        "fc": sequence(**{"0": linear(8, 16), "1": module("x.ReLU", {}), "2": linear(3, 8)}),
    }
    return module("author.DQN", streams, **more)


def paths(value, member=""):
    return [(found.path, found.role) for found in find_networks({member: value})]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (network(), ""),
        ({"model_state_dict": network(), "epoch": 3}, "model_state_dict"),
        ({"agent": {"net": network()}}, "agent/net"),
        ([network(), None], "0"),
        ((network(), {"lr": 0.1}, 7), "0"),
        (network("module."), "module."),
        (network("module._orig_mod."), "module._orig_mod."),
        ({"state_dict": network("_orig_mod.")}, "state_dict/_orig_mod."),
        (list(network().items()), ""),
        (whole_module(), ""),
        ({"model": whole_module()}, "model"),
        (Opaque("instance", "author.Agent", state={"net": whole_module(), "steps": 3}), "net"),
        (Opaque("instance", "author.Dict", pairs=[("weights", network())]), "weights"),
    ],
)
def test_a_network_is_found_where_it_lies(value, path):
    (found,) = find_networks({"": value})
    assert found.path == path
    assert {name: t.shape for name, t in found.tensors.items()} == SHAPES


def test_names_need_not_be_text():
    (found,) = find_networks({"": dict(enumerate(network().values()))})
    assert list(found.tensors) == ["0", "1", "2", "3", "4", "5"]
    (found,) = find_networks({"": list(network().values())})
    assert list(found.tensors) == ["0", "1", "2", "3", "4", "5"]


def test_a_nest_of_layers_is_one_network():
    nest = {}
    for name, value in network().items():
        stem, number, part = name.split(".")
        nest.setdefault(stem, {}).setdefault(number, {})[part] = value
    (found,) = find_networks({"": {"params": nest}})
    assert found.path == "params"
    assert {name: t.shape for name, t in found.tensors.items()} == SHAPES


def test_layers_as_pairs_of_arrays_are_one_network():
    values = list(network().values())
    (found,) = find_networks({"": [values[:2], values[2:4], values[4:]]})
    assert list(found.tensors) == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]


@pytest.mark.parametrize(
    ("online", "target"),
    [
        ("q_net.", "q_net_target."),
        ("model.", "model_old."),
        ("online_net.", "target_net."),
        ("policy_net.", "target_net."),
        ("local.", "target."),
    ],
)
def test_online_comes_before_its_target_copy(online, target):
    assert paths(network(target) | network(online)) == [(online, "online"), (target, "target")]
    nested = {target.rstrip("."): network(), online.rstrip("."): network()}
    assert paths({"agent": nested}) == [
        (f"agent/{online.rstrip('.')}", "online"),
        (f"agent/{target.rstrip('.')}", "target"),
    ]


def test_copies_told_by_a_word_inside_their_names():
    target = {name.replace("conv", "target_conv").replace("fc", "target_fc"): t for name, t in network().items()}
    first, second = find_networks({"": network() | target})
    assert (first.role, set(first.tensors)) == ("online", set(SHAPES))
    assert (second.role, set(second.tensors)) == ("target", set(target))


def test_copies_under_prefixes_of_different_depth():
    both = network("policy.model.") | network("model_old.module.") | {"steps": tensor()}
    assert paths(both) == [("policy.model.", "online"), ("model_old.module.", "target")]
    for found in find_networks({"": both}):
        assert set(found.tensors) == set(SHAPES)


def test_a_support_beside_copies_belongs_to_each_and_a_counter_to_none():
    both = network("model.") | network("model_old.") | {"support": tensor(51), "steps": tensor()}
    for found in find_networks({"": both}):
        assert set(found.tensors) == {*SHAPES, "support"}


def test_twins_without_a_target_are_equally_likely():
    first, second = find_networks({"": network("q1.") | network("q2.")})
    assert first.rank == second.rank
    assert (first.role, second.role) == ("unknown", "unknown")
    assert twins((first, second)) == ("q1.", "q2.")


def test_one_network_under_two_keys_has_no_twin():
    same = network()
    found = find_networks({"": {"last": dict(same), "best": dict(same)}})
    assert [item.path for item in found] == ["last", "best"]
    assert twins(found) == ()
    assert twins(find_networks({"": {"online": network(), "target": network()}})) == ()


def dense(*sizes):
    return {
        name: found
        for i, (inputs, outputs) in enumerate(pairwise(sizes))
        for name, found in ((f"{i}.weight", tensor(outputs, inputs)), (f"{i}.bias", tensor(outputs)))
    }


@pytest.mark.parametrize(
    ("keys", "alike"),
    [
        (("initial", "final"), ("initial", "final")),
        (("epoch_10", "epoch_20", "epoch_30"), ("epoch_10", "epoch_20", "epoch_30")),
        (("net", "target_net"), ()),
    ],
)
def test_networks_of_linear_layers_are_equally_likely_as_well(keys, alike):
    beside = {key: dense(4, 8, 2) for key in keys}
    assert twins(find_networks({"": {**beside, "step": 3}})) == alike
    assert twins(find_networks({"": {key: dense(4, 2) for key in keys} | {"step": 3}})) == ()


def agent(inputs):
    return {"actor": dense(inputs, 8, 2), "critic": dense(inputs, 8, 1), "lr": 0.1}


@pytest.mark.parametrize(
    ("nest", "alike"),
    [
        ({"agents": {"one": agent(4), "other": agent(9)}}, ("agents/other/actor", "agents/one/actor")),
        ({"agent_0": agent(9), "agent_1": agent(4)}, ("agent_0/actor", "agent_1/actor")),
        ({"agent_params": [agent(4), agent(9)]}, ("agent_params/1/actor", "agent_params/0/actor")),
        ({"members": {0: agent(4), 1: {"net": dense(9, 8, 2), "lr": 1}}}, ("members/1/net", "members/0/actor")),
        ({"agent": {"net": dense(9, 8, 2), "other": dense(4, 8, 2), "lr": 1}}, ()),
        ({"agents": [agent(4)]}, ()),
        (dense(4, 8, 2), ()),
    ],
)  # fmt: skip
def test_of_several_agents_none_is_the_likeliest_for_its_size(nest, alike):
    assert twins(find_networks({"": nest | {"step": 3}})) == alike


def test_encoders_that_share_heads_are_not_taken_apart():
    shapes = {
        "a.conv.weight": (4, 1, 3, 3),
        "a.fc.weight": (8, 16),
        "b.conv.weight": (4, 1, 3, 3),
        "b.fc.weight": (8, 16),
    }
    (found,) = find_networks({"": {name: tensor(*s) for name, s in shapes.items()} | {"head.weight": tensor(3, 8)}})
    assert len(found.tensors) == 5


def test_two_streams_of_equal_shapes_are_no_copies():
    streams = {
        f"{stream}.{i}.weight": tensor(*s) for stream in ("value", "advantage") for i, s in ((0, (8, 16)), (2, (1, 8)))
    }
    (found,) = find_networks({"": {"conv.weight": tensor(4, 1, 3, 3)} | streams})
    assert len(found.tensors) == 5


def optimizer():
    state = {
        i: {"step": tensor(), "exp_avg": tensor(*s), "exp_avg_sq": tensor(*s)} for i, s in enumerate(SHAPES.values())
    }
    return {"state": state, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}


def test_optimizer_state_is_no_network_and_comes_last():
    assert paths({"optimizer": optimizer(), "model": network()}) == [("model", "unknown"), ("optimizer", "optimizer")]
    assert paths(optimizer()) == [("", "optimizer")]
    assert [role for _, role in paths(optimizer()["state"])] == ["optimizer"] * len(paths(optimizer()["state"]))
    flat = {f"state.{i}.{name}": t for i, item in optimizer()["state"].items() for name, t in item.items()}
    assert paths(flat) == [("", "optimizer")]


def test_trajectories_come_behind_networks():
    data = {"states": tensor(5, 4, 8, 8), "actions": tensor(5)}
    assert paths({"buffer": data, "net": network()}) == [("net", "unknown"), ("buffer", "unknown")]


def test_members_of_an_archive_are_named():
    assert paths(network("q_net.") | network("q_net_target."), "policy.pth")[0] == ("policy.pth : q_net.", "online")
    assert paths(network(), "policy.pth") == [("policy.pth", "unknown")]


@pytest.mark.parametrize("value", [42, None, {}, [], "text", {"state": {}, "param_groups": [{"lr": 1}]}, {"x": [1, 2]}])
def test_nothing_is_found_where_nothing_is(value):
    assert [found for found in find_networks({"": value}) if found.tensors] == []


def test_facts_are_the_plain_data_beside_a_network():
    args = Opaque("instance", "argparse.Namespace", state={"game": "pong", "net": Opaque("global", "x.y")})
    value = {"agent": {"net": network(), "steps": 5}, "steps": 7, "args": args, "rng": tensor(9), "seen": (1, 2)}
    (found,) = find_networks({"": value})
    assert found.facts == {"steps": 5, "args": {"game": "pong"}, "seen": [1, 2]}


def test_context_says_what_an_agent_is_called():
    (found,) = find_networks({"": {"critic": whole_module(gamma=0.9), "agent_name": "QR-DQN", "lr": 0.1}})
    assert {"critic", "author.DQN", "QR-DQN"} <= set(found.context)
    assert found.facts["gamma"] == 0.9


def test_a_module_gives_its_tensors_in_module_order_without_its_class():
    inner = whole_module(_non_persistent_buffers_set=["cache"])
    inner.state["_buffers"] = {"cache": tensor(3), "support": tensor(51), "none": None}
    (found,) = find_networks({"": inner})
    assert list(found.tensors) == ["support", *SHAPES]


def test_a_scripted_module_gives_its_tensors():
    def scripted(**state):
        return Opaque("instance", "__torch__.x.Module", state={"training": False, **state})

    root = scripted(
        conv=scripted(**{"0": scripted(weight=tensor(4, 1, 3, 3), bias=tensor(4))}),
        fc=scripted(
            **{"0": scripted(weight=tensor(8, 16), bias=tensor(8)), "2": scripted(weight=tensor(3, 8), bias=tensor(3))}
        ),
    )
    (found,) = find_networks({"": root})
    assert {name: t.shape for name, t in found.tensors.items()} == SHAPES
