"""Q-networks on any encoder, of plain values or of distributions over atoms."""

import torch
from torch import Tensor

from ckptfmt.families.atari_dqn.support import atoms
from ckptfmt.families.q_network import QConfig
from ckptfmt.rl.families.blocks import State
from ckptfmt.rl.families.streams import StreamsNetwork

__all__ = ["QNetwork", "build"]


class QNetwork(StreamsNetwork):
    """Q-values (batch, n_action); of a distributional network also `atom_logits` (batch, n_action, n_atoms)."""

    support: Tensor

    def __init__(self, config: QConfig) -> None:
        super().__init__(config)
        self.is_distributional = config.n_atoms is not None
        if self.is_distributional:
            self.register_buffer("support", torch.tensor(atoms(config)))

    def run(self, x: Tensor, state: State | None = None, **given: Tensor) -> dict[str, Tensor]:
        """Return `q_values`, and `atom_logits` of a distributional network."""
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
