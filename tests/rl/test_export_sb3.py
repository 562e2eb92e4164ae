"""Zips of every family that Stable-Baselines3 has agents for: loaded by its class, played, learned on."""

import base64
import json
import pickletools
import zipfile
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import gymnasium
import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed")

import torch
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

import ckptfmt
from ckptfmt.errors import CkptError, ConversionError
from ckptfmt.families.targets import PREFIX
from ckptfmt.share.export import export
from ckptfmt.share.export.sb3.algorithms import ALGORITHMS
from ckptfmt.store.write import update_manifest

from .examples import NETWORKS, config_of, lstm, mlp, save_network

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "corpus-families"
# Which algorithm each example becomes, and what of it is compared.
AGENTS = {
    "dqn": ("DQN", "Q-values of 32 frames"),
    "dqn, other sizes": ("DQN", "Q-values of 32 observations"),
    "dqn on frames, two hidden layers": ("DQN", "Q-values of 32 frames"),
    "quantile": ("QRDQN", "Q-values, quantiles of 32 observations"),
    "quantile, by action": ("QRDQN", "Q-values, quantiles of 32 observations"),
    "quantile on frames": ("QRDQN", "Q-values, quantiles of 32 frames"),
    "categorical, other sizes": ("PPO", "logits, value of 32 observations"),
    "categorical on frames, apart": ("PPO", "logits, value of 32 frames"),
    "multi-categorical": ("PPO", "logits, value of 32 observations"),
    "gaussian, 64 and 64 units": ("PPO", "mean, log std, value of 32 observations"),
    "gaussian, exploring by the state": ("PPO", "mean, log std, value of 32 observations"),
    "categorical+lstm, one each": ("RecurrentPPO", "logits, value of 4 times 8 observations"),
    "categorical+lstm, one before both": ("RecurrentPPO", "logits, value of 4 times 8 observations"),
    "categorical+lstm on frames": ("RecurrentPPO", "logits, value of 4 times 8 frames"),
    "gaussian+lstm, the policy's alone": ("RecurrentPPO", "mean, log std, value of 4 times 8 observations"),
    "gaussian+twin-q": ("SAC", "mean, log std, action, critics of 32 observations"),
    "gaussian+twin-q, exploring by the state": ("SAC", "mean, log std, action, critics of 32 observations"),
    "gaussian+twin-q on frames": ("SAC", "mean, log std, action, critics of 32 frames"),
    "gaussian+twin-quantile-q": ("TQC", "mean, log std, action, critic quantiles of 32 observations"),
    "deterministic+q": ("DDPG", "action, critics of 32 observations"),
    "deterministic+twin-q": ("TD3", "action, critics of 32 observations"),
}
LOW = [-1.0, -0.41887903, float("-inf"), -8.0, -3.4028235e38]


class Play(gymnasium.Env):
    """Five steps of noise in the spaces of a network."""

    def __init__(self, seen: gymnasium.Space, acts: gymnasium.Space) -> None:
        self.observation_space, self.action_space = seen, acts

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return self._seen(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.left -= 1
        return self._seen(), float(np.sum(action)), self.left == 0, False, {}

    def _seen(self):
        shape = self.observation_space.shape
        if len(shape) == 3:
            return self.np_random.integers(0, 256, shape, dtype=np.uint8)
        return self.np_random.normal(size=shape).astype(np.float32).clip(self.observation_space.low, None)


def environment_of(config) -> tuple[Monitor, dict]:
    """Return an environment that the network fits, and what a manifest says of its spaces."""
    spaces = gymnasium.spaces
    if len(config.input_shape) == 3:
        seen = spaces.Box(0, 255, config.input_shape, np.uint8)
    else:
        seen = spaces.Box(np.array(LOW, np.float32), np.float32(8), dtype=np.float32)
    if getattr(config, "choices", None):
        acts = spaces.MultiDiscrete(config.choices)
    elif config.n_action is not None:
        acts = spaces.Discrete(config.n_action)
    else:
        acts = spaces.Box(-2.0, np.array([2.0, 0.3], np.float32), dtype=np.float32)
    said = {"observation_space": described(seen), "action_space": described(acts)}
    return Monitor(Play(seen, acts)), said


def described(space: gymnasium.Space) -> dict:
    """What a conversion of a zip keeps of a space."""
    kind = f"{type(space).__module__}.{type(space).__name__}"
    if not isinstance(space, gymnasium.spaces.Box):
        return {"class": kind, "n": int(getattr(space, "n", 0))}
    ends = {"low": str(space.low), "high": str(space.high)}
    return {"class": kind, "shape": list(space.shape), "dtype": str(space.dtype), **ends}


def kind(algorithm: str):
    return getattr(import_module(ALGORITHMS[algorithm].package), algorithm)


@pytest.fixture
def agent_file(tmp_path, request):
    """Export an example whose manifest tells the spaces; return the export and the environment."""

    def make(called: str, info=None, **more):
        config = save_network(tmp_path / "ck", called, info)
        env, said = environment_of(config)
        update_manifest(tmp_path / "ck", lambda manifest: replace(manifest, environment=said))
        return export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3", check=True, **more), env

    return make


@pytest.mark.parametrize("called", AGENTS)
def test_the_librarys_own_class_loads_evaluates_and_learns_on(agent_file, called):
    algorithm, compared = AGENTS[called]
    done, env = agent_file(called, {"step": 1000, "gamma": 0.9})
    assert done.checked.startswith(f"{compared} equal")
    assert done.loads_with == f'{algorithm}.load("{done.dest}")'
    on_policy = algorithm in ("PPO", "A2C", "TRPO", "RecurrentPPO")
    rollout = {"n_steps": 16, "batch_size": 8} if on_policy else {"learning_starts": 5}
    agent = kind(algorithm).load(
        done.dest, env=env, device="cpu", custom_objects={**rollout, "buffer_size": 100, "batch_size": 8}
    )
    mean, _ = evaluate_policy(agent, env, n_eval_episodes=2)
    assert np.isfinite(mean)
    before = [parameter.detach().clone() for parameter in agent.policy.parameters()]
    agent.learn(24, reset_num_timesteps=False)
    assert agent.num_timesteps >= 1024
    assert agent.gamma == 0.9
    assert any(not torch.equal(a, b) for a, b in zip(before, agent.policy.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"trunk": lstm(8)}, "policy and value share nothing but a features extractor and its LSTM"),
        (
            {"policy_trunk": [*mlp(8), *lstm()]},
            "RecurrentPPO has one LSTM, right behind what it sees or its features extractor",
        ),
        ({"policy_trunk": [{**lstm()[0], "cell": "gru"}]}, "RecurrentPPO has LSTMs alone"),
        ({"trunk": lstm(), "policy_trunk": lstm()}, "RecurrentPPO has one LSTM, or one for each side"),
        ({"value_trunk": lstm()}, "RecurrentPPO has an LSTM before its policy"),
        (
            {"policy_trunk": lstm(), "value_trunk": lstm(layers=2)},
            "RecurrentPPO has LSTMs of one size for policy and value",
        ),
        (
            {"policy_trunk": lstm(), "value_trunk": mlp(6)},
            "RecurrentPPO has a linear layer of the LSTM's size in place of the value's LSTM",
        ),
    ],
)
def test_a_memory_that_recurrent_ppo_has_not_is_refused(tmp_path, changes, what):
    config = config_of("categorical+lstm", **{"trunk": [], **changes})
    model = ckptfmt.create_model_from_config(config)
    ckptfmt.save_model_checkpoint(model, config, {}, tmp_path / "ck")
    with pytest.raises(ConversionError) as caught:
        export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3")
    assert caught.value.what == f"Stable-Baselines3's {what}"


def test_a_recurrent_agent_remembers_what_it_was_shown(agent_file, tmp_path):
    done, _ = agent_file("categorical+lstm, one each")
    agent = kind("RecurrentPPO").load(done.dest, device="cpu")
    model, _, _ = ckptfmt.load_model_checkpoint(tmp_path / "ck")
    seen = torch.randn(12, 1, 5)
    with torch.no_grad():
        ours = model.outputs(seen)["logits"].argmax(-1)
    theirs, state = [], None
    for step in seen.numpy():
        action, state = agent.predict(step, state=state, deterministic=True)
        theirs.append(action)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("algorithm", ["A2C", "TRPO"])
def test_an_actor_critic_is_an_agent_of_whom_is_asked_for(agent_file, algorithm):
    done, env = agent_file("categorical, other sizes", algorithm=algorithm.lower())
    assert done.summary == f"{algorithm}, MlpPolicy, 3 actions"
    agent = kind(algorithm).load(done.dest, env=env, device="cpu", custom_objects={"n_steps": 8, "batch_size": 4})
    agent.learn(16)
    trained = {"A2C": torch.optim.RMSprop, "TRPO": torch.optim.Adam}[algorithm]
    assert type(agent.policy.optimizer) is trained


@pytest.mark.parametrize(
    ("info", "algorithm"),
    [
        ({"algorithm": "A2C"}, "A2C"),
        ({"exp_name": "ppo_atari"}, "PPO"),
        ({"policy_class": "stable_baselines3.common.policies.ActorCriticPolicy", "gae_lambda": 1.0}, "A2C"),
        ({"gae_lambda": 1.0}, "PPO"),
        ({}, "PPO"),
    ],
)
def test_a_training_that_says_what_it_was_decides(tmp_path, info, algorithm):
    save_network(tmp_path / "ck", "categorical, other sizes", info)
    done = export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3", check=False)
    assert done.summary.partition(",")[0] == algorithm


def test_another_algorithm_than_there_are_is_refused(tmp_path):
    save_network(tmp_path / "ck", "categorical, other sizes")
    with pytest.raises(ConversionError) as caught:
        export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3", algorithm="SAC")
    assert str(caught.value) == (
        f"{tmp_path}/ck: Stable-Baselines3 has such a network in PPO or A2C or TRPO, not in SAC; "
        "choose PPO or A2C or TRPO"
    )
    with pytest.raises(CkptError, match="an export to torch has no algorithm; leave it out, or export to sb3"):
        export(tmp_path / "ck", tmp_path / "net.pth", to="torch", algorithm="PPO")
    assert [path.name for path in tmp_path.iterdir()] == ["ck"]


def test_spaces_that_nobody_told_are_given_as_the_line_says_that_loads_it(tmp_path):
    config = save_network(tmp_path / "ck", "gaussian+twin-q")
    done = export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3")
    env, _ = environment_of(config)
    agent = eval(done.loads_with, {"SAC": kind("SAC"), "env": env})
    assert (agent.observation_space, agent.action_space) == (env.observation_space, env.action_space)
    agent.set_env(env)
    agent.buffer_size = 10
    # What the network gives is between -1 and 1, and the space that was given stretches it.
    action, _ = agent.predict(np.full(5, 3, np.float32), deterministic=True)
    squashed = agent.actor(torch.full((1, 5), 3.0), deterministic=True)[0].detach().numpy()
    np.testing.assert_allclose(action, agent.policy.unscale_action(squashed), rtol=1e-6)


def test_actions_without_known_bounds_are_clipped_by_none(tmp_path):
    save_network(tmp_path / "ck", "gaussian, 64 and 64 units")
    done = export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3")
    agent = kind("PPO").load(done.dest, device="cpu")
    model, _, _ = ckptfmt.load_model_checkpoint(tmp_path / "ck")
    seen = np.full(5, 1000, np.float32)
    action, _ = agent.predict(seen, deterministic=True)
    np.testing.assert_allclose(action, model.act(torch.from_numpy(seen)[None])[0], rtol=1e-5)


def test_what_a_training_begins_anew_with_is_said(agent_file):
    assert agent_file("gaussian+twin-q")[0].anew == (
        "optimizer",
        "target network",
        "replay buffer",
        "entropy coefficient",
    )


@pytest.mark.parametrize("called", ["gaussian+twin-q, copies of critics", "deterministic+twin-q, copies of all"])
def test_target_copies_go_where_they_came_from(called, agent_file):
    done, *_ = agent_file(called)
    assert "target network" not in done.anew
    model = kind("SAC" if "gaussian" in called else "TD3").load(done.dest, device="cpu")
    own, copy = model.critic.state_dict(), model.critic_target.state_dict()
    assert own.keys() == copy.keys()
    assert not any(torch.equal(own[name], copy[name]) for name in own)


@pytest.mark.parametrize("called", AGENTS)
def test_pickles_name_nothing_but_policies_spaces_dtypes_and_activations(agent_file, called):
    with zipfile.ZipFile(agent_file(called)[0].dest) as archive:
        data = json.loads(archive.read("data"))
    pickles = [base64.b64decode(v[":serialized:"]) for v in data.values() if isinstance(v, dict) and ":type:" in v]
    named = {op[1] for text in pickles for op in pickletools.genops(text) if op[0].name == "GLOBAL"}
    modules = {name.partition(" ")[0] for name in named}
    policies = {algorithm.policies for algorithm in ALGORITHMS.values()}
    assert modules <= policies | {"numpy", "torch.nn", "torch.optim"} | {
        f"gymnasium.spaces.{kind}" for kind in ("box", "discrete", "multi_discrete")
    }
    assert max(map(len, pickles)) < 500


@pytest.mark.parametrize("dtype", ["os system", "float32\nos\nsystem", "object"])
def test_a_dtype_of_a_manifest_becomes_no_name_in_a_pickle(tmp_path, dtype):
    config = save_network(tmp_path / "ck", "categorical, other sizes")
    said = environment_of(config)[1]
    said["observation_space"]["dtype"] = dtype
    update_manifest(tmp_path / "ck", lambda manifest: replace(manifest, environment=said))
    done = export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3", check=False)
    data = json.loads(zipfile.ZipFile(done.dest).read("data"))
    text = base64.b64decode(data["observation_space"][":serialized:"])
    named = [op[1] for op in pickletools.genops(text) if op[0].name == "GLOBAL"]
    assert named == ["gymnasium.spaces.box Box", "numpy float32"]
    assert "custom_objects" in done.loads_with


@pytest.mark.parametrize("said", [{"low": "[nan 1 2 3 4]"}, {"low": "[1 2]"}, {"low": "a b c d e"}, {"shape": [4]}])
def test_bounds_that_are_none_are_not_taken(tmp_path, said):
    config = save_network(tmp_path / "ck", "categorical, other sizes")
    told = environment_of(config)[1]
    told["observation_space"] |= said
    update_manifest(tmp_path / "ck", lambda manifest: replace(manifest, environment=told))
    done = export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3", check=True)
    assert "custom_objects" in done.loads_with


ZIPS = (
    *(f"sb3/{name}" for name in (
        "a2c-cnn", "dqn-cartpole", "dqn-cnn-control", "maskableppo-acrobot", "ppo-cartpole-relu", "ppo-cartpole",
        "ppo-pendulum", "qrdqn-cartpole", "qrdqn-cnn-51", "recurrentppo-cartpole", "sac-pendulum", "td3-pendulum",
    )),
    *(f"wild/zoo-{name}" for name in (
        "a2c-LunarLander-v2", "a2c-Pendulum-v1", "dqn-CartPole-v1", "ppo-CartPole-v1", "ppo-LunarLanderContinuous-v2",
        "qrdqn-CartPole-v1", "sac-Pendulum-v1", "tqc-Pendulum-v1", "trpo-CartPole-v1",
    )),
)  # fmt: skip
beside = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus of real files is not beside this repository")


@beside
@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_that_comes_in_goes_out_and_comes_in_again_as_the_same_network(tmp_path, name):
    ckptfmt.convert(CORPUS / f"{name}.zip", tmp_path / "in")
    done = export(tmp_path / "in", tmp_path / "out.zip", to="sb3", check=True)
    if "zoo" in name:
        assert done.summary.partition(",")[0] == name.partition("-")[2].partition("-")[0].upper()
    ckptfmt.convert(tmp_path / "out.zip", tmp_path / "again")
    with ckptfmt.open(tmp_path / "in") as a, ckptfmt.open(tmp_path / "again") as b:
        assert a.manifest.content_digest == b.manifest.content_digest
        assert replace(a.config, game=None) == replace(b.config, game=None)


@beside
@pytest.mark.parametrize(
    ("name", "game"),
    [
        ("ppo-cartpole", "CartPole-v1"),
        ("ppo-cartpole-relu", "CartPole-v1"),
        ("dqn-cartpole", "CartPole-v1"),
        ("qrdqn-cartpole", "CartPole-v1"),
        ("recurrentppo-cartpole", "CartPole-v1"),
        ("ppo-pendulum", "Pendulum-v1"),
        ("sac-pendulum", "Pendulum-v1"),
        ("td3-pendulum", "Pendulum-v1"),
    ],
)
def test_a_zip_given_back_acts_as_before_in_its_own_game_and_learns_on(tmp_path, name, game):
    algorithm = {"RECURRENTPPO": "RecurrentPPO"}.get(called := name.partition("-")[0].upper(), called)
    before = kind(algorithm).load(CORPUS / "sb3" / f"{name}.zip", device="cpu")
    ckptfmt.convert(CORPUS / "sb3" / f"{name}.zip", tmp_path / "in")
    done = export(tmp_path / "in", tmp_path / "out.zip", to="sb3", check=True)
    assert "custom_objects" not in done.loads_with
    env = Monitor(gymnasium.make(game))
    after = kind(algorithm).load(done.dest, env=env, device="cpu")
    seen = np.stack([before.observation_space.sample().clip(-3, 3) for _ in range(50)])
    actions = [agent.predict(seen, deterministic=True)[0] for agent in (before, after)]
    assert np.array_equal(*actions)
    told = ("gamma", "learning_rate", "batch_size", "num_timesteps", "seed", "n_steps")
    assert [getattr(before, name) for name in told] == [getattr(after, name) for name in told]
    steps = before.num_timesteps
    after.learn(200, reset_num_timesteps=False)
    assert after.num_timesteps >= steps + 200


# A features extractor that actor and critics share is told in none of a zip's networks.
@pytest.mark.parametrize("called", sorted(AGENTS.keys() - {"gaussian+twin-q on frames"}))
def test_an_example_that_went_out_comes_in_as_the_same_network(agent_file, tmp_path, called):
    done, _ = agent_file(called)
    ckptfmt.convert(done.dest, tmp_path / "again")
    with ckptfmt.open(tmp_path / "ck") as a, ckptfmt.open(tmp_path / "again") as b:
        assert a.manifest.architecture == b.manifest.architecture
        own, back = ({name: one.info(name).digest for name in one.names()} for one in (a, b))
        # A zip always has target copies, and those of actors and critics are taken out of it as well.
        copies = {name for name in back.keys() - own.keys() if name.startswith(PREFIX)}
        assert bool(copies) == (a.config.family == "actor-q" and "target network" in done.anew)
        assert own.keys() == back.keys() - copies
        if called != "quantile, by action":  # its rows were put into the order that the library has
            assert own == {name: digest for name, digest in back.items() if name not in copies}


def test_every_example_is_either_an_agent_or_refused():
    assert AGENTS.keys() <= NETWORKS.keys()
    assert config_of("dqn").family == "atari-dqn"
