"""The settings of a training, checked all at once before its first step."""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Self

import yaml

from ckptfmt.errors import CkptError, printable
from ckptfmt.families.encoder import ENCODERS
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.envs.make import resolve
from ckptfmt.rl.protocol import Protocol

__all__ = ["RAINBOW", "TrainConfig"]

RAINBOW: Mapping[str, bool] = {
    "double_dqn": True,
    "dueling_dqn": True,
    "distributional_dqn": True,
    "noisy_networks": True,
    "prioritized_replay": True,
    "n_step_learning": True,
}
# Every setting on a line of its own takes a fiftieth of this.
_MAX_FILE = 128 << 10


def _setting(default: Any, doc: str, least: float = -math.inf, most: float = math.inf) -> Any:
    """Return a field with its line of help and the range of its numbers."""
    return dataclasses.field(default=default, metadata={"doc": doc, "least": least, "most": most})


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """Everything that decides how a training goes; the same settings and seed give the same weights on a CPU."""

    env: str = _setting("ALE/Pong-v5", "gymnasium id of the environment")
    frame_skip: int | None = _setting(None, "frames an action lasts (4 for Atari games, else 1)", 1)
    frame_stack: int = _setting(4, "frames the network sees at once", 1)
    screen_size: int | None = _setting(None, "width and height of a frame in pixels (84 for Atari games)", 1)
    grayscale: bool = _setting(True, "turn colours into grey")
    noop_max: int | None = _setting(None, "random idle actions at the start (30 for Atari games, else 0)", 0)
    sticky_actions: float | None = _setting(
        None, "chance that an action sticks (0.25 for Atari games, else 0)", 0, 0.99
    )
    terminal_on_life_loss: bool = _setting(False, "end the episode where a life is lost; the game goes on in the next")
    fire_reset: bool = _setting(False, "press fire where an episode begins, in games that have the button")
    max_episode_steps: int | None = _setting(None, "cut episodes after so many actions", 1)
    clip_rewards: bool = _setting(True, "train on rewards cut to -1 to 1")
    num_envs: int = _setting(1, "environments played at once", 1)

    double_dqn: bool = _setting(False, "choose and value actions with different networks (van Hasselt 2016)")
    dueling_dqn: bool = _setting(False, "value and advantage streams (Wang 2016)")
    distributional_dqn: bool = _setting(False, "learn the distribution of returns, C51 (Bellemare 2017)")
    noisy_networks: bool = _setting(False, "explore by noise in the weights (Fortunato 2018)")
    prioritized_replay: bool = _setting(False, "draw transitions by their error (Schaul 2016)")
    n_step_learning: bool = _setting(False, "learn from n steps at once")

    encoder: str = _setting("nature", "convolutional trunk: nature, nips or data-efficient")
    hidden_size: int = _setting(512, "width of the hidden linear layers", 1)
    n_atoms: int = _setting(51, "atoms of a distribution of returns", 2)
    v_min: float = _setting(-10.0, "least return of the distribution")
    v_max: float = _setting(10.0, "greatest return of the distribution")
    noisy_std_init: float = _setting(0.5, "initial noise of noisy layers", 0)
    n_steps: int = _setting(3, "steps of n-step learning", 1)

    total_steps: int = _setting(1_000_000, "actions to take in all", 1)
    learning_starts: int = _setting(20_000, "actions before the first update", 1)
    train_every: int = _setting(4, "actions between updates", 1)
    target_every: int = _setting(8_000, "actions between copies into the target network", 1)
    batch_size: int = _setting(32, "transitions in an update", 1)
    replay_size: int = _setting(100_000, "frames the replay buffer holds", 16)
    replay_alpha: float = _setting(0.5, "how much errors decide what is drawn", 0, 1)
    replay_beta: float = _setting(0.4, "first exponent of the correcting weights, which goes to 1", 0, 1)
    replay_beta_steps: int | None = _setting(None, "actions until it is 1 (total_steps where not given)", 1)
    learning_rate: float = _setting(1e-4, "step size of Adam", 1e-12, 1)
    adam_eps: float = _setting(1.5e-4, "epsilon of Adam", 0, 1)
    max_grad_norm: float = _setting(10.0, "gradients are scaled down to this norm", 1e-12)
    gamma: float = _setting(0.99, "discount of a reward one step later", 0, 1)
    epsilon_start: float = _setting(1.0, "share of random actions at the start", 0, 1)
    epsilon_end: float = _setting(0.01, "share of random actions in the end", 0, 1)
    epsilon_steps: int = _setting(100_000, "actions until then", 1)
    seed: int = _setting(1, "seed of everything random", 0, 2**31 - 1)
    device: str = _setting("auto", "cpu, cuda, cuda:1, or auto")

    eval_every: int = _setting(50_000, "actions between evaluations", 1)
    eval_episodes: int = _setting(5, "episodes of an evaluation", 1)
    eval_epsilon: float = _setting(0.001, "share of random actions in an evaluation", 0, 1)
    eval_max_frames: int = _setting(108_000, "frames after which an episode of an evaluation is cut", 1)
    log_every: int = _setting(1_000, "actions between reports of progress", 1)
    save_every: int = _setting(50_000, "actions between checkpoints", 1)
    keep: int = _setting(3, "newest checkpoints that are kept, beside the best", 1)
    save_replay: str = _setting("last", "checkpoints with the replay buffer, for an exact resume: never, last, always")
    tensorboard: bool = _setting(True, "write scalars for TensorBoard into OUT/tensorboard")

    def __post_init__(self) -> None:
        if problems := [*self._check_fields(), *self._check_together()]:
            count = f"{len(problems)} settings are wrong: " if len(problems) > 1 else ""
            raise CkptError(count + "; ".join(problems), where="training config", code="train.config")
        if self.replay_beta_steps is None:
            # Written down as a number of its own: a resume with more total_steps must not bend the schedule.
            object.__setattr__(self, "replay_beta_steps", self.total_steps)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build the settings from a mapping; unknown names are refused, all of them at once."""
        known = {f.name for f in fields(cls)}
        if unknown := [printable(name, 40) for name in data if name not in known]:
            near = [close for name in unknown for close in get_close_matches(name, known, n=1)]
            raise CkptError(
                f"no such setting: {', '.join(unknown)}",
                where="training config",
                fix=f"did you mean {' or '.join(near)}?" if near else "",
                code="train.config",
            )
        return cls(**data)

    def replace(self, **changes: Any) -> Self:
        """Return the settings with some of them changed; unknown names are refused."""
        return type(self).from_dict({**self.to_dict(), **changes})

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **changes: Any) -> Self:
        """Build the settings from a YAML file; `changes` win over what it says."""
        data = _read_yaml(os.fspath(path))
        if not isinstance(data, dict | None):
            raise CkptError("must map settings to values", where=os.fspath(path), code="train.config")
        return cls.from_dict({**{str(name): value for name, value in (data or {}).items()}, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return every setting by name."""
        return dataclasses.asdict(self)

    @property
    def environment(self) -> Environment:
        """Return the description of the environment, the usual values of its kind filled in."""
        names = {f.name for f in fields(Environment)} & {f.name for f in fields(self)}
        return resolve(Environment(id=self.env, **{name: getattr(self, name) for name in names}))

    @property
    def protocol(self) -> Protocol:
        """Return how this training is evaluated: whole games, in the environment that it learns in."""
        own = Protocol(epsilon=self.eval_epsilon, max_frames=self.eval_max_frames)
        return own.played(self.environment)

    def epsilon(self, step: int) -> float:
        """Return the share of random actions at a step; noisy networks need none."""
        if self.noisy_networks:
            return 0.0
        part = min(step / self.epsilon_steps, 1.0)
        return self.epsilon_start + part * (self.epsilon_end - self.epsilon_start)

    def beta(self, step: int) -> float:
        """Return the exponent of the correcting weights at a step."""
        assert self.replay_beta_steps is not None
        return self.replay_beta + min(step / self.replay_beta_steps, 1.0) * (1 - self.replay_beta)

    def _check_fields(self) -> Iterator[str]:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type is float and type(value) is int:
                object.__setattr__(self, f.name, value := float(value))
            if not isinstance(value, f.type) or (isinstance(value, bool) and f.type is not bool):  # type: ignore[arg-type]
                yield f"{f.name} must be {_kind(f.type)}, not {value!r}"
            elif isinstance(value, int | float) and not f.metadata["least"] <= value <= f.metadata["most"]:
                yield f"{f.name} must be {_range(f.metadata)}, not {value!r}"

    def _check_together(self) -> Iterator[str]:
        if self.encoder not in ENCODERS:
            yield f"encoder must be one of {', '.join(ENCODERS)}, not {self.encoder!r}"
        if self.save_replay not in ("never", "last", "always"):
            yield f"save_replay must be never, last or always, not {self.save_replay!r}"
        sizes = (self.learning_starts, self.replay_size)
        if all(type(size) is int for size in sizes) and 2 * self.learning_starts > self.replay_size:
            half = self.replay_size // 2
            yield f"learning_starts must be at most half of replay_size ({half}), not {self.learning_starts}"
        numbers = all(isinstance(value, int | float) for value in (self.v_min, self.v_max))
        if numbers and self.v_min >= self.v_max:
            yield f"v_min must be less than v_max ({self.v_max:g}), not {self.v_min:g}"


class _PlainLoader(yaml.SafeLoader):
    """Reads YAML without aliases: with them a few lines are as many words as somebody wants."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read here, write the value out")
        return super().compose_node(parent, index)


def _read_yaml(path: str) -> Any:
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_FILE + 1)
        if len(text) > _MAX_FILE:
            raise CkptError(f"is more than {_MAX_FILE:,} bytes of settings", where=path, code="train.config")
        return yaml.load(text, Loader=_PlainLoader)
    except OSError as e:
        raise CkptError(f"cannot be read: {e.strerror}", where=path, code="train.config") from None
    # A date that there is not and an integer of thousands of digits are ValueErrors to the parser.
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise CkptError(f"is not YAML: {e}", where=path, code="train.config") from None


def _kind(annotation: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    for kind, name in names.items():
        if annotation in (kind, kind | None):
            return name
    return str(annotation)


def _range(limits: Mapping[str, float]) -> str:
    least, most = limits["least"], limits["most"]
    return f"between {least:g} and {most:g}" if most < math.inf else f"{least:g} or more"
