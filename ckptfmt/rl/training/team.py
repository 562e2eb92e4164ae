"""Processes that train one network together, each with games and a replay buffer of its own: those of torchrun."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from datetime import timedelta

import torch
from torch import distributed

from ckptfmt.rl.ranks import rank, world_size

__all__ = ["Team", "joined"]

# The others wait while rank 0 evaluates; of a process that died they hear sooner, since torchrun ends them all.
_PATIENCE = timedelta(hours=12)


class Team:
    """The processes of a training; one that is by itself makes a team of one, and talks to nobody."""

    def __init__(self) -> None:
        self.rank, self.size = rank(), world_size()

    def total(self, count: int) -> int:
        """Return the sum of what each process gives."""
        if self.size == 1:
            return count
        counts = torch.tensor([count])
        distributed.all_reduce(counts)
        return int(counts)

    def average(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Give every gradient its mean over the processes, the same bits in each."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        # One message for all: with networks this small each one costs more than what it carries.
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        means = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """While the block runs, be one of the processes that torchrun started; without it nothing is done."""
    if not distributed.is_torchelastic_launched() or os.environ.get("WORLD_SIZE", "1") == "1":
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group(timeout=_PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()
