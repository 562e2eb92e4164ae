"""Agents of every family in their environments: the same returns as in the library that made them, and their traces."""

import gymnasium
import numpy as np
import pytest
import torch

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.families import registry
from ckptfmt.look.trace import open_trace
from ckptfmt.report.agent import agent_page
from ckptfmt.rl.acting import Actor
from ckptfmt.rl.behaviour import compare_behaviour
from ckptfmt.rl.families.describe import describe
from ckptfmt.rl.play import play_episodes
from ckptfmt.rl.player import open_player
from ckptfmt.rl.protocol import Protocol
from ckptfmt.rl.trace import TraceRecorder

MLP = [{"kind": "mlp", "sizes": [16]}]
CELL = [{"kind": "cell", "cell": "lstm", "size": 8}]
CART = {"observation": [4], "game": "CartPole-v1"}
PENDULUM = {"observation": [3], "game": "Pendulum-v1", "action_dim": 1}
CATEGORICAL = {"policy": "categorical", "n_action": 2}
# A config of each family that acts.
AGENTS = {
    "actor-critic": {**CART, **CATEGORICAL, "policy_trunk": MLP},
    "recurrent-actor-critic": {**CART, **CATEGORICAL, "trunk": CELL},
    "actor-q": {**PENDULUM, "policy": "gaussian", "deviation": "head", "n_critics": 2, "squash": "tanh"},
    "policy": {**PENDULUM, "policy": "beta", "policy_trunk": MLP},
    "q-network": {**CART, "n_action": 2, "trunk": MLP},
    "recurrent-q": {**CART, "n_action": 2, "trunk": CELL},
    "quantile-q": {**CART, "n_action": 2, "n_quantiles": 5, "trunk": MLP},
    "implicit-quantile-q": {**CART, "n_action": 2, "n_cosines": 6, "trunk": MLP},
    "batch-constrained-q": {**CART, "n_action": 2, "q_trunk": MLP, "imitation_trunk": MLP},
}
IN_OTHER_LIBRARIES = [
    ("stable_baselines3", "PPO", "MlpPolicy", "CartPole-v1"),
    ("stable_baselines3", "PPO", "MlpPolicy", "Pendulum-v1"),
    ("stable_baselines3", "SAC", "MlpPolicy", "Pendulum-v1"),
    ("stable_baselines3", "TD3", "MlpPolicy", "Pendulum-v1"),
    ("stable_baselines3", "DQN", "MlpPolicy", "CartPole-v1"),
    ("sb3_contrib", "QRDQN", "MlpPolicy", "CartPole-v1"),
    ("sb3_contrib", "TQC", "MlpPolicy", "Pendulum-v1"),
    ("sb3_contrib", "RecurrentPPO", "MlpLstmPolicy", "CartPole-v1"),
]


def saved(path, family, data, seed=0):
    torch.manual_seed(seed)
    config = registry.find(family).config.from_dict(data)
    model = ckptfmt.create_model_from_config(config)
    ckptfmt.save_model_checkpoint(model, config, None, path)
    return path


def returns(path, game=None, **protocol):
    with open_player(path, game=game, protocol=Protocol(**protocol)) as player:
        return [e.total for e in play_episodes(player.model, player.env, player.protocol, episodes=2)]


@pytest.mark.parametrize(("library", "name", "policy", "game"), IN_OTHER_LIBRARIES)
@pytest.mark.filterwarnings("ignore")
def test_an_agent_returns_what_it_returns_in_its_own_library(library, name, policy, game, tmp_path):
    agent = getattr(pytest.importorskip(library), name)(policy, game, seed=1, device="cpu")
    agent.save(tmp_path / "agent.zip")
    env, theirs = gymnasium.make(game), []
    for seed in range(2):
        seen, _ = env.reset(seed=seed)
        total, over, state, first = 0.0, False, None, np.ones(1, bool)
        while not over:
            action, state = agent.predict(seen, state=state, episode_start=first, deterministic=True)
            seen, reward, terminated, truncated, _ = env.step(action)
            total, over, first = total + float(reward), terminated or truncated, np.zeros(1, bool)
        theirs.append(total)
    ckptfmt.convert(tmp_path / "agent.zip", tmp_path / "out")
    assert returns(tmp_path / "out", game, epsilon=0) == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("family", AGENTS)
def test_every_family_that_acts_is_played_and_recorded(family, tmp_path):
    path, other = saved(tmp_path / "a", family, AGENTS[family]), saved(tmp_path / "b", family, AGENTS[family], 1)
    with open_player(path, protocol=Protocol(max_steps=9), render_mode=None) as player:
        recorder = TraceRecorder(player)
        played = list(play_episodes(player.model, player.env, player.protocol, episodes=2, watcher=recorder))
        recorder.save(tmp_path / "game.trace")
        wanted = 0.0 if "policy" in AGENTS[family] else 0.001
        assert player.protocol.epsilon == wanted
        assert describe(player.config).text().splitlines()[0].startswith(ckptfmt.open(path).manifest.architecture.name)
    assert sum(episode.steps for episode in played) == recorder.steps
    with open_trace(tmp_path / "game.trace") as trace:
        assert "steps" in agent_page(trace, title="agent")
    if "n_action" in AGENTS[family]:
        # The network that played says again what it said then, whatever it remembers.
        assert compare_behaviour(path, path, tmp_path / "game.trace").largest_difference == 0
        assert compare_behaviour(path, other, tmp_path / "game.trace").largest_difference > 0


def test_every_family_that_acts_is_tried():
    assert {*AGENTS, "atari-dqn", "value", "action-value"} == set(registry.own())


def test_actions_are_drawn_by_the_seed_where_that_is_asked_for(tmp_path):
    path = saved(tmp_path / "a", "policy", {**PENDULUM, "policy": "gaussian", "deviation": "vector"})
    drawn = returns(path, sampled=True)
    assert drawn == returns(path, sampled=True)
    assert drawn != returns(path)


def test_choices_are_taken_each_for_itself_and_drawn_by_their_logits():
    config = registry.find("policy").config.from_dict(
        {"observation": [3], "policy": "multi-categorical", "choices": [2, 3], "policy_trunk": MLP}
    )
    model = ckptfmt.create_model_from_config(config).eval()
    with torch.no_grad():
        model.logits.weight.zero_()
        model.logits.bias.copy_(torch.tensor([0.0, 40.0, 0.0, 0.0, 40.0]))
    space = gymnasium.spaces.MultiDiscrete([2, 3])
    for sampled in (False, True):
        actor = Actor(model, space, np.random.default_rng(0), sampled=sampled)
        assert actor.act(np.zeros(3, np.float32)).tolist() == [1, 2]
        assert space.contains(actor.at_random())


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"policy": "gaussian", "squash": "tanh"}, [0.0, 5.0]),
        ({"policy": "gaussian"}, [1.0, 5.0]),
        ({"policy": "gaussian", "squash": "tanh", "action_scale": 2.0}, [0.0, 2.0]),
    ],
)
def test_real_actions_are_brought_into_the_bounds_of_the_space(config, wanted):
    whole = {"observation": [3], "action_dim": 2, **config}
    model = ckptfmt.create_model_from_config(registry.find("policy").config.from_dict(whole)).eval()
    with torch.no_grad():
        model.mean.weight.zero_()
        model.mean.bias.copy_(torch.tensor([-50.0, 50.0]) if "squash" in config else torch.tensor([1.0, 9.0]))
    space = gymnasium.spaces.Box(np.float32([0, -1]), np.float32([2, 5]))
    assert Actor(model, space, np.random.default_rng(0)).act(np.zeros(3, np.float32)).tolist() == wanted


@pytest.mark.parametrize("family", ["value", "action-value"])
def test_a_network_that_only_values_is_refused_before_anything_is_played(family, tmp_path):
    critics = {"n_critics": 1, **PENDULUM} if family == "action-value" else CART
    path = saved(tmp_path / "a", family, critics)
    with pytest.raises(CkptError) as caught, open_player(path):
        pass
    assert caught.value.what == f"is a network of the family {family}, which values and chooses no actions"


@pytest.mark.parametrize(
    ("family", "game", "sentence"),
    [
        ("q-network", "Pendulum-v1", "the action space is Box, not Discrete"),
        (
            "policy",
            "CartPole-v1",
            "network and environment do not match: actions 1 real numbers (network) and 2 (environment), "
            "observations 3 (network) and 4 (environment)",
        ),
    ],
)
def test_an_environment_of_other_actions_is_refused(family, game, sentence, tmp_path):
    path = saved(tmp_path / "a", family, AGENTS[family])
    with pytest.raises(CkptError) as caught, open_player(path, game=game):
        pass
    assert caught.value.what == sentence


def test_what_is_no_row_of_numbers_is_flattened(tmp_path):
    path = saved(tmp_path / "a", "q-network", {"observation": [16], "n_action": 4, "trunk": MLP})
    with open_player(path, game="FrozenLake-v1") as player:
        assert player.env.observation_space.shape == (16,)
        list(play_episodes(player.model, player.env, player.protocol, episodes=1))


def test_a_stranger_cannot_ask_for_more_rows_than_the_network_sees(tmp_path):
    path = tmp_path / "a"
    config = registry.find("q-network").config.from_dict({**CART, "n_action": 2, "trunk": MLP})
    said = {"id": "CartPole-v1", "frame_stack": 1000}
    ckptfmt.save_model_checkpoint(ckptfmt.create_model_from_config(config), config, None, path, environment=said)
    with pytest.raises(CkptError) as caught, open_player(path):
        pass
    assert str(caught.value) == "$.environment.frame_stack: stacks 1000 frames, the network sees 4"
