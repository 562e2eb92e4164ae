"""Record what an agent sees, does and earns, and what its network says of it, for the pages to show."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray
from torch import Tensor, nn

from ckptfmt.errors import CkptError
from ckptfmt.look.trace import OUTPUT, Saliency, Told, trace_bytes
from ckptfmt.rl.acting import Action
from ckptfmt.rl.envs.make import Env
from ckptfmt.rl.player import Player
from ckptfmt.store.write.newfile import write_new

__all__ = ["TraceRecorder"]

# A map is at most this many cells wide and high: finer ones show noise, and make a trace ten times as large.
_CELLS = 21
# About a minute of an Atari game at four frames a step: what somebody watches.
_STEPS = 1000
_PIXELS = 255
# The console's, whatever its emulator says.
_FRAMES_PER_SECOND = 60
_OF_CRITICS = ("critics", "critic_quantiles")


class TraceRecorder:
    """Watches a game; `save` writes what it saw.

    At most `steps` steps are kept. Every `saliency_every` steps a map says where in the observation the choice
    hangs: by the gradient of the value of the action chosen (Simonyan et al., 2014), or by covering each part with
    the observation's mean and looking how far that value moves (Zeiler and Fergus, 2014).
    """

    def __init__(
        self, player: Player, *, steps: int = _STEPS, saliency: Saliency = "gradient", saliency_every: int = 4
    ) -> None:
        self._player, self._most, self._every = player, steps, saliency_every
        # What a recurrent network chooses hangs on more than what it sees now.
        mapped = len(player.env.observation_space.shape or ()) == 3 and not getattr(player.model, "is_recurrent", False)
        self._saliency = saliency if mapped else "none"
        self._rows: dict[str, list[NDArray[Any]]] = {}
        self._seeds: list[int] = []

    @property
    def steps(self) -> int:
        """Return how many steps were recorded."""
        return len(self._seeds)

    def chose(self, observation: Any, action: Action, outputs: Mapping[str, Tensor], seed: int) -> None:
        """Record a step before it is taken."""
        if self.steps == self._most:
            return
        shown = np.asarray(observation)
        # The network's own number of it: names, and what it gives for each action, begin with 0.
        space = self._player.env.action_space
        action = action - int(space.start) if isinstance(space, spaces.Discrete) else action
        frame = _picture(self._player.env)
        if isinstance(frame, np.ndarray) and frame.ndim == 3:
            self._add("frames", frame.astype(np.uint8))
        self._add("observations", _unscaled(shown, self._player.environment.observation_scale))
        self._add("actions", np.int64(action) if isinstance(action, int) else np.float32(action).reshape(-1))
        for name, value in outputs.items():
            # Critics come before the batch.
            self._add(OUTPUT + name, (value[:, 0] if name in _OF_CRITICS else value[0]).float().cpu().numpy())
        if self._saliency != "none" and self.steps % self._every == 0:
            batch = torch.from_numpy(shown).unsqueeze(0).to(next(self._player.model.parameters()).device)
            made = _MAPS[self._saliency](self._player.model, batch.float(), action)
            self._add("saliency", _as_bytes(made))
        self._seeds.append(seed)

    def got(self, reward: float) -> None:
        """Record what came of the step."""
        if len(self._rows.get("rewards", ())) < self.steps:
            self._add("rewards", np.float32(reward))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> int:
        """Write the trace and return its size in bytes; raise `CkptError` where nothing was recorded."""
        if not self._rows.get("rewards"):
            raise CkptError(
                "no step was played, so there is nothing to record", where=os.fspath(path), code="trace.empty"
            )
        with write_new(os.fspath(path), overwrite=overwrite) as staged, open(staged, "wb") as file:
            for part in trace_bytes(self._told(), self._arrays()):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def _add(self, name: str, value: Any) -> None:
        self._rows.setdefault(name, []).append(value)

    def _arrays(self) -> Mapping[str, NDArray[Any]]:
        steps = len(self._rows["rewards"])
        maps = -(-steps // self._every)
        arrays = {name: np.stack(rows[: maps if name == "saliency" else steps]) for name, rows in self._rows.items()}
        seeds = np.array(self._seeds[:steps], np.int64)
        arrays["episodes"] = seeds - seeds[0]
        return arrays

    def _told(self) -> Told:
        player, env = self._player, self._player.env
        meanings: Callable[[], list[str]] | None = getattr(env.unwrapped, "get_action_meanings", None)
        count = int(getattr(env.action_space, "n", 0))
        architecture = player.manifest.architecture
        shown = (
            _FRAMES_PER_SECOND if hasattr(env.unwrapped, "ale") else env.metadata.get("render_fps", _FRAMES_PER_SECOND)
        )
        return Told(
            name=os.path.basename(os.path.realpath(player.path)),
            content_digest=player.manifest.content_digest,
            network=architecture.title if architecture else "",
            environment=player.environment.to_dict(),
            protocol=player.protocol.to_dict(),
            actions=tuple(meanings() if meanings else map(str, range(count))),
            saliency="" if self._saliency == "none" else self._saliency,
            saliency_every=self._every,
            frames_per_second=shown / player.frame_skip,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def _picture(env: Env) -> Any:
    """Return the picture of now, None where the environment makes none or what draws it is not installed."""
    try:
        return env.render() if env.render_mode else None
    except DependencyNotInstalled:
        return None


def _score(model: nn.Module, batch: Tensor, action: Action) -> Tensor:
    """Return (batch,): how much the network is for an action, by whatever it says of actions."""
    outputs: Mapping[str, Tensor] = model.outputs(batch)  # type: ignore[operator]
    for name in ("q_values", "logits") if isinstance(action, int) else ():
        if name in outputs:
            return outputs[name][:, action]
    return next(iter(outputs.values())).flatten(1).sum(dim=1)


def _gradient(model: nn.Module, batch: Tensor, action: Action) -> NDArray[Any]:
    with torch.enable_grad():
        seen = batch.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(_score(model, seen, action).sum(), seen)
    strength = slope[0].abs().sum(dim=0, keepdim=True)
    size = (min(_CELLS, strength.shape[1]), min(_CELLS, strength.shape[2]))
    pooled: NDArray[Any] = nn.functional.adaptive_avg_pool2d(strength, size)[0].cpu().numpy()
    return pooled


@torch.no_grad()
def _occlusion(model: nn.Module, batch: Tensor, action: Action) -> NDArray[Any]:
    _, _, height, width = batch.shape
    rows, columns = min(_CELLS, height), min(_CELLS, width)
    before = _score(model, batch, action)
    moved = np.zeros((rows, columns), np.float32)
    for row in range(rows):
        top, bottom = row * height // rows, (row + 1) * height // rows
        covered = batch.repeat(columns, 1, 1, 1)
        for column in range(columns):
            left, right = column * width // columns, (column + 1) * width // columns
            covered[column, :, top:bottom, left:right] = batch.mean()
        moved[row] = (_score(model, covered, action) - before).abs().cpu().numpy()
    return moved


_MAPS: Mapping[str, Callable[[nn.Module, Tensor, Action], NDArray[Any]]] = {
    "gradient": _gradient,
    "occlusion": _occlusion,
}


def _as_bytes(strength: NDArray[Any]) -> NDArray[np.uint8]:
    most = float(strength.max())
    scaled: NDArray[np.uint8] = (
        np.round(strength / most * _PIXELS).astype(np.uint8) if most > 0 else np.zeros(strength.shape, np.uint8)
    )
    return scaled


def _unscaled(observation: NDArray[Any], scale: float) -> NDArray[Any]:
    """Return an observation as the game gives it: pixels as bytes where they are some."""
    if observation.dtype == np.uint8 and scale == 1:
        return observation
    plain = observation.astype(np.float32) * np.float32(scale)
    rounded = np.round(plain)
    pixels = observation.ndim == 3 and bool(((rounded >= 0) & (rounded <= _PIXELS)).all())
    # float32 divided and multiplied again is off by less; real numbers are hardly ever so close to whole ones all
    # over.
    return rounded.astype(np.uint8) if pixels and np.abs(plain - rounded).max() < 1e-3 else plain
