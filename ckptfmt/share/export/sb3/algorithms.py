"""The algorithms of Stable-Baselines3 and sb3-contrib that a network of ours can be an agent of."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from ckptfmt.convert.settings import agents_of
from ckptfmt.families.names import words
from ckptfmt.format.record import record
from ckptfmt.look.figures import finite
from ckptfmt.share.export.opcodes import Name

__all__ = ["ALGORITHMS", "Algorithm", "came_from", "settings", "told_algorithm"]

# No counter or rate of a training comes near this; what does was not told by one.
_TOO_MUCH = 2**53
# SB3 takes all of a buffer's memory as it loads, 26 GiB for its own default of a million frames; who trains on asks
# for more with `custom_objects={"buffer_size": ...}`.
_BUFFER = {"buffer_size": 10_000}
_EXPLORING = ("exploration_initial_eps", "exploration_final_eps", "exploration_fraction")
_OFF_POLICY = ("tau", "gradient_steps", "n_steps", "target_update_interval")
_ON_POLICY = ("n_steps", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm")
_TRUSTED = ("n_steps", "gae_lambda", "cg_max_steps", "cg_damping", "n_critic_updates", "target_kl")
_TEMPERED = (*_OFF_POLICY, "target_entropy", "ent_coef")
# Those of them that count something; -1 is as many as there were steps.
_COUNTS = frozenset({
    "gradient_steps", "n_steps", "target_update_interval", "n_epochs", "policy_delay", "cg_max_steps",
    "n_critic_updates",
})  # fmt: skip
# What is counted here is allocated or looped over by SB3.
_MOST = 1_000_000


@record(kw_only=True)
class Algorithm:
    """An algorithm: where its policies are, what they are called, and what of a training it goes on with.

    `data` are attributes that a zip must hold; `own` those that another zip of SB3 tells by the same name; `kwargs`
    what its constructor gives to the policy; `optimizer` the keywords of the policy's optimizer that are not Adam's.
    """

    name: str
    policies: str
    on_features: str
    activation: str = "relu"
    learning_rate: float = 3e-4
    data: Mapping[str, Any] = field(default_factory=lambda: _BUFFER)
    own: tuple[str, ...] = _OFF_POLICY
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    package: str = "stable_baselines3"

    @property
    def on_frames(self) -> str:
        """Return the class of its policies that see frames."""
        actor = self.on_features.removesuffix("ActorCriticPolicy")
        return "CnnPolicy" if actor == self.on_features else f"{actor}ActorCriticCnnPolicy"

    def alias(self, frames: bool) -> str:
        """Return the word by which its constructor takes the policy."""
        return f"{'Cnn' if frames else 'Mlp'}{'Lstm' if self.on_features.startswith('Recurrent') else ''}Policy"

    @property
    def is_off_policy(self) -> bool:
        """Whether it learns from a replay buffer, and has target networks."""
        return "buffer_size" in self.data


# What A2C's constructor trains with, in place of Adam.
_RMSPROP = {"alpha": 0.99, "eps": 1e-5, "weight_decay": 0}
_ACTOR_CRITIC: Mapping[str, Any] = {
    "policies": "stable_baselines3.common.policies",
    "on_features": "ActorCriticPolicy",
    "activation": "tanh",
    "data": {},
    "optimizer": {"eps": 1e-5},
}
# Settings of another zip by which algorithms are told whose policies are of one class.
_MARKS = {"n_epochs": "PPO", "cg_max_steps": "TRPO", "gae_lambda": "A2C"}
# Learning rates, epsilons and rates of exploration are the defaults of the classes' own constructors: a training goes
# on with them where nothing else is known.
ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            name="DQN", policies="stable_baselines3.dqn.policies", on_features="DQNPolicy", learning_rate=1e-4,
            data={**_BUFFER, "exploration_rate": 0.05}, own=(*_OFF_POLICY, *_EXPLORING, "max_grad_norm"),
        ),
        Algorithm(
            name="QRDQN", package="sb3_contrib", policies="sb3_contrib.qrdqn.policies", on_features="QRDQNPolicy",
            learning_rate=5e-5, data={**_BUFFER, "exploration_rate": 0.01},
            own=(*_OFF_POLICY, *_EXPLORING, "max_grad_norm"),
            kwargs={"optimizer_kwargs": {"eps": 0.01 / 32}}, optimizer={"eps": 0.01 / 32},
        ),
        Algorithm(name="PPO", **_ACTOR_CRITIC, own=(*_ON_POLICY, "n_epochs", "target_kl")),
        Algorithm(
            name="RecurrentPPO", package="sb3_contrib", own=(*_ON_POLICY, "n_epochs", "target_kl"),
            **{**_ACTOR_CRITIC, "policies": "sb3_contrib.common.recurrent.policies",
               "on_features": "RecurrentActorCriticPolicy"},
        ),
        Algorithm(name="TRPO", package="sb3_contrib", **_ACTOR_CRITIC, learning_rate=1e-3, own=_TRUSTED),
        Algorithm(
            name="A2C", **{**_ACTOR_CRITIC, "optimizer": _RMSPROP}, learning_rate=7e-4, own=_ON_POLICY,
            kwargs={"optimizer_class": Name("torch.optim", "RMSprop"), "optimizer_kwargs": _RMSPROP},
        ),
        Algorithm(name="SAC", policies="stable_baselines3.sac.policies", on_features="SACPolicy", own=_TEMPERED),
        Algorithm(
            name="TQC", package="sb3_contrib", policies="sb3_contrib.tqc.policies", on_features="TQCPolicy",
            own=_TEMPERED,
        ),
        Algorithm(
            name="TD3", policies="stable_baselines3.td3.policies", on_features="TD3Policy", learning_rate=1e-3,
            own=(*_OFF_POLICY, "policy_delay", "target_policy_noise", "target_noise_clip"),
        ),
        Algorithm(name="DDPG", policies="stable_baselines3.td3.policies", on_features="TD3Policy", learning_rate=1e-3),
    )
}  # fmt: skip
# SB3's own name, the names under which trainings tell it, the kind, the least and what is too much of it.
_Setting = tuple[str, tuple[str, ...], type[int] | type[float], int, int]
_SETTINGS: tuple[_Setting, ...] = (
    ("num_timesteps", ("num_timesteps", "step", "frame_idx", "steps"), int, 0, _TOO_MUCH),
    # NumPy takes seeds of 32 bits.
    ("seed", ("seed",), int, 0, 2**32),
    ("gamma", ("gamma",), float, 0, 2),
    ("learning_rate", ("learning_rate",), float, 0, _TOO_MUCH),
    ("batch_size", ("batch_size",), int, 2, _TOO_MUCH),
)
_OF_Q: tuple[_Setting, ...] = (
    ("learning_starts", ("learning_starts",), int, 0, _TOO_MUCH),
    ("train_freq", ("train_freq", "train_every"), int, 1, _TOO_MUCH),
    ("target_update_interval", ("target_update_interval",), int, 1, _TOO_MUCH),
)
_PACKAGES = ("stable_baselines3.", "sb3_contrib.")


def came_from(info: Mapping[str, Any]) -> bool:
    """Whether a training was one of SB3, so that its settings mean what SB3 means by them."""
    return str(info.get("policy_class", "")).startswith(_PACKAGES)


def told_algorithm(info: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the one of `names` that a training says it was, "" where it says none."""
    said = {word for agent in agents_of(info) for word in words(agent)}
    for name in names:
        if name.lower() in said or {*words(name)} <= said:
            return name
    marked = (name for mark, name in _MARKS.items() if mark in info and name in names)
    return next(marked, "") if came_from(info) else ""


def settings(algorithm: Algorithm, info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training said of itself that SB3 goes on with, where it is of the kind that SB3 takes."""
    found: dict[str, Any] = {}
    for name, spellings, kind, least, most in _SETTINGS + (_OF_Q if "exploration_rate" in algorithm.data else ()):
        told = (finite(info.get(spelling)) for spelling in spellings)
        if fits := [kind(value) for value in told if value is not None and least <= value < most]:
            found[name] = fits[0]
    if came_from(info):
        found |= {name: info[name] for name in algorithm.own if _is_setting(name, info.get(name))}
    return found


def _is_setting(name: str, value: Any) -> bool:
    """Whether a value is of the kind that SB3 takes, and asks for no more memory than a training has."""
    if name in _COUNTS:
        return type(value) is int and (value == -1 or 0 < value <= _MOST)
    return finite(value) is not None
