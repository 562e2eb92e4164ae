"""Several processes that train together: the first one writes, the others wait for it."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import distributed

from ckptfmt.errors import WriteError

__all__ = ["once"]

_FAILED = -1
_Answer = TypeVar("_Answer")


def once(
    action: Callable[[], _Answer],
    *,
    encode: Callable[[_Answer], bytes],
    decode: Callable[[bytes], _Answer],
    where: str,
) -> _Answer:
    """Run `action` in the process of rank 0 and return in all of them, when it is done, what it returned.

    The others are sent what `encode` makes of it and return what `decode` makes of that. What it raises is
    raised in rank 0; the others raise `WriteError`. Without torch.distributed it is just run.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return action()
    failure: Exception | None = None
    told = b""
    if first := distributed.get_rank() == 0:
        try:
            answer = action()
            told = encode(answer)
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
    sent = _broadcast(data)
    return answer if first else decode(bytes(sent.numpy()))


def _broadcast(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor of rank 0 in every process."""
    sent = tensor.cuda() if distributed.get_backend() == "nccl" else tensor
    distributed.broadcast(sent, src=0)
    return sent.cpu()
