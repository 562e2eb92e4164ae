"""Networks that share their shapes with a Q-network: told by what they are, or left open."""

import pytest

from ckptfmt.families.evidence import Facts
from ckptfmt.families.skeleton import Shapes, Skeleton
from ckptfmt.families.tell import classify, tell


def layer(stem, *shape):
    return {f"{stem}.weight": shape, f"{stem}.bias": shape[:1]}


CONVS = layer("conv.0", 32, 4, 8, 8) | layer("conv.2", 64, 32, 4, 4) | layer("conv.4", 64, 64, 3, 3)
HIDDEN = CONVS | layer("fc1", 512, 3136)


def streams(one, two, rows):
    first, second = rows
    return (
        CONVS
        | layer(f"{one}.0", 512, 3136)
        | layer(f"{one}.2", first, 512)
        | layer(f"{two}.0", 512, 3136)
        | layer(f"{two}.2", second, 512)
    )


@pytest.mark.parametrize("head", ["mu", "fc1_mu", "action_probs", "logits", "pi", "prob", "actionlogits", "softmax"])
def test_a_head_that_is_called_a_policys_is_one(head):
    answer = classify(HIDDEN | layer(head, 3, 512))
    kind = "deterministic" if head.endswith("mu") else "categorical"
    assert (answer.family, answer.architecture) == ("policy", kind)
    given = classify(HIDDEN | layer(head, 3, 512), facts=Facts(architecture="dqn"))
    assert given.architecture == "dqn"
    assert given.chosen.origin.get("architecture") is None


@pytest.mark.parametrize("head", ["q", "q_values", "Qout", "action_value", "dqn_head"])
def test_a_head_that_is_called_q_values_is_claimed_without_an_assumption(head):
    answer = classify(HIDDEN | layer(head, 3, 512))
    assert answer.architecture == "dqn"
    assert [witness.kind for witness in answer.chosen.witnesses] == ["word"]
    assert "architecture" not in answer.chosen.origin


@pytest.mark.parametrize("head", ["fc2", "out", "head", "output_layer", "linear", "fcout"])
def test_a_head_whose_name_says_nothing_is_claimed_as_an_assumption(head):
    answer = classify(HIDDEN | layer(head, 3, 512))
    assert (answer.architecture, answer.chosen.origin["architecture"]) == ("dqn", "assumed")
    assert answer.chosen.against[-1] == (
        "that its rows are Q-values is assumed, since the logits of a policy have the same tensors"
    )


def test_a_silent_head_on_a_trunk_of_its_own_is_left_open_between_two_kinds():
    trunk = layer("conv1", 24, 4, 8, 8) | layer("conv2", 48, 24, 4, 4) | layer("fc1", 128, 48 * 81)
    answer = classify(trunk | layer("fc2", 10, 128))
    assert (answer.architecture, answer.options) == (None, ("architecture",))
    assert answer.refusal == (
        "one head is the shape of a Q-network and of a policy, and fc2.weight is no name of either"
    )
    assert classify(trunk | layer("fc2", 10, 128), facts=Facts(architecture="dqn")).architecture == "dqn"


@pytest.mark.parametrize(
    ("file", "claimed"),
    [
        ("dqn_pong_best.pth", "dqn"),
        ("Rainbow-900.pt", "dqn"),
        ("best.pth", None),
        ("ppo_pong.pth", None),
        ("a2c.pth", None),
        ("dqn_vs_ppo.pth", None),
    ],
)
def test_what_a_file_is_called_lets_a_silent_head_be_assumed_and_no_more(file, claimed):
    own = layer("conv1", 24, 4, 8, 8) | layer("conv2", 48, 24, 4, 4) | layer("fc1", 64, 48 * 81)
    answer = tell(Skeleton(shapes=own | layer("fc2", 4, 64), file=file))
    assert answer.architecture == claimed
    if claimed:
        assert answer.chosen.origin["architecture"] == "assumed"
    assert (tell(Skeleton(shapes=HIDDEN | layer("fc2", 4, 512), file=file)).architecture is None) == (
        "ppo" in file or "a2c" in file
    )
    named = tell(Skeleton(shapes=own | layer("q", 4, 64), file=file))
    assert "architecture" not in named.chosen.origin


@pytest.mark.parametrize("head", ["zork", "gatekeeper", "reward_head", "fc_action", "actions"])
def test_a_head_whose_name_is_not_known_is_not_claimed(head):
    answer = classify(HIDDEN | layer(head, 3, 512))
    assert answer.architecture is None


def test_a_text_around_a_silent_network_speaks_for_or_against_it():
    silent = HIDDEN | layer("fc2", 3, 512)
    assert "architecture" not in classify(silent, context=("agents.DQN",)).chosen.origin
    assert classify(silent, context=("policy",)).options == ("architecture",)
    assert classify(silent, context=("PPOAgent",)).refusal == (
        "PPOAgent is a name of actor-critics; it has the shapes of dqn"
    )


def test_two_streams_without_a_name_for_the_advantage_are_left_open():
    for one, two in (("v", "q"), ("value", "other"), ("s1", "s2")):
        answer = classify(streams(one, two, (1, 6)))
        assert (answer.architecture, answer.options) == (None, ("architecture",))
        assert "of a dueling network and of an actor-critic" in answer.refusal


def test_sigmas_of_both_signs_are_a_stream_of_their_own():
    shapes = CONVS
    for kind in ("mu", "sigma"):
        shapes = shapes | layer(f"fc1_{kind}", 512, 3136) | layer(f"fc2_{kind}", 3, 512)
    size = {
        name: (len(shape) == 1 and shape[0]) or shape[0] * shape[1] for name, shape in shapes.items() if len(shape) < 3
    }
    both = classify(shapes, values=lambda name: [(-1.0) ** i for i in range(size[name])])
    assert "has values of both signs, so it is no sigma but a stream of its own" in both.refusal
    one = classify(shapes, values=lambda name: [0.017] * size[name])
    assert one.architecture == "noisy"


@pytest.mark.parametrize(
    ("heads", "sees"),
    [
        (["out1", "out2"], "it has two heads of 4 rows on one trunk, as twin critics or an ensemble has"),
        ([f"heads.{i}" for i in range(9)], "it has nine heads of 4 rows on one trunk, as a bootstrapped network or an"),
    ],
)
def test_several_heads_on_one_trunk_are_counted(heads, sees):
    shapes = dict(HIDDEN)
    for head in heads:
        shapes |= layer(head, 4, 512)
    answer = classify(shapes)
    assert answer.architecture is None
    assert answer.refusal.startswith(sees)


def test_an_actor_beside_a_critic_makes_it_one():
    seen = Skeleton(
        shapes=HIDDEN | layer("fc_q", 6, 512), others={"actor": Shapes(HIDDEN | layer("fc_logits", 6, 512))}
    )
    answer = tell(seen)
    assert (answer.architecture, answer.options) == (None, ("key", "architecture"))
    assert "the file holds an actor beside it ('actor'), of which it is the critic" in answer.refusal


def test_a_value_network_beside_a_silent_one_makes_it_a_policy():
    seen = Skeleton(shapes=HIDDEN | layer("fc2", 6, 512), others={"value_net": Shapes(HIDDEN | layer("fc2", 1, 512))})
    assert tell(seen).refusal == (
        "'value_net' beside it is a state value, and this the policy of it; it has the shapes of dqn"
    )


def test_a_target_copy_beside_it_is_what_q_learning_keeps():
    seen = Skeleton(shapes=HIDDEN | layer("fc2", 6, 512), context=("policy_net",), copied="network")
    assert [witness.says for witness in tell(seen).chosen.witnesses] == ["a target copy lies beside it"]


def test_atoms_in_the_advantage_stream_alone_are_no_actions():
    answer = classify(streams("value", "advantage", (1, 204)))
    assert (answer.architecture, answer.options) == (None, ("n_action",))
    assert "204 rows beside one are more than the actions of an Atari game" in answer.refusal
    assert classify(streams("value", "advantage", (1, 204)), facts=Facts(n_action=204)).architecture == "dueling"


REASONS = {
    "it has batch normalisation behind a convolution (bn1.weight), which no Atari DQN has": HIDDEN
    | layer("fc2", 6, 512)
    | {"bn1.weight": (32,), "bn1.bias": (32,), "bn1.running_mean": (32,), "bn1.running_var": (32,)},
    "it has a normalisation layer (norm.weight), which no Atari DQN has": HIDDEN
    | layer("norm", 512)
    | layer("fc2", 6, 512),
}


@pytest.mark.parametrize("reason", REASONS)
def test_the_reason_is_one_sentence_that_names_the_thing(reason):
    answer = classify(REASONS[reason])
    assert (answer.architecture, answer.refusal) == (None, reason)


def test_what_another_family_rebuilds_is_told_as_that():
    cell = {"lstm.weight_ih": (2048, 3136), "lstm.weight_hh": (2048, 512), "lstm.bias_ih": (2048,)}
    recurrent = classify(CONVS | cell | {"lstm.bias_hh": (2048,)} | layer("q", 6, 512))
    assert (recurrent.family, recurrent.architecture) == ("recurrent-q", "lstm")
    deep = classify(HIDDEN | layer("fc2", 256, 512) | layer("fc3", 6, 256))
    assert (deep.family, deep.chosen.origin["architecture"]) == ("q-network", "assumed")
    both = HIDDEN | layer("fc2", 6, 512)
    apart = classify({f"{part}.{name}": shape for part in ("actor", "critic") for name, shape in both.items()})
    assert (apart.family, apart.architecture) == ("actor-q", "categorical+q")


@pytest.mark.parametrize(
    ("around", "kind"),
    [
        ("imitator", "an imitation"),
        ("behavior_cloning", "an imitation"),
        ("teacher", "an imitation"),
        ("policy_net", "a policy"),
        ("classifier", "another network"),
        ("reward_model", "another network"),
        ("world_model", "another network"),
        ("regression", "another network"),
    ],
)
def test_a_silent_head_is_not_assumed_where_something_around_speaks_of_another_network(around, kind):
    silent = HIDDEN | layer("fc2", 4, 512)
    said = f"one head is the shape of a Q-network and of a policy, and '{around}' around it speaks of {kind}"
    assert classify(silent, context=(around,)).refusal == said
    assert classify({f"{around}.{name}": shape for name, shape in silent.items()}).architecture is None


def test_what_a_file_is_called_may_speak_against_a_silent_head():
    silent = HIDDEN | layer("fc2", 4, 512)
    named = {file: tell(Skeleton(shapes=silent, file=file)).architecture for file in (
        "expert.pth", "bc_pong.pt", "classifier.pth", "best_reward.pth", "policy_net.pth", "score_400.pt",
    )}  # fmt: skip
    assert named == {
        "expert.pth": None, "bc_pong.pt": None, "classifier.pth": None, "best_reward.pth": "dqn",
        "policy_net.pth": "dqn", "score_400.pt": "dqn",
    }  # fmt: skip


@pytest.mark.parametrize("wrapper", ["a2c", "A3C"])
def test_names_with_digits_in_them_speak_of_an_actor_too(wrapper):
    silent = HIDDEN | layer("fc2", 4, 512)
    assert classify({f"{wrapper}.{name}": shape for name, shape in silent.items()}).architecture != "dqn"


@pytest.mark.parametrize(
    ("shapes", "why"),
    [
        (layer("net.0", 256, 784) | layer("net.2", 10, 256), "nothing tells what the 10 numbers of net.2.weight are"),
        (layer("pi.0", 64, 4) | layer("rnd.0", 64, 4), "'rnd' names what is trained beside an agent"),
        (
            layer("pi.0", 2, 4) | {"value_mean_std.running_mean": (1,)},
            "value_mean_std.running_mean belongs to no layer that is known",
        ),
    ],
)
def test_a_network_without_convolutions_that_is_none_names_the_thing(shapes, why):
    assert classify(shapes).refusal == f"no family of networks fits it: {why}"


@pytest.mark.parametrize("names", ["conv.{}", "features.{}", "network.{}"])
@pytest.mark.parametrize("head", ["fc2", "q", "advantage_out"])
def test_an_atari_dqn_is_told_alike_whether_other_families_are_asked_or_not(monkeypatch, names, head):
    shapes = {name.replace("conv.", names.format("")): shape for name, shape in HIDDEN.items()}
    shapes |= layer(head, 6, 512)
    answer = classify(shapes)
    monkeypatch.setattr("ckptfmt.families.tell._stands_alone", lambda own, kinds: False)
    assert classify(shapes) == answer
