"""Several processes that train together: the first one writes, the others wait for it."""

from collections.abc import Callable

import torch
from torch import distributed

from ckptfmt.errors import WriteError

__all__ = ["once"]

_FAILED = -1


def once(action: Callable[[], bytes], *, where: str) -> bytes:
    """Run `action` in the process of rank 0 and return in all of them, when it is done, what it returned.

    What it raises is raised there; the others raise `WriteError`. Without torch.distributed it is just run.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return action()
    failure: Exception | None = None
    told = b""
    if distributed.get_rank() == 0:
        try:
            told = action()
        except Exception as e:  # whatever it is, the others must not wait for ever
            failure = e
    size = _broadcast(torch.tensor([_FAILED if failure else len(told)]))
    if failure is not None:
        raise failure
    if size.item() == _FAILED:
        raise WriteError("rank 0 could not save, its error says why", where=where, code="write.other-rank")
    data = torch.zeros(int(size), dtype=torch.uint8)
    if told:
        data = torch.frombuffer(bytearray(told), dtype=torch.uint8)
    return bytes(_broadcast(data).numpy())


def _broadcast(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor of rank 0 in every process."""
    sent = tensor.cuda() if distributed.get_backend() == "nccl" else tensor
    distributed.broadcast(sent, src=0)
    return sent.cpu()
