"""How the two streams of a dueling network make Q-values (Wang et al. 2016, equations 7 to 9)."""

from collections.abc import Callable

from torch import Tensor

__all__ = ["JOINS"]

# Value (…, 1, rows) and advantage (…, actions, rows) to scores; the mean and the maximum are over actions.
JOINS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": lambda value, advantage: value + advantage - advantage.mean(dim=-2, keepdim=True),
    "max": lambda value, advantage: value + advantage - advantage.amax(dim=-2, keepdim=True),
    "sum": lambda value, advantage: value + advantage,
    "inverted": lambda value, advantage: value - advantage + advantage.mean(dim=-2, keepdim=True),
}
