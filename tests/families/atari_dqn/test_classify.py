"""Which architecture shapes make, and the whole sentence where it cannot be told."""

import random

import pytest

from ckptfmt.families.atari_dqn.config import ARCHITECTURES
from ckptfmt.families.evidence import Facts
from ckptfmt.families.tell import classify


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_reference_network_is_told_and_keeps_its_names(reference, support, architecture):
    shapes = reference(architecture)
    answer = classify(shapes, values=support)
    assert (answer.architecture, answer.refusal) == (architecture, "")
    assert {p.name: p.source for p in answer.chosen.placements} == {name: name for name in shapes}
    config = answer.chosen.config
    assert config.get_architecture_name() == architecture
    assert (config.n_action, config.hidden_size, config.input_shape) == (6, 512, (4, 84, 84))
    atoms = (51, -10.0, 10.0) if "distributional" in architecture else (None, None, None)
    assert (config.n_atoms, config.v_min, config.v_max) == atoms


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_order_of_keys_means_nothing_where_names_agree(reference, support, architecture):
    shapes = list(reference(architecture).items())
    random.Random(1).shuffle(shapes)
    answer = classify(dict(shapes), values=support)
    assert answer.architecture == architecture
    assert all(p.name == p.source for p in answer.chosen.placements)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("rename", [str, "p{}".format, "x.{}.tensor".format])
def test_architecture_is_told_from_shapes_alone(reference, support, architecture, rename):
    shapes = list(reference(architecture).values())
    random.Random(2).shuffle(shapes)
    answer = classify({rename(i): shape for i, shape in enumerate(shapes)}, values=lambda name: support(name)[::-1])
    assert answer.chosen is None or answer.architecture == architecture
    answer = classify({rename(i): shape for i, shape in enumerate(shapes)})
    assert (answer.architecture, answer.candidates[0].name) == (None, architecture)
    assert answer.refusal.startswith("nothing shows ") or "and nothing shows which" in answer.refusal


def test_names_that_are_permuted_are_not_believed(reference):
    shapes = reference("dueling")
    names = random.Random(3).sample(list(shapes), len(shapes))
    answer = classify(dict(zip(names, random.Random(4).sample(list(shapes.values()), len(shapes)), strict=True)))
    assert (answer.architecture, answer.candidates[0].name) == (None, "dueling")


def test_numbers_in_network_order_place_every_tensor(reference):
    shapes = reference("dueling")
    numbered = {str(i): shape for i, shape in enumerate(shapes.values())}
    assert classify(numbered).options == ("architecture",)
    answer = classify(numbered, facts=Facts(architecture="dueling"))
    assert answer.refusal == ""
    assert [p.source for p in answer.chosen.placements if p.name == "value_stream.0.weight"] == ["6"]
    assert [p.source for p in answer.chosen.placements if p.name == "advantage_stream.0.weight"] == ["10"]


def test_two_heads_of_a_game_with_one_action_need_their_names(reference):
    shapes = reference("dueling", n_action=1)
    told = classify(shapes)
    assert told.architecture == "dueling"
    assert [p.source for p in told.chosen.placements if p.name == "value_stream.2.weight"] == ["value_stream.2.weight"]
    lost = {name.replace("value_stream", "one").replace("advantage_stream", "two"): s for name, s in shapes.items()}
    assert classify(lost).chosen is None


REFUSALS = {
    "there are no tensors": lambda s: s.clear(),
    "no family of networks fits it: 3136 features come from a trunk that is not in the file": lambda s: [
        s.pop(name) for name in list(s) if name.startswith("conv")
    ],
    "there is no linear layer: an encoder without a head": lambda s: [
        s.pop(name) for name in list(s) if not name.startswith("conv")
    ],
    "the nearest architecture, dueling, lacks a bias (6,) of the advantage head": lambda s: s.pop(
        "advantage_stream.2.bias"
    ),
    "the nearest architecture, dueling, has no place for norm.weight (7,)": lambda s: s.update({"norm.weight": (7,)}),
    "the nearest architecture, dueling, lacks a tensor (32,) of the convolutions": lambda s: s.pop("conv.0.bias"),
    "gru.weight (3, 4, 5) belongs to no layer of these networks": lambda s: s.update({"gru.weight": (3, 4, 5)}),
    "empty (0, 5) has no elements": lambda s: s.update({"empty": (0, 5)}),
}


@pytest.mark.parametrize("sentence", REFUSALS)
def test_refusal_says_what_is_missing_or_too_many(reference, sentence):
    shapes = reference("dueling")
    REFUSALS[sentence](shapes)
    answer = classify(shapes)
    assert answer.chosen is None
    assert answer.refusal == sentence


def test_weights_stored_in_by_out_are_not_misread(reference):
    turned = {name: shape[::-1] if len(shape) == 2 else shape for name, shape in reference("dqn").items()}
    assert classify(turned).refusal == (
        "the linear weights are stored as (in, out), as TensorFlow and JAX do, which is not read"
    )


def test_convolutions_stored_channels_last_are_not_misread(reference):
    turned = {n: (*s[2:], s[1], s[0]) if len(s) == 4 else s for n, s in reference("dqn").items()}
    assert classify(turned).refusal == (
        "the convolutions are stored as (height, width, in, out), as TensorFlow and JAX do, which is not read"
    )


def without_support(shapes):
    return {name.replace("fc", "linear"): shape for name, shape in shapes.items() if name != "support"}


def test_a_head_of_many_rows_without_support_is_left_open(reference):
    answer = classify(without_support(reference("distributional")))
    assert answer.chosen is None
    assert answer.refusal == (
        "could be dqn (306 actions) or distributional (6 actions × 51 atoms): without a support, v_min and v_max "
        "it may as well be a quantile network (QR-DQN)"
    )
    assert answer.options == ("n_action", "n_atoms", "v_min", "v_max")
    assert [candidate.name for candidate in answer.candidates] == ["dqn", "distributional"]


def test_facts_decide_what_shapes_leave_open(reference):
    facts = Facts(n_action=6, n_atoms=51, v_min=-10.0, v_max=10.0)
    answer = classify(without_support(reference("distributional")), facts=facts)
    assert answer.architecture == "distributional"
    assert answer.chosen.origin["v_min"] == "given"
    assert answer.chosen.origin["n_action"] == "inferred"
    plain = classify(without_support(reference("distributional")), facts=Facts(n_action=306))
    assert plain.architecture == "dqn"


def test_rows_that_split_in_several_ways_are_left_open(reference):
    shapes = without_support(reference("dqn", n_action=357))
    assert "n_action" in classify(shapes, facts=Facts(v_min=-10.0, v_max=10.0)).options
    facts = Facts(n_action=7, v_min=-10.0, v_max=10.0)
    assert classify(shapes, facts=facts).chosen.config.n_atoms == 51


def test_two_hundred_rows_an_action_look_like_quantiles(reference):
    shapes = without_support(reference("distributional", n_atoms=200))
    facts = Facts(n_action=6, n_atoms=200, v_min=-10.0, v_max=10.0)
    assert "architecture" in classify(shapes, facts=facts).options
    sure = Facts(architecture="distributional", n_action=6, n_atoms=200, v_min=-10.0, v_max=10.0)
    assert classify(shapes, facts=sure).architecture == "distributional"


@pytest.mark.parametrize(
    ("prefix", "context"), [("quantile_net.", ()), ("iqn.", ()), ("", ("QR-DQN",)), ("", ("agent/qrdqn",))]
)
def test_what_is_called_a_quantile_network_is_never_claimed(reference, prefix, context):
    shapes = {prefix + key: shape for key, shape in without_support(reference("distributional")).items()}
    facts = Facts(n_action=6, n_atoms=51, v_min=-10.0, v_max=10.0)
    answer = classify(shapes, facts=facts, context=context)
    assert answer.chosen is None
    assert "is a name of quantile networks" in answer.refusal


def test_quantile_levels_are_no_support(reference):
    answer = classify(reference("distributional"), values=lambda name: [(i + 0.5) / 51 for i in range(51)])
    assert (answer.family, answer.architecture) == ("quantile-q", "quantile")
    answer = classify(reference("distributional"), values=lambda name: [i / 50 for i in range(51)])
    assert answer.refusal == "the values of support lie between 0 and 1 as quantile levels do"


def test_values_out_of_step_are_no_support(reference):
    answer = classify(reference("distributional"), values=lambda name: [i**2 for i in range(51)])
    assert answer.refusal == "the values of support do not rise in even steps as a support's do"


def shared(reference, value="value", advantage="advantage"):
    shapes = {name: shape for name, shape in reference("dqn").items() if not name.startswith("fc")}
    return shapes | {
        "hidden.weight": (512, 3136), "hidden.bias": (512,),
        f"{value}.weight": (1, 512), f"{value}.bias": (1,),
        f"{advantage}.weight": (6, 512), f"{advantage}.bias": (6,),
    }  # fmt: skip


def test_one_hidden_layer_of_two_named_streams_is_copied_into_both(reference):
    answer = classify(shared(reference))
    assert (answer.architecture, answer.chosen.transform) == ("dueling", "shared-hidden")
    sources = [p.source for p in answer.chosen.placements if p.name.endswith("stream.0.weight")]
    assert sources == ["hidden.weight", "hidden.weight"]


@pytest.mark.parametrize("names", [("critic", "actor"), ("value_net", "action_net")])
def test_an_actor_critic_is_told_by_words_for_both_heads(reference, names):
    answer = classify(shared(reference, *names))
    assert (answer.family, answer.architecture) == ("actor-critic", "categorical")


def test_an_actor_critic_is_no_dueling_network(reference):
    told = classify(shared(reference, "v", "pi"))
    assert (told.family, told.architecture) == ("actor-critic", "categorical")
    answer = classify(shared(reference, "a", "b"))
    assert answer.chosen is None
    assert "actor-critic" in answer.refusal


def fused(reference, hidden):
    shapes = {
        name.replace("conv.0", "conv_layers.0").replace("conv.2", "conv_layers.1").replace("conv.4", "conv_layers.2"): s
        for name, s in reference("dqn").items()
        if name.startswith("conv")
    }
    return shapes | {
        f"{hidden}.weight": (1024, 3136), f"{hidden}.bias": (1024,),
        "a_stream.weight": (6, 512), "a_stream.bias": (6,), "v_stream.weight": (1, 512), "v_stream.bias": (1,),
    }  # fmt: skip


def test_a_hidden_layer_of_double_width_is_split_as_its_layout_does(reference):
    answer = classify(fused(reference, "main_stream"))
    assert (answer.architecture, answer.chosen.layout, answer.chosen.transform) == ("dueling", "pfrl", "fused-hidden")
    rows = {p.name: p.rows for p in answer.chosen.placements if p.rows}
    assert rows == {
        "value_stream.0.weight": (512, 1024), "value_stream.0.bias": (512, 1024),
        "advantage_stream.0.weight": (0, 512), "advantage_stream.0.bias": (0, 512),
    }  # fmt: skip


def test_halves_of_an_unknown_layout_are_not_guessed(reference):
    answer = classify(fused(reference, "both"))
    assert answer.refusal == "nothing shows which half of both.weight belongs to the value stream"


def test_noise_on_some_layers_only_is_none_of_the_eight(reference):
    shapes = reference("noisy")
    for name in ("weight_sigma", "bias_sigma", "epsilon_input", "epsilon_output"):
        del shapes[f"fc.0.{name}"]
    assert classify(shapes).chosen is None


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (Facts(n_action=5), "n_action is given as 5, the weights have 6 actions"),
        (
            Facts(n_action=5, declared=frozenset({"n_action"})),
            "the file's config says n_action is 5, the weights have 6 actions",
        ),
        (Facts(architecture="dqn"), "architecture is given as dqn, the weights are dueling"),
        (
            Facts(architecture="dqn", declared=frozenset({"architecture"})),
            "the file's config says dueling_dqn is false, its weights are dueling",
        ),
        (
            Facts(architecture="dueling+noisy", declared=frozenset({"architecture"})),
            "the file's config says noisy_networks is true, its weights are not noisy",
        ),
        (Facts(input_shape=(3, 84, 84)), "input_shape is given as 3×84×84, the first convolution takes 4 channels"),
    ],
)
def test_a_contradiction_names_both_sides(reference, facts, sentence):
    answer = classify(reference("dueling"), facts=facts)
    assert answer.chosen is None
    assert answer.refusal == sentence


def test_a_support_contradicts_what_is_said_of_it(reference, support):
    answer = classify(reference("distributional"), values=support, facts=Facts(v_min=-5.0))
    assert answer.refusal == "v_min is given as -5, the support has -10"


def test_a_screen_that_cannot_give_the_features_is_refused(reference):
    answer = classify(reference("dqn"), facts=Facts(input_shape=(4, 128, 128)))
    assert answer.refusal == (
        "the strides of the convolutions are not known: the usual strides do not make the map of 49 positions that the "
        "linear layer takes from a screen of 128×128; there may be pooling between the convolutions, which weights do "
        "not show"
    )


def test_origin_says_what_weights_cannot_show(reference, support):
    chosen = classify(reference("distributional"), values=support).chosen
    assert chosen.origin["v_min"] == "inferred"
    assert chosen.origin["input_scale"] == chosen.origin["input_shape"] == chosen.origin["double_dqn"] == "assumed"
    assert chosen.against == (
        "screens of 84×84 to 91×91 give the same number of features",
        "weights do not show padding and activation: no padding and relu are assumed",
        "weights do not show what the network divides its input by: 1 is assumed",
    )


def test_padding_and_activation_of_an_unknown_layout_are_assumed(reference):
    chosen = classify(without_support(reference("dqn"))).chosen
    assert chosen.origin["encoder"] == "assumed"
    assert "weights do not show padding and activation: no padding and relu are assumed" in chosen.against


def test_answer_is_plain_data(reference, support):
    answer = classify(reference("distributional"), values=support).to_dict()
    assert set(answer) == {"family", "architecture", "refusal", "options", "candidates"}
    assert answer["candidates"][0]["config"]["n_atoms"] == 51
