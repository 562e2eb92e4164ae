"""Several processes that train together: the first one writes, the others wait for it."""

from collections.abc import Callable

import torch
from torch import distributed

from ckptfmt.errors import CkptError, WriteError

__all__ = ["once"]


def once(action: Callable[[], None], *, where: str) -> None:
    """Run `action` in the process of rank 0 and return in all of them when it is done.

    What it raises is raised there; the others raise `WriteError`. Without torch.distributed it is just run.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        action()
        return
    failure: CkptError | None = None
    if distributed.get_rank() == 0:
        try:
            action()
        except CkptError as e:
            failure = e
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    failed = torch.tensor([failure is not None], dtype=torch.int32, device=device)
    distributed.broadcast(failed, src=0)
    if failure is not None:
        raise failure
    if failed.item():
        raise WriteError("rank 0 could not save, its error says why", where=where, code="write.other-rank")
