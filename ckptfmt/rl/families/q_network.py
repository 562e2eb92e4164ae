"""Q-networks on any encoder, of plain values or of distributions over atoms."""

import torch
from torch import Tensor

from ckptfmt.families.atari_dqn.support import atoms
from ckptfmt.families.q_network import QConfig
from ckptfmt.rl.families.blocks import State
from ckptfmt.rl.families.critics import make_critics, valued
from ckptfmt.rl.families.streams import StreamsNetwork

__all__ = ["QNetwork", "build"]


class QNetwork(StreamsNetwork):
    """Q-values (batch, n_action); of a distributional network also `atom_logits` (batch, n_action, n_atoms)."""

    support: Tensor

    config: QConfig

    def __init__(self, config: QConfig) -> None:
        super().__init__(config)
        if config.n_critics is not None:
            del self.q
            usual = config.activation
            self.critics = make_critics(config.critic_trunk, config.n_critics, self.seen, config.n_action, usual)
        self.is_distributional = config.n_atoms is not None
        if self.is_distributional:
            self.register_buffer("support", torch.tensor(atoms(config)))

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return `q_values`, `atom_logits` of a distributional network, and `critics` of several networks."""
        if self.config.n_critics is not None:
            critics = valued(self.critics, self.features(x, state))
            joined = critics.amin(0) if self.config.critic_join == "min" else critics.mean(0)
            return {"q_values": joined, "critics": critics}
        scores = self.scores(x, state)
        if not self.is_distributional:
            return {"q_values": scores.squeeze(-1)}
        return {"q_values": (scores.softmax(-1) * self.support).sum(-1), "atom_logits": scores}

    def probabilities(self, x: Tensor) -> Tensor:
        """Return the probabilities of returns (batch, n_action, n_atoms) of a distributional network."""
        return self.scores(x).softmax(-1)

    def log_probabilities(self, x: Tensor) -> Tensor:
        """Return their logarithms, computed without the detour over the softmax."""
        return self.scores(x).log_softmax(-1)


def build(config: QConfig) -> QNetwork:
    """Return a Q-network, freshly initialised."""
    return QNetwork(config)
