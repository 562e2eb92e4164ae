"""What a zip of Stable-Baselines3 will say of a checkpoint's network, decided before a byte is written."""

from collections.abc import Mapping
from math import inf, prod
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.families.activations import ACTIVATIONS
from ckptfmt.format.record import record
from ckptfmt.look.figures import finite
from ckptfmt.share.export.opcodes import Name
from ckptfmt.share.export.sb3 import spaces
from ckptfmt.share.export.sb3.agents import Agent, agent_of
from ckptfmt.share.export.sb3.algorithms import ALGORITHMS, Algorithm, settings, told_algorithm
from ckptfmt.share.export.sb3.layers import LIBRARY
from ckptfmt.share.export.sb3.spaces import Space
from ckptfmt.share.export.target import pixel_scale, require, require_config, require_plain, unfit
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Plan", "plan"]

# What Stable-Baselines3 divides images by, and none of its settings changes.
_PIXELS = 255.0
# Bounds that no action meets, for policies whose actions are clipped to those of the space.
_UNBOUNDED = 3.4028234663852886e38


@record(kw_only=True)
class Plan:
    """An agent and all that its zip says beside the weights.

    `is_told` is whether both spaces are those of the training; else who plays on must give them.
    """

    agent: Agent
    algorithm: Algorithm
    observation: Space
    action: Space
    is_told: bool
    kwargs: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def is_tempered(self) -> bool:
        """Whether it has a coefficient of its entropy that stands among the weights."""
        return self.algorithm.name in ("SAC", "TQC")

    @property
    def coefficient(self) -> float | None:
        """Return the coefficient of the entropy where it is fixed, None where it is learned."""
        return finite(self.settings.get("ent_coef"))

    def anew(self) -> tuple[str, ...]:
        """Return what a training begins anew with, since a network does not hold it."""
        if not self.algorithm.is_off_policy:
            return ("optimizer",)
        learned = ("entropy coefficient",) if self.is_tempered and self.coefficient is None else ()
        target = () if self.agent.has_targets else ("target network",)
        return ("optimizer", *target, "replay buffer", *learned)


def plan(checkpoint: Checkpoint, asked: str) -> Plan:
    """Return the plan for a checkpoint, as an agent of the algorithm that was asked for, "" for what it was trained by.

    Raises `ConversionError` for a network that is none of Stable-Baselines3's.
    """
    config: Any = require_config(checkpoint, LIBRARY)
    require_plain(config, LIBRARY)
    agent = agent_of(config)
    info = checkpoint.training_info
    algorithm = ALGORITHMS[_chosen(agent, info, asked)]
    observation, action = _observation(agent, config, checkpoint), _action(algorithm, config, checkpoint)
    told = dict(settings(algorithm, info))
    if algorithm.name in ("SAC", "TQC"):
        # Haarnoja et al. 2018b, appendix D: minus the number of dimensions.
        told = {"target_entropy": -float(config.action_dim), "ent_coef": "auto", **told}
    return Plan(
        agent=agent,
        algorithm=algorithm,
        observation=observation[0],
        action=action[0],
        is_told=observation[1] and action[1],
        kwargs={
            **agent.kwargs,
            **algorithm.kwargs,
            **_activation(agent, algorithm),
            **_scaled(agent, checkpoint),
            # Who learns from a rollout hands that on to its policy itself.
            **({"use_sde": True} if agent.use_sde and algorithm.is_off_policy else {}),
        },
        settings=told,
    )


def _chosen(agent: Agent, info: Mapping[str, Any], asked: str) -> str:
    if not asked:
        return told_algorithm(info, agent.algorithms) or agent.algorithms[0]
    wanted = asked.lower().replace("-", "")
    name = next((name for name in agent.algorithms if name.lower() == wanted), "")
    if not name:
        have = " or ".join(agent.algorithms)
        raise unfit(f"{LIBRARY} has such a network in {have}, not in {printable(asked, 40)}", f"choose {have}")
    return name


def _activation(agent: Agent, algorithm: Algorithm) -> dict[str, Any]:
    found = agent.activations
    require(len(found) < 2 and "none" not in found, f"{LIBRARY}'s policies have one activation behind every layer")
    own = [name for name in found if name != algorithm.activation]
    return {"activation_fn": Name("torch.nn", ACTIVATIONS[own[0]].layer)} if own else {}


def _scaled(agent: Agent, checkpoint: Checkpoint) -> dict[str, Any]:
    scale = pixel_scale(checkpoint, checkpoint.config)
    if agent.frames:
        require(scale in (1, _PIXELS), f"{LIBRARY} divides pixels by 255 or not at all, and not by {scale:g}")
    else:
        require(scale == 1, f"{LIBRARY} divides features by nothing, and not by {scale:g}")
    return {"normalize_images": False} if agent.frames and scale == 1 else {}


def _observation(agent: Agent, config: Any, checkpoint: Checkpoint) -> tuple[Space, bool]:
    """Return the space of what is seen, and whether it is the one of the training."""
    shape = tuple(config.input_shape)
    if agent.frames:
        # Pixels are bytes, whoever divides them.
        return spaces.box(shape, 0, 255, "uint8"), True
    told = spaces.told(checkpoint.manifest.environment.get("observation_space"), prod(shape))
    return told or spaces.box(shape, -inf, inf), told is not None


def _action(algorithm: Algorithm, config: Any, checkpoint: Checkpoint) -> tuple[Space, bool]:
    """Return the space of actions, and whether it is the one of the training."""
    if choices := getattr(config, "choices", None):
        return spaces.choices(choices), True
    if config.n_action is not None:
        return spaces.discrete(config.n_action), True
    told = spaces.told(checkpoint.manifest.environment.get("action_space"), config.action_dim)
    if told is not None and told.is_bounded:
        return told, True
    end = 1.0 if algorithm.is_off_policy else _UNBOUNDED
    return spaces.box((config.action_dim,), -end, end), False
