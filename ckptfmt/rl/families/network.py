"""What the networks made of blocks have in common: the trunk, the memory of cells, and the policy with its heads."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ckptfmt.families.blocks import cells
from ckptfmt.families.network import DISTRIBUTIONS, NetworkConfig, PolicyConfig
from ckptfmt.rl.families.blocks import BodyModule, Normalizer, State, linear, part, scaled

__all__ = ["BlockNetwork", "PolicyNetwork"]

# As Stable-Baselines3 does, so that the logarithm of a variance of nothing is finite.
_LEAST_VARIANCE = 1e-6


class BlockNetwork(nn.Module, ABC):
    """A network with a trunk of blocks. Recurrent ones take (time, batch, …) and give (time, batch, …).

    `outputs` returns all that a network gives by name; `act` what it would do, without chance; `is_recurrent` says
    whether it remembers what it saw.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.is_recurrent = any(cells(*(body for _, body in config.bodies())))
        if config.normalizer != "none":
            self.normalizer = Normalizer(config, config.normalizer, config.observation)
        self.trunk = self._body(config.trunk, config.observation)
        self.seen: tuple[int, ...] = (self.trunk.features,) if config.trunk else config.observation

    @property
    def normalizes(self) -> bool:
        """Whether the network itself normalises what it sees."""
        return self.config.normalizer != "none" and self.config.normalizer_place == "inside"

    def outputs(self, x: Tensor, **given: Tensor) -> dict[str, Tensor]:
        """Return what the network gives for what it sees, by name; cells begin with zeros."""
        return self.run(x, {} if self.is_recurrent else None, **given)

    def act(self, x: Tensor, state: State | None = None) -> Tensor:
        """Return the action for each observation of a batch, an index or a vector, taken without chance.

        `state` is what a recurrent network remembers; it is brought up to date, {} begins an episode.
        """
        with torch.no_grad():
            x = self.prepared(x)
            if not self.is_recurrent:
                return self.choose(self.run(x))
            return self.choose(self.run(x.unsqueeze(0), state)).squeeze(0)

    def prepared(self, x: Tensor) -> Tensor:
        """Return what an environment gives as the network takes it: normalised, where its agent does that before it."""
        if self.config.normalizer == "none" or self.config.normalizer_place == "inside":
            return x
        found: Tensor = self.normalizer(x.float() if not x.is_floating_point() else x)
        return found

    @abstractmethod
    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return what `outputs` returns, going on from what cells remember."""

    def choose(self, found: dict[str, Tensor]) -> Tensor:
        """Return the action that outputs of this network lead to."""
        return found["q_values"].argmax(dim=-1)

    def _body(self, body: object, seen: tuple[int, ...]) -> BodyModule:
        return BodyModule(body, seen, self.config.activation)  # type: ignore[arg-type]

    @property
    def lead(self) -> int:
        """How many dimensions of what it sees come before those of one observation."""
        return 2 if self.is_recurrent else 1

    def features(self, x: Tensor, state: State | None = None) -> Tensor:
        """Return what the trunk gives."""
        x = scaled(self.config, x, self)
        x = self.normalizer(x) if self.normalizes else x
        found: Tensor = self.trunk(x, part(state, "trunk"), lead=self.lead)
        return found


class PolicyNetwork(BlockNetwork):
    """A network with a policy behind its trunk."""

    config: PolicyConfig

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__(config)
        self.policy = self._body(config.policy_trunk, self.seen)
        size = self.policy.features
        for head in DISTRIBUTIONS[config.policy]:
            self.add_module(head, linear(size, config.rows))
        if config.deviation == "head":
            self.deviation: nn.Module | nn.Parameter = linear(size, config.rows)
        elif config.deviation != "none":
            shape = (config.rows,) if config.deviation == "vector" else (size, config.rows)
            self.deviation = nn.Parameter(torch.zeros(shape))
        if config.saved_scale:
            self.register_buffer("action_scale", torch.ones(config.rows))
            self.register_buffer("action_offset", torch.zeros(config.rows))

    def forward(self, x: Tensor) -> Any:
        """Map what is seen to logits, to the mean of a Gaussian, or to an action."""
        return self.decision(self.outputs(x))

    def decision(self, found: dict[str, Tensor]) -> Tensor:
        """Return what actions are drawn from or are, of outputs of this network."""
        return next(found[name] for name in ("logits", "mean", "action") if name in found)

    def choose(self, found: dict[str, Tensor]) -> Tensor:
        """Return the likeliest action of discrete ones, the mean of a distribution over real ones."""
        if "action" in found:
            return found["action"]
        if self.config.choices is None:
            return found["logits"].argmax(dim=-1)
        parts = torch.split(found["logits"], list(self.config.choices), dim=-1)
        return torch.stack([part.argmax(dim=-1) for part in parts], dim=-1)

    def policy_outputs(self, features: Tensor, state: State | None = None) -> dict[str, Tensor]:
        """Return what the policy gives for what its trunk gave."""
        features = self.policy(features, part(state, "policy"), lead=self.lead)
        match self.config.policy:
            case "categorical" | "multi-categorical":
                return {"logits": self.get_submodule("logits")(features)}
            case "deterministic":
                return {"action": self.squashed(self.get_submodule("action")(features))}
            case "beta":
                # Chou et al. 2017: softplus and 1 keep both above 1, so that the density has one peak.
                alpha, beta = (functional.softplus(self.get_submodule(n)(features)) + 1 for n in ("alpha", "beta"))
                return {"alpha": alpha, "beta": beta, "action": alpha / (alpha + beta)}
        mean = self.get_submodule("mean")(features)
        mean = mean if self.config.mean_range is None else mean.clamp(*self.config.mean_range)
        action = self.squashed(mean)
        if self.config.deviation == "none":
            # Who sets the deviation in a script draws around a mean that is squashed already (PPO-PyTorch).
            return {"mean": action, "action": action}
        return {"mean": mean, "action": action, "log_std": self._log_std(features, mean)}

    def _log_std(self, features: Tensor, mean: Tensor) -> Tensor:
        config, held = self.config, self.deviation
        if isinstance(held, nn.Module):
            logs: Tensor = held(features)
            logs = logs if config.deviation_is == "log" else logs.log()
        else:
            logs = held if config.deviation_is == "log" else held.log()
            if config.deviation == "matrix":
                variance = features.square() @ logs.exp().square()
                logs = (variance + _LEAST_VARIANCE).log() / 2
        return self._bounded(logs).expand_as(mean)

    def _bounded(self, logs: Tensor) -> Tensor:
        if self.config.deviation_range is None:
            return logs
        low, high = self.config.deviation_range
        if self.config.deviation_bound == "clamp":
            return logs.clamp(low, high)
        return low + (high - low) / 2 * (logs.tanh() + 1)

    def squashed(self, action: Tensor) -> Tensor:
        """Return real actions squashed and scaled, as the environment takes them."""
        action = action.tanh() if self.config.squash == "tanh" else action
        if self.config.saved_scale:
            return action * self.get_buffer("action_scale") + self.get_buffer("action_offset")
        return action * self.config.action_scale
