"""Which agent of Stable-Baselines3 a network is: its algorithm, its spaces, and what its tensors are called there."""

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from ckptfmt.families.actor_critic import ActorCriticConfig
from ckptfmt.families.actor_q import ActorQConfig
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.encoder import NATURE
from ckptfmt.families.network import NetworkConfig, PolicyConfig
from ckptfmt.families.q_network import QConfig
from ckptfmt.families.quantile_q import QuantileQConfig
from ckptfmt.families.recurrent_actor_critic import RecurrentActorCriticConfig
from ckptfmt.families.targets import PREFIX, is_copied
from ckptfmt.format.record import record
from ckptfmt.share.export.sb3.layers import LIBRARY, Row, Seen, look_at
from ckptfmt.share.export.sb3.recurrent import remembering
from ckptfmt.share.export.target import require, unfit

__all__ = ["Agent", "agent_of"]

Names = dict[str, tuple[str, ...]]
# LOG_STD_MIN and LOG_STD_MAX of its `sac/policies.py`.
_CLAMP = (-20.0, 2.0)


@record(kw_only=True)
class Agent:
    """A network with the eyes of Stable-Baselines3.

    `algorithms` have such a network, the usual one first; `names` are those of each layer there, several where it
    stands in several networks; `kwargs` are what its policy is made with; `optimizers` say for each of its optimizers
    how the names of what it trains begin; `frames` is whether it sees any. `reordered` are tensors whose rows must be
    put together by quantile, `target` is which of its networks have a target copy.
    """

    algorithms: tuple[str, ...]
    names: Mapping[str, tuple[str, ...]]
    kwargs: Mapping[str, Any]
    activations: frozenset[str] = frozenset()
    optimizers: Mapping[str, str] = field(default_factory=dict)
    frames: bool = False
    use_sde: bool = False
    reordered: tuple[str, ...] = ()
    target: str = "none"

    @property
    def has_targets(self) -> bool:
        """Whether each of its target networks there is a copy that lies here."""
        copied = {layer for layer in self.names if self.target != "none" and is_copied(layer, self.target)}
        return copied == {layer for layer, names in self.names.items() if any(map(_is_target, names))}

    def called(self, tensor: str) -> tuple[str, ...]:
        """Return the names of one of our tensors there; what has no target copy here is its own."""
        if tensor.startswith(PREFIX):
            return tuple(name for name in self._called(tensor.removeprefix(PREFIX)) if _is_target(name))
        copied = self.target != "none" and is_copied(tensor, self.target)
        return tuple(name for name in self._called(tensor) if not (copied and _is_target(name)))

    def _called(self, tensor: str) -> tuple[str, ...]:
        if tensor in self.names:
            return self.names[tensor]
        layer, _, parameter = tensor.rpartition(".")
        return tuple(f"{one}.{parameter}" for one in self.names[layer])


def _is_target(name: str) -> bool:
    return name.partition(".")[0].endswith("_target")


def agent_of(config: object) -> Agent:
    """Return the agent whose network a config describes; raise `ConversionError` where there is none."""
    match config:
        case ModelConfig():
            return _atari(config)
        case QConfig() | QuantileQConfig():
            return _values(config)
        case ActorQConfig():
            return _actor_q(config)
        case ActorCriticConfig():
            return _actor_critic(config)
    raise unfit(f"{LIBRARY} has no agents of the family {getattr(config, 'family', 'unknown')}")


def _atari(config: ModelConfig) -> Agent:
    require(config.get_architecture_name() == "dqn", f"{LIBRARY}'s DQN is plain: no dueling, atoms or noise")
    require(config.encoder == NATURE, f"{LIBRARY}'s CnnPolicy has the convolutions of the Nature paper and ReLU")
    seen = Seen(Row(), ("conv.0", "conv.2", "conv.4"), "fc.0", config.hidden_size)
    return _q("DQN", ("q_net", "q_net_target"), "q_net", seen, "fc.2", {})


def _values(config: QConfig | QuantileQConfig) -> Agent:
    quantiles = isinstance(config, QuantileQConfig)
    called = "QR-DQN" if quantiles else "DQN"
    plain = not config.dueling and not config.is_noisy and getattr(config, "n_atoms", None) is None
    require(plain, f"{LIBRARY}'s {called} is plain: no dueling{'' if quantiles else ', atoms'} or noise")
    seen = look_at(config.trunk, "trunk", config.activation)
    _check_frames(config, seen)
    if not isinstance(config, QuantileQConfig):
        return _q("DQN", ("q_net", "q_net_target"), "q_net", seen, "q", {})
    kwargs = {"n_quantiles": config.n_quantiles}
    nets = ("quantile_net", "quantile_net_target")
    # Its head gives all actions of a quantile together, so that rows in the other order are put into that one.
    moved = ("q.weight", "q.bias") if config.order == "action" else ()
    return _q("QRDQN", nets, "quantile_net", seen, "q", kwargs, moved)


def _q(
    algorithm: str, nets: tuple[str, ...], inner: str, seen: Seen, head: str, kwargs: dict[str, Any],
    reordered: tuple[str, ...] = (),
) -> Agent:  # fmt: skip
    rows = [f"{net}.{inner}" for net in nets]
    names = seen.extractor(*(f"{net}.features_extractor" for net in nets)) | seen.row.called(*rows)
    # Its `nn.Sequential` counts activations too, so the head stands behind twice as many places as there are layers.
    names[head] = tuple(f"{one}.{2 * len(seen.row.names)}" for one in rows)
    return Agent(
        algorithms=(algorithm,),
        names=names,
        kwargs={"net_arch": list(seen.row.sizes), **_extractor(seen), **kwargs},
        activations=frozenset(seen.row.activations),
        optimizers={"policy.optimizer": f"{nets[0]}."},
        frames=seen.features_dim is not None,
        reordered=reordered,
    )  # fmt: skip


def _actor_critic(config: ActorCriticConfig) -> Agent:
    _check_policy(config)
    fits = config.policy in ("categorical", "multi-categorical", "gaussian")
    require(fits, f"{LIBRARY}'s PPO and A2C have no {config.policy} policies")
    require(config.squash == "none", f"{LIBRARY}'s PPO and A2C do not squash actions")
    fits = config.policy != "gaussian" or config.deviation in ("vector", "matrix")
    require(fits, f"{LIBRARY}'s PPO and A2C have one deviation for all states among the weights")
    require(config.deviation_range is None, f"{LIBRARY}'s PPO and A2C do not clamp deviations")
    require(config.mean_range is None, f"{LIBRARY}'s PPO and A2C do not clamp means")
    sde = config.deviation == "matrix"
    names, seen, (policy, value), kwargs = _extractors(config)
    rows = policy.row, value.row
    if config.family == RecurrentActorCriticConfig.family:
        cells, value_row, more = remembering(seen if config.trunk else None, policy, value)
        names, rows, kwargs = names | cells, (policy.row, value_row), kwargs | more
    head = {"gaussian": "mean"}.get(config.policy, "logits")
    names |= rows[0].called("mlp_extractor.policy_net") | rows[1].called("mlp_extractor.value_net")
    names |= {head: ("action_net",), "state_value": ("value_net",)}
    if config.deviation != "none":
        names["deviation"] = ("log_std",)
    arch = {"pi": list(rows[0].sizes), "vf": list(rows[1].sizes)}
    return Agent(
        algorithms=("RecurrentPPO",) if "lstm_hidden_size" in kwargs else ("PPO", "A2C", "TRPO"),
        names=names,
        kwargs={"net_arch": arch, **_extractor(seen), **kwargs},
        activations=frozenset(rows[0].activations + rows[1].activations),
        optimizers={"policy.optimizer": ""},
        frames=seen.features_dim is not None,
        use_sde=sde,
    )


def _extractors(config: ActorCriticConfig) -> tuple[Names, Seen, tuple[Seen, Seen], dict[str, Any]]:
    """Return names and kinds of what sees, and what policy and value are: one extractor for both, or one each."""
    recurrent = config.family == RecurrentActorCriticConfig.family
    bodies = {"trunk": config.trunk, "policy": config.policy_trunk, "value": config.value_trunk}
    seen, policy, value = (look_at(body, name, config.activation, cells=recurrent) for name, body in bodies.items())
    require(not seen.row.names, f"{LIBRARY}'s policy and value share nothing but a features extractor"
            + (" and its LSTM" if recurrent else ""))  # fmt: skip
    if config.trunk or (policy.features_dim is None and value.features_dim is None):
        _check_frames(config, seen)
        require(policy.features_dim is None and value.features_dim is None, f"{LIBRARY} has one features extractor")
        names = seen.extractor("features_extractor", "pi_features_extractor", "vf_features_extractor")
        return names, seen, (policy, value), {}
    _check_frames(config, policy)
    require(
        policy.features_dim == value.features_dim, f"{LIBRARY}'s policy and value have features extractors of one kind"
    )
    names = policy.extractor("features_extractor", "pi_features_extractor") | value.extractor("vf_features_extractor")
    return names, policy, (policy, value), {"share_features_extractor": False}


def _actor_q(config: ActorQConfig) -> Agent:
    gaussian = config.policy == "gaussian"
    require(config.policy in ("gaussian", "deterministic"), f"{LIBRARY}'s SAC and TD3 take real actions only")
    called = "TQC" if config.n_quantiles else "SAC" if gaussian else "TD3"
    require(gaussian or not config.n_quantiles, f"{LIBRARY}'s TD3 has no quantiles")
    require(config.value_trunk is None, f"{LIBRARY}'s {called} has no state value")
    require(config.squash == "tanh", f"{LIBRARY}'s {called} squashes actions, and this one does not")
    _check_policy(config)
    trunk = look_at(config.trunk, "trunk", config.activation)
    require(not trunk.row.names, f"{LIBRARY}'s actor and critics share nothing but a features extractor")
    _check_frames(config, trunk)
    actor = look_at(config.policy_trunk, "policy", config.activation)
    critics = [look_at(config.critic_trunk, f"critics.{i}.body", config.activation) for i in range(config.n_critics)]
    require(actor.features_dim is None and critics[0].features_dim is None,
            f"{LIBRARY}'s critics share one features extractor, and these have one each")  # fmt: skip
    names, kwargs = _gaussian(config, actor.row) if gaussian else _deterministic(actor.row)
    sides = ("actor", "critic", "critic_target", *(() if gaussian else ("actor_target",)))
    names |= trunk.extractor(*(f"{side}.features_extractor" for side in sides))
    names |= dict(_critics(critics))
    kwargs |= {"net_arch": {"pi": list(actor.row.sizes), "qf": list(critics[0].row.sizes)}, **_extractor(trunk)}
    kwargs |= {"n_critics": config.n_critics, **({"share_features_extractor": True} if config.trunk else {})}
    own = "critic.qf" if gaussian else "critic."
    return Agent(
        algorithms=(called,) if gaussian else ("DDPG", "TD3") if config.n_critics == 1 else ("TD3",),
        names=names,
        kwargs=kwargs | ({"n_quantiles": config.n_quantiles} if config.n_quantiles else {}),
        activations=frozenset(actor.row.activations + critics[0].row.activations),
        optimizers={"actor.optimizer": "actor.", "critic.optimizer": own},
        frames=trunk.features_dim is not None,
        use_sde=config.deviation == "matrix",
        target=config.target,
    )


def _gaussian(config: ActorQConfig, row: Row) -> tuple[Names, dict[str, Any]]:
    """Return names and arguments of an actor with a deviation of each state."""
    require(config.deviation in ("head", "matrix"), f"{LIBRARY}'s SAC has a deviation for each state")
    names = row.called("actor.latent_pi")
    if config.deviation == "head":
        require(config.deviation_range == _CLAMP, f"{LIBRARY}'s SAC clamps the logarithm of deviations to -20 and 2")
        require(config.mean_range is None, f"{LIBRARY}'s SAC clamps no mean")
        return names | {"mean": ("actor.mu",), "deviation": ("actor.log_std",)}, {}
    require(config.deviation_range is None, f"{LIBRARY}'s SAC that explores by the state clamps no deviation")
    low, high = config.mean_range or (0.0, 0.0)
    require(low == -high, f"{LIBRARY}'s SAC clamps means to numbers of equal size")
    mean = "actor.mu.0" if config.mean_range else "actor.mu"
    return names | {"mean": (mean,), "deviation": ("actor.log_std",)}, {"clip_mean": high}


def _deterministic(row: Row) -> tuple[Names, dict[str, Any]]:
    both = ("actor.mu", "actor_target.mu")
    head = {"action": tuple(f"{one}.{2 * len(row.names)}" for one in both)}
    return row.called(*both) | head, {}


def _critics(critics: list[Seen]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for i, critic in enumerate(critics):
        both = (f"critic.qf{i}", f"critic_target.qf{i}")
        yield from critic.row.called(*both).items()
        yield f"critics.{i}.head", tuple(f"{one}.{2 * len(critic.row.names)}" for one in both)


def _check_policy(config: PolicyConfig) -> None:
    scaled = config.saved_scale or config.action_scale != 1
    require(not scaled, f"{LIBRARY} scales actions outside of the network, and this policy does so itself")
    require(config.deviation_is == "log", f"{LIBRARY}'s policies keep the logarithms of deviations")


def _check_frames(config: NetworkConfig, seen: Seen) -> None:
    """Require that frames are seen by convolutions, and features by none."""
    frames = len(config.observation) == 3
    require(
        frames == (seen.features_dim is not None),
        f"{LIBRARY}'s MlpPolicy sees numbers in a row, and CnnPolicy (channels, height, width)",
    )


def _extractor(seen: Seen) -> dict[str, Any]:
    return {} if seen.features_dim is None else {"features_extractor_kwargs": {"features_dim": seen.features_dim}}
