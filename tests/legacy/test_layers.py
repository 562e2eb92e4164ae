"""What a whole module says of its layers: an activation is seen only where a Sequential has it behind each of them."""

import pytest

from ckptfmt.legacy.bytes.blocks import MemoryBlock
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage
from ckptfmt.legacy.find.layers import Parts, wiring
from ckptfmt.legacy.pickle.inert import Opaque


def module(kind, parameters=None, **modules):
    state = {"training": True, "_parameters": parameters or {}, "_buffers": {}, "_modules": modules}
    return Opaque("instance", kind, state=state)


def linear(inputs, outputs):
    block = Storage("0", "F32", MemoryBlock(bytes(4 * inputs * outputs)))
    weight = LegacyTensor("F32", (outputs, inputs), (inputs, 1), 0, block)
    return module("torch.nn.modules.linear.Linear", {"weight": weight})


def act(name):
    return module(f"torch.nn.modules.activation.{name}")


def row(*modules):
    return module("torch.nn.modules.container.Sequential", **{str(i): item for i, item in enumerate(modules)})


def net(**modules):
    return module("author.Net", **modules)


RELU, TANH, ELU = act("ReLU"), act("Tanh"), act("ELU")
ATTRIBUTES = {"fc1": linear(5, 8), "fc2": linear(8, 7), "out": linear(7, 3)}


@pytest.mark.parametrize(
    ("whole", "activation", "origin", "squash"),
    [
        (row(linear(5, 8), TANH, linear(8, 7), TANH, linear(7, 3)), "tanh", "inferred", ""),
        (net(q=row(linear(5, 8), TANH, linear(8, 3))), "tanh", "inferred", ""),
        (net(body=row(linear(5, 8), ELU), out=linear(8, 3)), "elu", "inferred", ""),
        (row(row(linear(5, 8), ELU), row(linear(8, 7), ELU), linear(7, 3)), "elu", "inferred", ""),
        (row(linear(5, 8), RELU, linear(8, 3), TANH), "relu", "inferred", "tanh"),
        (net(**ATTRIBUTES, tanh=TANH), "", "assumed", ""),
        (net(**ATTRIBUTES, activation=TANH), "tanh", "assumed", ""),
        (net(**ATTRIBUTES, act=ELU), "elu", "assumed", ""),
        (net(body=row(linear(5, 8), ELU, linear(8, 7)), out=linear(7, 3)), "elu", "assumed", ""),
        (net(body=row(linear(5, 8), TANH, linear(8, 7)), out=linear(7, 3)), "", "assumed", ""),
    ],
)
def test_an_activation_is_inferred_where_each_hidden_layer_is_seen_to_have_it(whole, activation, origin, squash):
    found = wiring(Parts(whole))
    assert (found.activation, found.activation_origin, found.squash, found.stranger) == (activation, origin, squash, "")


@pytest.mark.parametrize(
    ("whole", "stranger"),
    [
        (row(linear(5, 8), RELU, linear(8, 3), ELU), "the activation elu behind a head"),
        (net(body=row(linear(5, 8), RELU), out=linear(8, 3), last=TANH), "both relu and tanh"),
        (row(linear(5, 8), RELU, linear(8, 7), TANH, linear(7, 3)), "both relu and tanh"),
    ],
)
def test_what_no_network_here_has_is_named(whole, stranger):
    assert wiring(Parts(whole)).stranger == stranger
