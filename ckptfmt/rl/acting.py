"""What an agent does: from what its network gives for an observation to an action that its environment takes."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from ckptfmt.rl.families.blocks import State
from ckptfmt.rl.families.network import BlockNetwork, PolicyNetwork

__all__ = ["Action", "Actor", "explores"]

# An index, or a vector of indices or of real numbers.
Action = int | NDArray[Any]


def explores(model: nn.Module) -> bool:
    """Whether a network gives values of actions, whose agents also try random ones, and no distribution over them."""
    return not isinstance(model, PolicyNetwork)


class Actor:
    """Acts for a network in one episode: remembers what a recurrent one saw, and draws by the generator it is given.

    Without `sampled` it takes the action of the highest value, the likeliest one, or the mean of a distribution over
    real ones. Real actions that end at -1 and 1, or at 0 and 1 of a beta distribution, are spread over the bounds of
    the space; all are clipped to them.
    """

    def __init__(
        self, model: nn.Module, space: gymnasium.Space[Any], rng: np.random.Generator, *, sampled: bool = False
    ) -> None:
        self._model, self._space, self._rng = model, space, rng
        self._sampled = sampled and isinstance(model, PolicyNetwork)
        self._device = next(model.parameters()).device
        self.remembers = isinstance(model, BlockNetwork) and model.is_recurrent
        self._state: State = {}

    @torch.no_grad()
    def act(self, observation: Any) -> Action:
        """Return the action for one observation, and remember that it was seen."""
        if isinstance(self._model, BlockNetwork):
            return self.choose(self.see(observation))
        values: Tensor = self._model.get_q_values(self._batch(observation))  # type: ignore[operator]
        return self._fit(values.argmax(dim=1)[0].cpu().numpy())

    @torch.no_grad()
    def see(self, observation: Any) -> Mapping[str, Tensor]:
        """Return all that the network gives for one observation, by name, as a batch of one; remember it."""
        batch = self._batch(observation)
        if not isinstance(self._model, BlockNetwork):
            return self._model.outputs(batch)  # type: ignore[operator, no-any-return]
        batch = self._model.prepared(batch)
        if not self.remembers:
            return self._model.run(batch)
        # Cells take time first: one step of a batch of one.
        return {name: value[0] for name, value in self._model.run(batch.unsqueeze(0), self._state).items()}

    def choose(self, found: Mapping[str, Tensor]) -> Action:
        """Return the action that outputs lead to."""
        if not isinstance(self._model, BlockNetwork):
            return self._fit(found["q_values"].argmax(dim=1)[0].cpu().numpy())
        if self._sampled:
            return self._fit(_draw(self._model, found, self._rng))
        return self._fit(self._model.choose(dict(found))[0].cpu().numpy())

    def at_random(self) -> Action:
        """Return an action that has nothing to do with what was seen; each is as likely."""
        space, rng = self._space, self._rng
        if isinstance(space, spaces.Discrete):
            return int(space.start) + int(rng.integers(int(space.n)))
        if isinstance(space, spaces.MultiDiscrete):
            return np.asarray(space.start + rng.integers(space.nvec), space.dtype)
        assert isinstance(space, spaces.Box)
        return np.asarray(rng.uniform(space.low, space.high), space.dtype)

    def _batch(self, observation: Any) -> Tensor:
        return torch.from_numpy(np.asarray(observation)).to(self._device).unsqueeze(0)

    def _fit(self, action: NDArray[Any]) -> Action:
        space = self._space
        if isinstance(space, spaces.Discrete):
            return int(space.start) + int(action)
        if isinstance(space, spaces.MultiDiscrete):
            return np.asarray(space.start + action.reshape(space.shape), space.dtype)
        assert isinstance(space, spaces.Box)
        low, high = space.low.reshape(-1), space.high.reshape(-1)
        ends = _ends(self._model)
        if ends is not None and bool(np.isfinite(low).all() and np.isfinite(high).all()):
            action = low + (action - ends[0]) / (ends[1] - ends[0]) * (high - low)
        return np.asarray(np.clip(action, low, high), space.dtype).reshape(space.shape)


def _ends(model: nn.Module) -> tuple[float, float] | None:
    """Return where real actions of a network end by themselves; None where they do not, or are scaled already."""
    config = getattr(model, "config", None)
    if getattr(config, "policy", "") == "beta":
        return 0.0, 1.0
    plain = getattr(config, "action_scale", None) == 1 and not getattr(config, "saved_scale", False)
    return (-1.0, 1.0) if plain and getattr(config, "squash", "") == "tanh" else None


def _draw(model: nn.Module, found: Mapping[str, Tensor], rng: np.random.Generator) -> NDArray[Any]:
    """Return an action drawn from the distribution that a policy gives; the only one, where it gives one alone."""
    assert isinstance(model, PolicyNetwork)
    # In double precision, as NumPy draws: chances in float32 add up to 1 less closely.
    numbers = {name: value[0].double().cpu().numpy() for name, value in found.items()}
    if "logits" in numbers:
        choices = model.config.choices
        parts = np.split(numbers["logits"], np.cumsum(choices)[:-1]) if choices else [numbers["logits"]]
        drawn = np.array([_pick(part, rng) for part in parts])
        return drawn if choices else drawn[0]
    if "alpha" in numbers:
        return rng.beta(numbers["alpha"], numbers["beta"])
    if "log_std" not in numbers:
        return numbers["action"]
    real = numbers["mean"] + np.exp(numbers["log_std"]) * rng.standard_normal(numbers["mean"].shape)
    squashed: NDArray[Any] = model.squashed(torch.from_numpy(real).to(found["mean"])).cpu().numpy()
    return squashed


def _pick(logits: NDArray[np.float64], rng: np.random.Generator) -> int:
    # Without the largest taken off, the exponential of a large logit is infinite.
    chances = np.exp(logits - logits.max())
    return int(rng.choice(len(chances), p=chances / chances.sum()))
