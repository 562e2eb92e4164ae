"""Tensors grouped into layers, layers into parts."""

import pytest

from ckptfmt.families.skeleton import Skeleton


def layer(stem, *shape):
    return {f"{stem}.weight": shape, f"{stem}.bias": shape[:1]}


def noisy(stem, *shape):
    return {f"{stem}.{part}_{kind}": shape if part == "weight" else shape[:1]
            for part in ("weight", "bias") for kind in ("mu", "sigma", "epsilon")}  # fmt: skip


NORM = {"bn1.weight": (32,), "bn1.bias": (32,), "bn1.running_mean": (32,), "bn1.running_var": (32,)}
CELL = {"lstm.weight_ih_l0": (64, 8), "lstm.weight_hh_l0": (64, 16), "lstm.bias_ih_l0": (64,), "lstm.bias_hh_l0": (64,)}


@pytest.mark.parametrize(
    ("shapes", "kinds"),
    [
        (layer("conv1", 32, 4, 8, 8) | layer("fc", 6, 512), ["convolution", "linear"]),
        (NORM | {"bn1.num_batches_tracked": ()}, ["batch norm"]),
        (layer("ln", 512), ["norm"]),
        (CELL, ["cell"]),
        ({**layer("pi", 2, 8), "log_std": (2,)}, ["linear", "vector"]),
        (layer("conv1d", 8, 4, 3), ["other"]),
    ],
)
def test_layers_are_told_by_rank_and_by_the_parts_they_have(shapes, kinds):
    assert [found.kind for found in Skeleton(shapes=shapes).layers] == kinds


def test_the_parts_of_a_noisy_layer_are_one_layer():
    (found,) = Skeleton(shapes=noisy("fc1", 16, 8)).layers
    assert (found.kind, found.noisy, found.shape, len(found.tensors)) == ("linear", True, (16, 8), 6)
    assert not Skeleton(shapes=layer("mu", 3, 8)).layers[0].noisy


def test_without_names_each_matrix_is_a_layer_and_a_vector_its_bias():
    found = Skeleton(shapes={"0": (32, 4, 8, 8), "1": (32,), "2": (6, 32), "3": (6,), "4": (51,)})
    assert [(item.kind, item.tensors) for item in found.layers] == [
        ("convolution", ("0",)), ("linear", ("2",)), ("vector", ("4",)),
    ]  # fmt: skip


def test_heads_are_what_no_layer_takes_in():
    found = Skeleton(shapes=layer("fc1", 64, 128) | layer("v", 1, 64) | layer("a", 6, 64))
    assert [head.name for head in found.heads] == ["v.weight", "a.weight"]
    fused = Skeleton(shapes=layer("both", 128, 256) | layer("v", 1, 64) | layer("a", 6, 64))
    assert [head.name for head in fused.heads] == ["v.weight", "a.weight"]


def test_parts_begin_with_the_first_word_that_is_not_shared():
    found = Skeleton(shapes=layer("agent.actor.0", 8, 4) | layer("agent.actor.2", 2, 8) | layer("agent.critic.0", 1, 4))
    assert [(part.prefix, len(part.layers)) for part in found.parts] == [("actor", 2), ("critic", 1)]


def test_words_that_all_layers_share_are_nobodys_own():
    found = Skeleton(shapes=layer("policy_net.fc1", 8, 4) | layer("policy_net.policy_head", 2, 8))
    assert [found.own(item) for item in found.layers] == [("fc",), ("policy", "head")]
    assert found.own(Skeleton(shapes=layer("mu", 3, 8)).layers[0]) == ("mu",)
