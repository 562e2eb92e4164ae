"""Networks as code bases of reinforcement learning save them, by names and shapes: each is told as what it is."""

from itertools import pairwise

import pytest

from ckptfmt.families.evidence import Facts
from ckptfmt.families.skeleton import Skeleton
from ckptfmt.families.tell import classify, tell


def layer(stem, *shape):
    return {f"{stem}.weight": shape, f"{stem}.bias": shape[:1]}


def row(stem, *sizes, step=2):
    return {
        name: shape
        for i, (inputs, outputs) in enumerate(pairwise(sizes))
        for name, shape in layer(f"{stem}.{step * i}", outputs, inputs).items()
    }


def moments(stem, size):
    return {f"{stem}.running_mean": (size,), f"{stem}.running_var": (size,), f"{stem}.count": ()}


def standard(stem, size):
    return {f"{stem}.{part}": (1, size) for part in ("_mean", "_var", "_std")} | {f"{stem}.count": ()}


def cell(stem, inputs, size, gates=4):
    sizes = {"weight_ih_l0": (gates * size, inputs), "weight_hh_l0": (gates * size, size)}
    return {f"{stem}.{name}": shape for name, shape in sizes.items()} | {
        f"{stem}.bias_{kind}_l0": (gates * size,) for kind in ("ih", "hh")
    }


RL_GAMES = (
    row("a2c_network.actor_mlp", 11, 64, 32)
    | layer("a2c_network.value", 1, 32)
    | layer("a2c_network.mu", 3, 32)
    | {"a2c_network.sigma": (3,)}
)
CASES = {
    "the layers of the policy are the trunk of a value": (RL_GAMES, "actor-critic", "gaussian"),
    "running statistics of observations and returns": (
        moments("value_mean_std", 1) | moments("running_mean_std", 11) | RL_GAMES, "actor-critic", "gaussian"),
    "a normaliser of each side": (
        {"std": (3,)} | row("actor", 11, 64, 3) | standard("actor_obs_normalizer", 11) | row("critic", 11, 64, 1)
        | standard("critic_obs_normalizer", 11), "actor-critic", "gaussian"),
    "a cell of each side, told by its last letter": (
        {"std": (3,)} | row("actor", 32, 16, 3) | row("critic", 32, 16, 1) | cell("memory_a.rnn", 11, 32)
        | cell("memory_c.rnn", 11, 32), "recurrent-actor-critic", "gaussian+lstm"),
    "one cell before both, called the actor's": (
        cell("lstm_actor", 4, 16) | row("mlp_extractor.policy_net", 16, 64, 64) | layer("action_net", 2, 64)
        | row("mlp_extractor.value_net", 16, 64, 64) | layer("value_net", 1, 64),
        "recurrent-actor-critic", "categorical+lstm"),
    "a letter for the value beside a word for the policy": (
        {"pi.log_std": (3,)} | row("pi.mu_net", 11, 64, 3) | row("v.v_net", 11, 64, 1), "actor-critic", "gaussian"),
    "logits beside a value": (row("pi.logits_net", 4, 64, 2) | row("v.v_net", 4, 64, 1), "actor-critic", "categorical"),
    "mean and deviation in one head, by what critics take": (
        layer("pi_encoder.0", 64, 11) | layer("pi.0", 6, 64) | layer("qf_encoder.0", 64, 14) | layer("qf.0", 1, 64)
        | layer("qf_twin_encoder.0", 64, 14) | layer("qf_twin.0", 1, 64), "actor-q", "gaussian+twin-q"),
    "a state value beside two critics in a list": (
        row("policy._encoder", 11, 64) | layer("policy._mu", 3, 64) | {"policy._logstd": (1, 3)}
        | row("q_funcs.0.e", 14, 64) | layer("q_funcs.0._fc", 1, 64) | row("q_funcs.1.e", 14, 64)
        | layer("q_funcs.1._fc", 1, 64) | row("value_func.e", 11, 64) | layer("value_func._fc", 1, 64),
        "actor-q", "gaussian+twin-q+value"),
    "streams called A and V": (
        layer("encoder.0", 64, 4) | row("head.A", 64, 64, 2) | row("head.V", 64, 64, 1), "q-network", "dueling"),
    "a hidden layer called Q inside an actor": (
        layer("actor_encoder.0", 64, 4) | layer("actor_head.Q.0", 64, 64) | layer("actor_head.last", 2, 64)
        | layer("critic_encoder.0", 64, 4) | layer("critic_head.Q.0", 64, 64) | layer("critic_head.last", 1, 64),
        "actor-critic", "categorical"),
    "two networks of Q-values": (row("q1", 4, 64, 2) | row("q2", 4, 64, 2), "q-network", "twin-dqn"),
    "two heads of Q-values on one trunk": (
        layer("fc", 64, 4) | layer("q1", 2, 64) | layer("q2", 2, 64), "q-network", "twin-dqn"),
    "Stable-Baselines 2, a policy with a head of Q-values that nothing uses": (
        layer("model.pi_fc0", 64, 4) | layer("model.pi_fc1", 64, 64) | layer("model.vf_fc0", 64, 4)
        | layer("model.vf_fc1", 64, 64) | layer("model.pi", 2, 64) | layer("model.vf", 1, 64) | layer("model.q", 2, 64),
        "actor-critic", "categorical"),
    "Stable-Baselines 2, streams of actions and of the state": (
        {"deepq.eps": ()} | {
            f"deepq.{kind}.{name}": shape for kind in ("model", "target_q_func.model") for name, shape in (
                layer("action_value.fully_connected", 64, 4) | layer("action_value.fully_connected_1", 2, 64)
                | layer("state_value.fully_connected", 64, 4) | layer("state_value.fully_connected_1", 1, 64)
            ).items()},
        "q-network", "dueling"),
    "RLlib's SAC, which calls every output logits": (
        layer("action_model._hidden_layers.0._model.0", 64, 3) | layer("action_model._logits._model.0", 2, 64)
        | layer("q_net._hidden_layers.0._model.0", 64, 4) | layer("q_net._logits._model.0", 1, 64)
        | layer("twin_q_net._hidden_layers.0._model.0", 64, 4) | layer("twin_q_net._logits._model.0", 1, 64),
        "actor-q", "gaussian+twin-q"),
    "CORL's actor, critics and value": (
        {f"actor.{name}": shape for name, shape in ({"log_std": (2,)} | row("net.net", 8, 32, 2)).items()}
        | row("qf.q1.net", 10, 32, 1) | row("qf.q2.net", 10, 32, 1) | row("vf.v.net", 8, 32, 1),
        "actor-q", "gaussian+twin-q+value"),
    "XuanCe's Q-network": (
        row("representation.model", 4, 64) | row("eval_Qhead.model", 64, 64, 2)
        | row("target_representation.model", 4, 64) | row("target_Qhead.model", 64, 64, 2), "q-network", "dqn"),
    "Tonic's actor and critic": (
        {"observation_normalizer._mean": (8,), "observation_normalizer._std": (8,), "actor.head.log_scale": (1, 2)}
        | row("actor.torso.model", 8, 64, 64) | layer("actor.head.loc_layer.0", 2, 64)
        | row("critic.torso.model", 8, 64, 64) | layer("critic.head.v_layer", 1, 64), "actor-critic", "gaussian"),
    "Pearl's Q-network": (
        {f"policy_learner.{kind}._model.{name}": shape for kind in ("_Q", "_Q_target")
         for name, shape in (layer("0.0", 32, 4) | layer("1.0", 32, 32) | layer("2.0", 2, 32)).items()},
        "q-network", "dqn"),
    "a deviation of the action, and statistics of the state": (
        {"action_std_log": (1, 3), "state_avg": (11,), "state_std": (11,)} | row("net", 11, 64, 3),
        "policy", "gaussian"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_told_as_what_it_is(case):
    shapes, family, name = CASES[case]
    answer = classify(shapes)
    assert (answer.refusal, answer.family, answer.architecture) == ("", family, name)
    placed = {placement.source for placement in answer.chosen.placements}
    named = {text.partition(" (")[0] for text in answer.chosen.dropped}
    assert placed | named | {*answer.chosen.copies} == shapes.keys()


@pytest.mark.parametrize(
    ("said", "name"),
    [({"policy": "categorical"}, "categorical"), ({"policy": "gaussian", "action_dim": 2}, "gaussian")],
)
def test_who_says_which_policy_a_silent_head_is_is_believed(said, name):
    shapes = row("module.0.module", 8, 32, 4)
    assert classify(shapes).architecture is None
    answer = classify(shapes, facts=Facts(more=said))
    assert (answer.refusal, answer.family, answer.architecture) == ("", "policy", name)
    assert getattr(answer.chosen.config, "action_dim", None) == said.get("action_dim")


def test_statistics_are_fields_of_the_config():
    answer = classify(CASES["running statistics of observations and returns"][0])
    config = answer.chosen.config.to_dict()
    assert {name: config[name] for name in ("normalizer", "value_normalizer", "value_sees", "activation")} == {
        "normalizer": "variance", "value_normalizer": "variance", "value_sees": "the same", "activation": "elu",
    }  # fmt: skip
    assert answer.chosen.origin["normalizer"] == "inferred"
    assert answer.chosen.origin["normalizer_range"] == "assumed"
    own = classify(CASES["a normaliser of each side"][0]).chosen.config
    assert (own.normalizer, own.value_sees, own.value_normalizer) == ("deviation", "own", "none")


@pytest.mark.parametrize(
    ("shapes", "why"),
    [
        (RL_GAMES | moments("running_mean_std", 12), "is a running mean of nothing that is known"),
        (RL_GAMES | moments("statistics/obs", 11), "is a running mean of nothing that is known"),
        (RL_GAMES | moments("one", 11) | moments("two", 11), "is a running mean of nothing that is known"),
    ],
)
def test_statistics_that_are_of_nothing_in_the_network_are_not_taken_for_it(shapes, why):
    assert why in classify(shapes).refusal


@pytest.mark.parametrize("beside", ["imitator", "reward_model", "vae_encoder", "world_model"])
def test_a_policy_is_not_taken_out_of_a_file_whose_other_networks_it_needs(beside):
    shapes = row("_encoder", 11, 64) | layer("_mu", 3, 64) | layer("_logstd", 3, 64)
    assert tell(Skeleton(shapes=shapes, context=("policy",))).architecture == "gaussian"
    assert tell(Skeleton(shapes=shapes, context=("policy",), beside=(beside,))).architecture is None


def test_a_head_alone_is_the_value_behind_the_layers_of_the_policy_even_where_it_could_see_what_they_see():
    shapes = row("actor_mlp", 32, 64, 32) | layer("mu", 3, 32) | {"sigma": (3,)} | layer("value", 1, 32)
    config = classify(shapes).chosen.config
    assert [len(body) for body in (config.trunk, config.policy_trunk, config.value_trunk)] == [1, 0, 0]


@pytest.mark.parametrize(
    "shapes",
    [
        row("agent_0.net", 4, 64, 2) | row("agent_1.net", 4, 64, 2),
        row("q_best", 4, 64, 2) | row("q_last", 4, 64, 2),
        layer("fc", 64, 4) | layer("q_heads.0", 3, 64) | layer("q_heads.1", 3, 64),
        row("q_ext", 4, 64, 2) | row("q_int", 4, 64, 2),
    ],
)
def test_networks_that_are_alike_are_no_ensemble_for_that(shapes):
    assert classify(shapes).architecture is None


MANY = (
    "{}.2.weight and {}.2.weight are of {} networks of the same layers: whether they value the same actions together, "
    "or belong to several agents, choices or members of an ensemble, cannot be told"
)
ON_A_TRUNK = (
    "{}.weight and {}.weight are of 2 heads of as many rows: whether they value the same actions together, or belong "
    "to several agents, choices or members of an ensemble, cannot be told"
)


@pytest.mark.parametrize(
    "names",
    [
        ("q_net_0", "q_net_1"), ("q_1", "q_2"), ("dqn_agent_1", "dqn_agent_2"), ("q_nets.0", "q_nets.1"),
        ("player_a.q1", "player_b.q2"), ("q1", "q2", "q3"), tuple(f"q_funcs.{i}" for i in range(10)),
    ],
)  # fmt: skip
def test_several_networks_of_q_values_are_joined_only_where_somebody_says_how_many(names):
    shapes = {name: shape for stem in names for name, shape in row(stem, 4, 64, 2).items()}
    answer = classify(shapes)
    assert (answer.refusal, answer.options) == (MANY.format(names[0], names[-1], len(names)), ("key", "n_critics"))
    said = classify(shapes, facts=Facts(more={"n_critics": len(names)})).chosen
    assert (said.config.n_critics, said.origin["n_critics"]) == (len(names), "given")


def test_two_heads_on_a_trunk_may_be_two_choices():
    answer = classify(layer("fc", 64, 4) | layer("q_1", 3, 64) | layer("q_2", 3, 64))
    assert (answer.refusal, answer.options) == (ON_A_TRUNK.format("q_1", "q_2"), ("n_critics",))


@pytest.mark.parametrize(
    "names", [("qf1", "qf2"), ("q_net_1", "q_net_2"), ("qnet1", "qnet2"), ("q_one", "q_two"), ("q_net_a", "q_net_b")]
)
def test_two_networks_that_are_called_as_twin_learners_call_theirs_are_twins(names):
    shapes = {name: shape for stem in names for name, shape in row(stem, 4, 64, 2).items()}
    assert (classify(shapes).refusal, classify(shapes).architecture) == ("", "twin-dqn")


EVEN = "{} may hold the atoms of returns, bins or choices of actions, and its name does not say"
TRUNK = layer("c1", 32, 4, 8, 8) | layer("c2", 64, 32, 4, 4) | layer("c3", 64, 64, 3, 3) | layer("fc", 64, 3136)


@pytest.mark.parametrize("body", [row("body", 4, 64, 64), TRUNK], ids=["features", "frames"])
@pytest.mark.parametrize("name", ["bins", "steer_values", "action_atoms", "symlog_support"])
def test_even_steps_are_no_support_for_that(body, name):
    shapes = body | layer("q", 33, 64) | {name: (11,)}
    numbers = [-1 + i / 5 for i in range(11)]
    answer = tell(Skeleton(shapes=shapes, values=lambda name: numbers))
    assert (answer.refusal, answer.options) == (EVEN.format(name), ("n_atoms", "architecture"))
    said = tell(Skeleton(shapes=shapes, values=lambda name: numbers, facts=Facts(n_atoms=11))).chosen
    assert (said.name, said.config.v_min, said.config.v_max) == ("distributional", -1, 1)


@pytest.mark.parametrize("name", ["support", "z", "z_values", "net.atoms", "v_range", "dist_support"])
def test_a_support_is_called_one(name):
    shapes = row("body", 4, 64, 64) | layer("q", 33, 64) | {name: (11,)}
    told = tell(Skeleton(shapes=shapes, values=lambda name: [-1 + i / 5 for i in range(11)])).chosen
    assert (told.name, told.config.n_action, told.config.n_atoms) == ("distributional", 3, 11)


@pytest.mark.parametrize("body", [layer("body", 64, 4), TRUNK], ids=["features", "frames"])
def test_a_setting_of_branches_or_bins_leaves_the_rows_open(body):
    shapes = body | layer("value", 1, 64) | layer("adv", 15, 64)
    assert tell(Skeleton(shapes=shapes)).architecture == "dueling"
    answer = tell(Skeleton(shapes=shapes, choices="n_branches"))
    why = "its settings have 'n_branches', so its rows may be bins, or those of several choices at once"
    assert (answer.architecture, answer.refusal, answer.options) == (None, why, ("architecture",))


def test_a_number_of_quantiles_that_is_that_of_the_atoms_says_that_they_may_be_none():
    ends = Facts(n_action=6, v_min=-10.0, v_max=10.0, more={"n_quantiles": 51})
    answer = classify(TRUNK | layer("fc2", 306, 64), facts=ends)
    assert answer.refusal.endswith("settings say that n_quantiles is 51, and there is no support")


def test_a_policy_of_a_kind_that_is_not_rebuilt_is_none():
    shapes = row("policy_net", 5, 16, 4) | row("value_net", 5, 16, 1)
    answer = classify(shapes, facts=Facts(more={"policy": "bernoulli"}, declared=frozenset({"policy"})))
    assert answer.architecture is None


def test_the_layer_in_place_of_an_lstm_of_the_value_is_followed_by_nothing():
    config = classify(
        cell("lstm_actor", 4, 16) | layer("critic", 16, 4) | row("mlp_extractor.policy_net", 16, 64)
        | layer("action_net", 2, 64) | row("mlp_extractor.value_net", 16, 64) | layer("value_net", 1, 64)
    ).chosen.config  # fmt: skip
    assert [(block.sizes, block.activation) for block in config.value_trunk] == [((16,), "none"), ((64,), None)]


FACTORY = (
    row("encoder.mlp_head", 8, 16)
    | layer("critic_linear", 1, 16)
    | layer("action_parameterization.distribution_linear", 2, 16)
    | {"action_parameterization.learned_stddev": (2,)}
)


@pytest.mark.parametrize(
    ("numbers", "kind", "origin"),
    [([-0.5, 0.3], "log", "assumed"), ([0.2, 0.3], "log", "assumed"), (None, "log", "assumed")],
)
def test_features_are_not_divided_as_pixels_and_a_deviation_below_nothing_is_a_logarithm(numbers, kind, origin):
    chosen = tell(Skeleton(shapes=FACTORY, values=(lambda name: numbers) if numbers else None)).chosen
    assert (chosen.config.input_scale, chosen.config.deviation_is, chosen.origin["deviation_is"]) == (1.0, kind, origin)


def test_a_deviation_of_plain_numbers_stays_what_it_is_called():
    shapes = row("actor", 8, 16, 2) | row("critic", 8, 16, 1) | {"std": (2,)}
    for numbers, kind in (([0.2, 0.3], "plain"), ([-0.2, 0.3], "log")):
        chosen = tell(Skeleton(shapes=shapes, values=lambda name, numbers=numbers: numbers)).chosen
        assert chosen.config.deviation_is == kind


def norm(stem, size):
    return {f"{stem}.weight": (size,), f"{stem}.bias": (size,)}


@pytest.mark.parametrize(
    ("shapes", "origin"),
    [
        (layer("net.0", 8, 4) | norm("net.1", 8) | layer("net.3", 2, 8), "inferred"),
        (layer("fc1", 8, 4) | norm("ln1", 8) | layer("fc2", 8, 8) | norm("ln2", 8) | layer("q", 2, 8), "assumed"),
    ],
)
def test_where_a_norm_comes_is_seen_in_a_row_of_modules_alone(shapes, origin):
    chosen = tell(Skeleton(shapes=shapes, context=("q_network",))).chosen
    assert (chosen.name, chosen.config.trunk[0].norm, chosen.origin["trunk"]) == ("dqn", "layer", origin)


def embedded(name):
    return layer("fc1", 8, 4) | layer(name, 8, 3) | layer("fc2", 8, 8) | layer("q", 2, 8)


@pytest.mark.parametrize("name", ["goal_embedding", "embed", "phi"])
def test_an_embedding_is_one_of_fractions_where_something_says_so(name):
    assert classify(embedded(name)).refusal == f"nothing says that {name}.weight embeds fractions"
    for more in ({"context": ("iqn",)}, {"facts": Facts(architecture="implicit-quantile-q/iqn")}):
        assert classify(embedded(name), **more).architecture == "iqn"
    assert classify(embedded("cos_embedding")).architecture == "iqn"


def test_statistics_of_rewards_bring_no_value_back():
    shapes = layer("fc1", 8, 4) | layer("actor", 2, 8) | layer("critic", 1, 8)
    assert classify(shapes | moments("value_rms", 1)).chosen.config.value_normalizer == "variance"
    refusal = classify(shapes | moments("reward_rms", 1)).refusal
    assert (
        refusal == "no family of networks fits it: reward_rms.running_mean is a running mean of nothing that is known"
    )
