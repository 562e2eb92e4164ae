"""Critics that value actions: of real ones behind what is seen, or one value for each of discrete ones."""

import torch
from torch import Tensor, nn

from ckptfmt.families.blocks import Body
from ckptfmt.rl.families.blocks import BodyModule, linear

__all__ = ["Critic", "make_critics", "valued"]


class Critic(nn.Module):
    """Layers and a head."""

    def __init__(self, body: Body, seen: tuple[int, ...], rows: int, usual: str) -> None:
        super().__init__()
        self.body = BodyModule(body, seen, usual)
        self.head = linear(self.body.features, rows)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, …) to (batch, rows)."""
        found: Tensor = self.head(self.body(x).flatten(1))
        return found


def make_critics(body: Body, count: int, seen: tuple[int, ...], rows: int, usual: str) -> nn.ModuleList:
    """Return so many critics of one kind."""
    return nn.ModuleList(Critic(body, seen, rows, usual) for _ in range(count))


def valued(critics: nn.ModuleList, x: Tensor) -> Tensor:
    """Return (critics, batch, rows)."""
    return torch.stack([critic(x) for critic in critics])
