"""The device a network lives on, from the name a user gives, and what is sent there."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ckptfmt.errors import CkptError

__all__ = ["parse_device", "send"]


def parse_device(device: str | torch.device) -> torch.device:
    """Return the device named by a string such as `cpu`, `cuda:1` or `auto` (cuda where there is one).

    Raises `CkptError` where the name means nothing, this machine has no such device, or it holds no numbers.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        parsed = torch.device(device)
    except (RuntimeError, TypeError):
        raise _no_device(device, "is no device") from None
    if parsed.type == "meta":
        raise _no_device(device, "holds shapes and no numbers")
    if not _is_here(parsed):
        raise _no_device(device, "is not on this machine")
    return parsed


def send(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a tensor on a device: on a CPU the same memory, to a GPU on its way, while nobody waits."""
    tensor = torch.from_numpy(array)
    # Only what lies in pinned memory is fetched by the GPU itself; torch keeps that until it has been.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _is_here(device: torch.device) -> bool:
    if device.type in ("cpu", "cuda"):
        return device.type == "cpu" or (device.index or 0) < torch.cuda.device_count()
    try:
        # No bytes, but the backend is looked for.
        torch.empty(0, device=device)
    except Exception:  # each of torch's other devices fails in its own way, some by an import
        return False
    return True


def _no_device(device: object, what: str) -> CkptError:
    return CkptError(f"{device} {what}", where="device", fix="use cpu, or auto", code="device.unknown")
