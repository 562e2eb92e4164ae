"""Names taken apart: they relate tensors and raise suspicion, no more."""

import pytest

from ckptfmt.families.names import parse, stream, suspicion


@pytest.mark.parametrize(
    ("name", "stem", "part", "kind"),
    [
        ("fc_h_v.weight_mu", "fc h v", "weight", "mean"),
        ("a_stream.output.sigma.bias", "a stream output", "bias", "sigma"),
        ("Q.0.mu_W", "q 0", "weight", "mean"),
        ("Q.0.eps_p", "q 0 p", None, "noise"),
        ("fc.0.epsilon_input", "fc 0 input", None, "noise"),
        ("_Network__fc1.weight", "network fc 1", "weight", None),
        ("W_conv1", "conv 1", "weight", None),
        ("noise_net.0.weight_sigma", "noise net 0", "weight", "sigma"),
        ("layer_b.weight", "layer b", "weight", None),
        ("support", "support", None, None),
        ("\u202e\x1b[", "", None, None),
    ],
)
def test_a_name_is_layer_part_and_kind(name, stem, part, kind):
    taken = parse(name)
    assert (" ".join(taken.stem), taken.part, taken.kind) == (stem, part, kind)


def test_streams_are_named_in_many_ways():
    assert [stream(parse(name).stem) for name in ("val1.weight", "fc_adv.0.bias", "V.weight", "fc_h_a.bias")] == [
        "value",
        "advantage",
        "value",
        "advantage",
    ]
    assert stream(parse("fc.0.weight").stem) is None
    assert stream(parse("value_advantage.0.weight").stem) is None


@pytest.mark.parametrize(
    ("names", "context", "told"),
    [
        (("quantile_net.0.weight", "x"), (), ("quantile_net.0.weight", "quantile networks")),
        (("conv.weight", "actor.weight"), (), ("actor.weight", "actor-critics")),
        (("conv.weight",), ("critic",), ("critic", "actor-critics")),
        (("conv.weight",), ("torchrl.modules.QValueActor",), ("", "")),
        (("conv.weight",), ("a2c_agent",), ("a2c_agent", "actor-critics")),
        (("projection.weight", "x"), (), ("projection.weight", "something beside or before a Q-network")),
        (("policy_net.conv.weight", "policy_net.fc.weight"), (), ("", "")),
        (("conv.weight",), ("policy.pth", "target_net"), ("", "")),
    ],
)  # fmt: skip
def test_suspicion_names_the_word(names, context, told):
    assert suspicion(names, context) == told
