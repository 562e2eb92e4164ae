"""Layouts of other code bases, written down from how their layers are named: told, or left open for a reason."""

import pytest

from ckptfmt.families.evidence import Facts
from ckptfmt.families.tell import classify

HINTS = Facts(n_action=6, n_atoms=51, v_min=-10.0, v_max=10.0)


def plain(stem, *shape):
    return {f"{stem}.weight": shape, f"{stem}.bias": shape[:1]}


def noisy(stem, *shape):
    parts = {f"{stem}.weight_{kind}": shape for kind in ("mu", "sigma", "epsilon")}
    return parts | {f"{stem}.bias_{kind}": shape[:1] for kind in ("mu", "sigma", "epsilon")}


def beside(stem, *shape):
    """Sigmas beside plain weights, noise as a row and a column."""
    rows, columns = shape
    sigmas = {f"{stem}.sigma_weight": shape, f"{stem}.sigma_bias": (rows,)}
    return plain(stem, *shape) | sigmas | {f"{stem}.epsilon_input": (1, columns), f"{stem}.epsilon_output": (rows, 1)}


def trunk(first, second, third):
    return plain(first, 32, 4, 8, 8) | plain(second, 64, 32, 4, 4) | plain(third, 64, 64, 3, 3)


def streams(layer, value, advantage, rows=(1, 6), hidden=512, features=3136):
    found = {}
    for (one, two), out in zip((value, advantage), rows, strict=True):
        found |= layer(one, hidden, features) | layer(two, out, hidden)
    return found


ATOMS = (51, 306)
TOLD = {
    # heads before the body, hidden layer inside the body
    "fc_head": (
        plain("fc_head", 6, 512) | trunk("body.conv1", "body.conv2", "body.conv3") | plain("body.fc4", 512, 3136),
        "dqn",
        1,
    ),
    "fc_value, fc_advantage": (
        plain("fc_value", 1, 512)
        | plain("fc_advantage", 6, 512)
        | trunk("body.conv1", "body.conv2", "body.conv3")
        | plain("body.fc4", 512, 3136),
        "dueling",
        1,
    ),
    "adv1, adv2, val1, val2": (
        trunk("body.conv1", "body.conv2", "body.conv3") | streams(noisy, ("val1", "val2"), ("adv1", "adv2")),
        "dueling+noisy",
        1,
    ),
    "noisy_value1": (
        trunk("features.0", "features.2", "features.4")
        | streams(noisy, ("noisy_value1", "noisy_value2"), ("noisy_advantage1", "noisy_advantage2"), ATOMS),
        "dueling+distributional+noisy",
        255,
    ),
    "value_model": (
        trunk("1", "3", "5")
        | streams(
            beside, ("8.value_model.0", "8.value_model.2"), ("8.advantage_model.0", "8.advantage_model.2"), ATOMS
        ),
        "dueling+distributional+noisy",
        255,
    ),
    "value_head is the only head": (
        trunk("body.net.0", "body.net.2", "body.net.4")
        | plain("value_head.0", 512, 3136)
        | plain("value_head.2", 6, 512),
        "dqn",
        255,
    ),
    "fc_adv, fc_val": (
        trunk("conv.0", "conv.2", "conv.4")
        | streams(plain, ("fc_val.0", "fc_val.2"), ("fc_adv.0", "fc_adv.2"), hidden=256),
        "dueling",
        256,
    ),
    "sigma_weight": (
        trunk("conv.0", "conv.2", "conv.4") | beside("fc.0", 512, 3136) | beside("fc.2", 6, 512),
        "noisy",
        256,
    ),
    "supports": (
        trunk("conv.0", "conv.2", "conv.4") | plain("fc.0", 512, 3136) | plain("fc.2", 306, 512) | {"supports": (51,)},
        "distributional",
        256,
    ),
    "conv1 with padding": (
        trunk("conv1", "conv2", "conv3") | streams(noisy, ("fc_h_v", "fc_z_v"), ("fc_h_a", "fc_z_a"), ATOMS),
        "dueling+distributional+noisy",
        1,
    ),
    "a frame of 104x80": (
        trunk("conv.conv.conv.0", "conv.conv.conv.2", "conv.conv.conv.4")
        | plain("head.model.0", 512, 6912)
        | plain("head.model.2", 6, 512),
        "dqn",
        1,
    ),
}


@pytest.mark.parametrize("case", TOLD)
def test_a_peers_network_is_told(case):
    shapes, architecture, scale = TOLD[case]
    facts = HINTS if "distributional" in architecture else Facts(n_action=6)
    answer = classify(shapes, values=lambda name: [-10 + 0.4 * i for i in range(51)], facts=facts)
    assert (answer.architecture, answer.refusal) == (architecture, "")
    assert answer.chosen.config.input_scale == scale


def test_padding_of_the_old_trunk_is_known():
    convs = classify(TOLD["conv1 with padding"][0], facts=HINTS).chosen.config.encoder.convs
    assert [conv.padding[0] for conv in convs] == [1, 0, 0]
    convs = classify(TOLD["a frame of 104x80"][0]).chosen.config.encoder.convs
    assert [conv.padding[0] for conv in convs] == [0, 1, 1]


NATURE = trunk("conv1", "conv2", "conv3")
NEVER = {
    "mixed noise": trunk("conv.0", "conv.2", "conv.4")
    | plain("fc_val.0", 256, 3136)
    | plain("fc_val.2", 1, 256)
    | beside("fc_adv.0", 256, 3136)
    | beside("fc_adv.2", 6, 256),
    "fc_quantiles": plain("fc_quantiles", 306, 512) | NATURE | plain("fc4", 512, 3136),
    "fc_action, fc_critic": NATURE | plain("fc4", 512, 3136) | plain("fc_action", 6, 512) | plain("fc_critic", 1, 512),
    "advantage_net, baseline_net": NATURE
    | streams(
        noisy,
        ("q_net.baseline_net.0", "q_net.baseline_net.2"),
        ("q_net.advantage_net.0", "q_net.advantage_net.2"),
        ATOMS,
    ),
    "implicit quantiles": NATURE
    | plain("embedding_layer", 3136, 64)
    | plain("head.0", 512, 3136)
    | plain("head.2", 6, 512),
    "projection head": NATURE | plain("projection_head.0", 512, 3136) | plain("projection_head.2", 128, 512),
    "predictor": NATURE | plain("predictor.0", 512, 3136) | plain("predictor.2", 6, 512),
    "a critic's one number": NATURE | plain("fc1", 512, 3136) | plain("fc2", 1, 512),
    "batch normalisation": NATURE
    | plain("bn1", 32, 1)
    | plain("fc1", 512, 3136)
    | plain("fc2", 6, 512)
    | {"bn1.num_batches_tracked": ()},
    "no bias": {
        name: s for name, s in (NATURE | plain("fc1", 512, 3136) | plain("fc2", 6, 512)).items() if name != "fc2.bias"
    },
    "recurrent": NATURE
    | {"lstm.weight_ih_l0": (2048, 3136), "lstm.weight_hh_l0": (2048, 512), "lstm.bias_ih_l0": (2048,)}
    | plain("fc", 6, 512),
    "two hidden layers": NATURE | plain("fc1", 512, 3136) | plain("fc2", 512, 512) | plain("fc3", 6, 512),
}


# What another family tells.
ELSEWHERE = {
    "fc_action, fc_critic": "actor-critic",
    "two hidden layers": "q-network",
}


@pytest.mark.parametrize("case", NEVER)
@pytest.mark.parametrize("facts", [Facts(), HINTS], ids=["alone", "hinted"])
def test_what_is_none_of_the_eight_is_never_claimed(case, facts):
    answer = classify(NEVER[case], facts=facts)
    assert answer.family == ELSEWHERE.get(case)
    assert bool(answer.refusal) == (case not in ELSEWHERE)
