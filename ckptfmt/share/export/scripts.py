"""Which of CleanRL's scripts has a network of ours, and what its classes call the layers.

A script has sizes of its own, written into its classes, so that most networks are in none.
"""

from collections.abc import Iterator, Mapping
from itertools import chain

from ckptfmt.families.actor_critic import ActorCriticConfig
from ckptfmt.families.actor_q import ActorQConfig
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.blocks import Body, Convs, Mlp
from ckptfmt.families.encoder import NATURE
from ckptfmt.families.network import NetworkConfig
from ckptfmt.families.q_network import QConfig
from ckptfmt.format.record import record
from ckptfmt.share.export.target import require, unfit

__all__ = ["Script", "script_of"]

# What CleanRL's Atari scripts have in their source.
_FRAMES = (4, 84, 84)
_HIDDEN = 512
# Where the layers of each of its bodies stand: their outputs, and what lies behind them.
_Q, _PPO, _REAL = ((120, 84), "relu"), ((64, 64), "tanh"), ((256, 256), "relu")
# One `nn.Sequential` of convolutions, activations, flatten and linear layers, counted together.
_TRUNK = ("network.0", "network.2", "network.4", "network.7")


@record
class Script:
    """A script: its file, the classes of it, and the name of each layer of ours in each of its state dicts.

    `divisor` is what its network divides pixels by. `wrapped` says that its weights lie beside its arguments.
    """

    file: str
    classes: str
    names: tuple[Mapping[str, str], ...]
    divisor: float = 1.0
    wrapped: bool = False


def script_of(config: object) -> Script:
    """Return the script whose network a config describes; raise `ConversionError` where there is none."""
    match config:
        case ModelConfig():
            return _atari(config)
        case QConfig():
            return _values(config)
        case ActorCriticConfig() if config.family == "actor-critic":
            return _on_policy(config)
        case ActorQConfig():
            return _off_policy(config)
    raise unfit(f"CleanRL saves no networks of the family {getattr(config, 'family', 'unknown')}")


def _atari(config: ModelConfig) -> Script:
    require(not config.dueling_dqn, "CleanRL's DQN and C51 have no dueling streams")
    require(not config.noisy_networks, "CleanRL's DQN and C51 have no noisy layers")
    require(config.encoder == NATURE, "CleanRL's network has the convolutions of the Nature paper and ReLU")
    require(config.input_shape == _FRAMES, "CleanRL's network takes 4×84×84 frames")
    require(config.hidden_size == _HIDDEN, f"CleanRL's network has {_HIDDEN} hidden units")
    names = dict(zip(("conv.0", "conv.2", "conv.4", "fc.0", "fc.2"), (*_TRUNK, "network.9"), strict=True))
    atoms = config.distributional_dqn
    file = "c51_atari.py" if atoms else "dqn_atari.py"
    return Script(file, "QNetwork", ({**names, "support": "atoms"},), 255.0, wrapped=atoms)


def _values(config: QConfig) -> Script:
    atoms = config.n_atoms is not None
    called = "C51" if atoms else "DQN"
    require(not config.dueling, f"CleanRL's {called} has no dueling streams")
    require(not config.is_noisy, f"CleanRL's {called} has no noisy layers")
    nature = "has the convolutions of the Nature paper and one hidden layer"
    require(len(config.observation) == 1, f"CleanRL's {called} on frames {nature}")
    names = _row(config, config.trunk, "trunk", _Q, f"CleanRL's {called} on features", "network")
    names |= {"q": "network.4", "support": "atoms"}
    return Script("c51.py" if atoms else "dqn.py", "QNetwork", (names,), wrapped=atoms)


def _on_policy(config: ActorCriticConfig) -> Script:
    real = config.policy == "gaussian"
    require(real or config.policy == "categorical", f"CleanRL's PPO has no {config.policy} policy")
    plain = config.squash == "none" and config.action_scale == 1 and not config.saved_scale
    plain = plain and config.deviation_is == "log" and (config.deviation_range, config.mean_range) == (None, None)
    require(plain, "CleanRL's PPO gives means as they are, and logarithms of deviations")
    if len(config.observation) == 3:
        return _on_frames(config, real)
    require(not config.trunk, "CleanRL's PPO on features shares no layers")
    require(not real or config.deviation == "vector", "CleanRL's PPO has one deviation for all states")
    actor = "actor_mean" if real else "actor"
    names = _row(config, config.policy_trunk, "policy", _PPO, "CleanRL's PPO", actor)
    names |= _row(config, config.value_trunk, "value", _PPO, "CleanRL's PPO", "critic")
    names |= {"mean": f"{actor}.4", "logits": f"{actor}.4", "state_value": "critic.4", "deviation": "actor_logstd"}
    return Script("ppo_continuous_action.py" if real else "ppo.py", "Agent", (names,))


def _on_frames(config: ActorCriticConfig, real: bool) -> Script:
    require(not real, "CleanRL's PPO on frames has discrete actions only")
    require(config.observation == _FRAMES, "CleanRL's network takes 4×84×84 frames")
    own = config.policy_trunk or config.value_trunk
    require(not own, "CleanRL's PPO on frames has no layers between its trunk and its heads")
    first, *rest = config.trunk or (None,)
    nature = isinstance(first, Convs) and first.convs == NATURE.convs and first.norm == "none"
    nature = nature and _layers(tuple(rest), config.activation) == [(_HIDDEN, "relu")]
    nature = nature and isinstance(first, Convs) and (first.activation or config.activation) == "relu"
    require(nature, f"CleanRL's PPO has the convolutions of the Nature paper, {_HIDDEN} hidden units and ReLU")
    ours = (*(f"trunk.0.conv.{i}" for i in range(3)), "trunk.1.linear.0")
    names = dict(zip(ours, _TRUNK, strict=True)) | {"logits": "actor", "state_value": "critic"}
    return Script("ppo_atari.py", "Agent", (names,), 255.0)


def _off_policy(config: ActorQConfig) -> Script:
    called = "DDPG" if config.n_critics == 1 else "TD3"
    if config.policy != "deterministic":
        raise unfit("CleanRL's scripts for SAC save no networks")
    require(config.n_critics <= 2, f"CleanRL's TD3 has two critics, and here are {config.n_critics}")
    own = not config.trunk and config.value_trunk is None and not config.n_quantiles
    require(own, f"CleanRL's {called} has an actor and critics that share nothing")
    require(config.squash == "tanh", f"CleanRL's {called} squashes actions, and this one does not")
    require(config.saved_scale, f"CleanRL's {called} keeps scale and offset of actions among the weights")
    where = f"CleanRL's {called}"
    actor = _row(config, config.policy_trunk, "policy", _REAL, where, "fc")
    actor |= {"action": "fc_mu", "action_scale": "action_scale", "action_offset": "action_bias"}
    critics = []
    for i in range(config.n_critics):
        critic = _row(config, config.critic_trunk, f"critics.{i}.body", _REAL, where, "fc")
        critics.append(critic | {f"critics.{i}.head": "fc3"})
    return Script(f"{called.lower()}_continuous_action.py", "Actor and QNetwork", (actor, *critics))


def _row(
    config: NetworkConfig, body: Body, prefix: str, want: tuple[tuple[int, ...], str], whose: str, theirs: str
) -> dict[str, str]:
    """Return {our name: their name} of the linear layers of a body, which must be those that are wanted."""
    sizes, activation = want
    require(len(config.observation) == 1, f"{whose} sees a row of numbers")
    found = _layers(body, config.activation)
    require(
        found == [(size, activation) for size in sizes],
        f"{whose} has layers of {' and '.join(map(str, sizes))} units with {activation} behind each",
    )
    ours = (f"{prefix}.{i}.linear.{k}" for i, block in enumerate(body) if isinstance(block, Mlp)
            for k in range(len(block.sizes)))  # fmt: skip
    # Its classes count layers from 1 by their names, its `nn.Sequential` counts activations too.
    return {name: f"fc{i + 1}" if theirs == "fc" else f"{theirs}.{2 * i}" for i, name in enumerate(ours)}


def _layers(body: Body, usual: str) -> list[tuple[int, str]]:
    """Return outputs and activation of each linear layer, [] where other blocks are among them."""
    return [] if any(not _is_plain(block) for block in body) else list(chain.from_iterable(_each(body, usual)))


def _is_plain(block: object) -> bool:
    return isinstance(block, Mlp) and block.norm == "none" and not block.noisy


def _each(body: Body, usual: str) -> Iterator[list[tuple[int, str]]]:
    for block in body:
        if isinstance(block, Mlp):
            yield [(size, block.activation or usual) for size in block.sizes]
