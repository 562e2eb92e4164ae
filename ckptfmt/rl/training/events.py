"""What a training tells while it runs."""

from ckptfmt.format.record import record
from ckptfmt.rl.play import Evaluation

__all__ = ["Evaluated", "Event", "Progress", "Saved"]


@record
class Progress:
    """Where the training is; the return is over the last 100 episodes, None before the first one ends."""

    step: int
    episodes: int
    epsilon: float
    loss: float | None
    return_mean: float | None
    return_std: float | None
    steps_per_second: float
    seconds_left: float


@record
class Evaluated:
    """An evaluation at `step`, and whether it is the best so far."""

    step: int
    evaluation: Evaluation
    best: bool


@record
class Saved:
    """A checkpoint that is on the disk; `kind` is interval, best or last."""

    path: str
    step: int
    kind: str
    digest: str


Event = Progress | Evaluated | Saved
