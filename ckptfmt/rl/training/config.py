"""The settings of a training, checked all at once before its first step."""

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Self

from ckptfmt.errors import CkptError, printable
from ckptfmt.families.encoder import ENCODERS as KNOWN_ENCODERS
from ckptfmt.format.record import record
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.protocol import Protocol

__all__ = ["ENCODERS", "TrainConfig"]

ENCODERS = (*KNOWN_ENCODERS, "minatar", "impala")


def _setting(default: Any, doc: str, least: float = -math.inf, most: float = math.inf) -> Any:
    """Return a field with its line of help and the range of its numbers."""
    return dataclasses.field(default=default, metadata={"doc": doc, "least": least, "most": most})


@record(kw_only=True)
class TrainConfig:
    """Everything that decides how a training goes; the same settings and seed give the same weights on a CPU."""

    env: str = _setting("ALE/Pong-v5", "gymnasium id of the environment")
    frame_skip: int | None = _setting(None, "frames for which an action is repeated (4 for Atari games, else 1)", 1)
    frame_stack: int | None = _setting(None, "frames stacked into one observation (4 of images, 1 of vectors)", 1)
    screen_size: int | None = _setting(None, "width and height of a frame in pixels (84 for Atari games)", 1)
    grayscale: bool = _setting(True, "convert frames to grey")
    noop_max: int | None = _setting(
        None, "most no-op actions at the start of an episode (30 for Atari games, else 0)", 0
    )
    sticky_actions: float | None = _setting(
        None, "probability that the last action is repeated (0.25 for Atari games, else 0)", 0, 0.99
    )
    terminal_on_life_loss: bool = _setting(False, "end an episode when a life is lost; the next one continues the game")
    fire_reset: bool = _setting(False, "press fire when an episode begins, in games that have the button")
    max_episode_steps: int | None = _setting(None, "end an episode after this many actions", 1)
    clip_rewards: bool = _setting(True, "clip rewards to -1 … 1 for training")
    num_envs: int = _setting(1, "environments played in parallel", 1)
    env_processes: int = _setting(0, "processes that the environments are played in (0: in this one)", 0, 256)
    overlap: bool = _setting(False, "learn while the environments play, from all but what they are playing")

    double_dqn: bool = _setting(False, "double Q-learning (van Hasselt 2016)")
    dueling_dqn: bool = _setting(False, "dueling network: value and advantage streams (Wang 2016)")
    distributional_dqn: bool = _setting(False, "predict a distribution of returns, C51 (Bellemare 2017)")
    quantile_dqn: bool = _setting(False, "learn n_quantiles fixed quantiles of returns, QR-DQN (Dabney 2018)")
    implicit_quantile_dqn: bool = _setting(False, "learn quantiles of returns at drawn fractions, IQN (Dabney 2018)")
    noisy_networks: bool = _setting(False, "explore with noisy linear layers (Fortunato 2018)")
    prioritized_replay: bool = _setting(False, "prioritized replay: sample transitions by TD error (Schaul 2016)")
    n_step_learning: bool = _setting(False, "n-step returns (n_steps)")

    # Mnih et al. 2015: 512 units. Bellemare et al. 2017: 51 atoms from -10 to 10, for rewards clipped to 1. Fortunato
    # et al. 2018: sigma 0.5. Hessel et al. 2018: three steps.
    encoder: str = _setting(
        "nature", "convolutions: nature, nips, data-efficient, minatar, or the residual ones of impala"
    )
    hidden_size: int = _setting(512, "width of the hidden linear layers", 1)
    hidden_layers: int = _setting(2, "hidden linear layers of a network that sees vectors", 1)
    n_quantiles: int | None = _setting(None, "quantiles of the return (200 for QR-DQN, 64 for IQN)", 2)
    n_atoms: int = _setting(51, "atoms of the distribution of returns", 2)
    v_min: float = _setting(-10.0, "lowest return of the distribution")
    v_max: float = _setting(10.0, "highest return of the distribution")
    noisy_std_init: float = _setting(0.5, "initial sigma of noisy layers", 0)
    n_steps: int = _setting(3, "n of the n-step returns", 1)

    # As in Hessel et al. 2018, table 1, but for what suits a machine without a GPU: a million actions, 100,000 frames
    # to learn from, and the learning rate of van Hasselt et al. 2019 for short trainings.
    total_steps: int = _setting(1_000_000, "actions to take in total", 1)
    learning_starts: int = _setting(20_000, "actions before the first update", 1)
    train_every: int = _setting(4, "actions between updates", 1)
    target_every: int = _setting(8_000, "actions between updates of the target network", 1)
    batch_size: int = _setting(32, "transitions in a batch", 1)
    replay_size: int = _setting(100_000, "frames the replay buffer holds", 16)
    replay_alpha: float = _setting(0.5, "exponent alpha of prioritized replay", 0, 1)
    replay_beta: float = _setting(0.4, "exponent beta of prioritized replay at the start; it rises to 1", 0, 1)
    replay_beta_steps: int | None = _setting(None, "actions until beta is 1 [total_steps]", 1)
    learning_rate: float = _setting(1e-4, "learning rate of Adam", 1e-12, 1)
    adam_eps: float = _setting(1.5e-4, "epsilon of Adam", 0, 1)
    # Wang et al. 2016, section 4.2.
    max_grad_norm: float = _setting(10.0, "gradients are clipped to this norm", 1e-12)
    gamma: float = _setting(0.99, "discount factor", 0, 1)
    epsilon_start: float = _setting(1.0, "epsilon at the start: probability of a random action", 0, 1)
    epsilon_end: float = _setting(0.01, "epsilon at the end", 0, 1)
    epsilon_steps: int = _setting(100_000, "actions until epsilon_end is reached", 1)
    precision: str = _setting("float32", "what updates and actions compute in: float32 or bfloat16")
    channels_last: bool | None = _setting(None, "keep channels last in memory (on a CPU for images of 64×64 and more)")
    compile: bool = _setting(False, "compile the losses with torch.compile, on a GPU into CUDA graphs")
    threads: int | None = _setting(None, "threads that torch computes with (as many as torch chooses)", 1, 1024)
    seed: int = _setting(1, "seed of all random generators", 0, 2**31 - 1)
    device: str = _setting("auto", "cpu, cuda, cuda:1, or auto")

    # Hessel et al. 2018: an episode of an evaluation ends after half an hour, 108,000 frames. Castro et al. 2018:
    # 0.001. Twenty evaluations and checkpoints in a training of a million actions.
    eval_every: int = _setting(50_000, "actions between evaluations", 1)
    eval_episodes: int = _setting(5, "episodes per evaluation", 1)
    eval_epsilon: float = _setting(0.001, "probability of a random action in evaluations", 0, 1)
    eval_max_frames: int = _setting(108_000, "most frames of an episode in evaluations", 1)
    log_every: int = _setting(1_000, "actions between reports of progress", 1)
    save_every: int = _setting(50_000, "actions between checkpoints", 1)
    keep: int = _setting(3, "how many of the newest checkpoints to keep, besides the best", 1)
    save_replay: str = _setting(
        "last", "which checkpoints hold the replay buffer, for an exact resume: never, last, always"
    )
    compress: bool = _setting(False, "store files of checkpoints that get a tenth smaller as zstd")
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
    def from_file(cls, path: str | os.PathLike[str], begin: Mapping[str, Any] | None = None, /, **changes: Any) -> Self:
        """Build the settings from a YAML file, which wins over those in `begin`; `changes` win over what it says."""
        # This import waits, and that below: the help of ckpt train needs neither PyYAML nor environments.
        from ckptfmt.rl.training.settingsfile import read_settings

        data = read_settings(os.fspath(path))
        if not isinstance(data, dict | None):
            raise CkptError("must map settings to values", where=os.fspath(path), code="train.config")
        read = {str(name): value for name, value in (data or {}).items()}
        return cls.from_dict({**(begin or {}), **read, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return every setting by name."""
        return dataclasses.asdict(self)

    @property
    def environment(self) -> Environment:
        """Return the description of the environment, the usual values of its kind filled in."""
        from ckptfmt.rl.envs.make import resolve, usual_stack

        names = {f.name for f in fields(Environment)} & {f.name for f in fields(self)}
        given = {name: getattr(self, name) for name in names}
        given["frame_stack"] = self.frame_stack or usual_stack(self.env)
        return resolve(Environment(id=self.env, **given))

    @property
    def protocol(self) -> Protocol:
        """Return how this training is evaluated: whole games, in the environment that it learns in."""
        own = Protocol(epsilon=self.eval_epsilon, max_frames=self.eval_max_frames)
        return own.played(self.environment)

    @property
    def quantiles(self) -> int:
        """Return how many quantiles are learnt, or drawn at an update."""
        # Dabney et al. 2018 for QR-DQN, Dopamine for IQN.
        return self.n_quantiles or (64 if self.implicit_quantile_dqn else 200)

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
            if not isinstance(value, f.type) or (isinstance(value, bool) and f.type not in (bool, bool | None)):  # type: ignore[arg-type]
                yield f"{f.name} must be {_kind(f.type)}, not {value!r}"
            elif isinstance(value, int | float) and not f.metadata["least"] <= value <= f.metadata["most"]:
                yield f"{f.name} must be {_range(f.metadata)}, not {value!r}"

    def _check_together(self) -> Iterator[str]:
        if self.encoder not in ENCODERS:
            yield f"encoder must be one of {', '.join(ENCODERS)}, not {self.encoder!r}"
        if self.precision not in ("float32", "bfloat16"):
            yield f"precision must be float32 or bfloat16, not {self.precision!r}"
        yield from self._check_distributions()
        if self.save_replay not in ("never", "last", "always"):
            yield f"save_replay must be never, last or always, not {self.save_replay!r}"
        sizes = (self.learning_starts, self.replay_size)
        # The ends of each environment's ring are no transitions: a buffer hardly larger would never hold enough.
        if all(type(size) is int for size in sizes) and 2 * self.learning_starts > self.replay_size:
            half = self.replay_size // 2
            yield f"learning_starts must be at most half of replay_size ({half}), not {self.learning_starts}"
        numbers = all(isinstance(value, int | float) for value in (self.v_min, self.v_max))
        if numbers and self.v_min >= self.v_max:
            yield f"v_min must be less than v_max ({self.v_max:g}), not {self.v_min:g}"

    def _check_distributions(self) -> Iterator[str]:
        kinds = ("distributional_dqn", "quantile_dqn", "implicit_quantile_dqn")
        chosen = [name for name in kinds if getattr(self, name) is True]
        if len(chosen) > 1:
            yield f"{' and '.join(chosen)} exclude each other"
        for name in ("dueling_dqn", "noisy_networks"):
            if self.implicit_quantile_dqn is True and getattr(self, name) is True:
                yield f"implicit_quantile_dqn excludes {name}"


def _kind(annotation: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    for kind, name in names.items():
        if annotation in (kind, kind | None):
            return name
    return str(annotation)


def _range(limits: Mapping[str, float]) -> str:
    least, most = limits["least"], limits["most"]
    return f"between {least:g} and {most:g}" if most < math.inf else f"{least:g} or more"
