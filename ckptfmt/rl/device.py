"""The device a network lives on, from the name a user gives."""

import torch

from ckptfmt.errors import CkptError

__all__ = ["parse_device"]


def parse_device(device: str | torch.device) -> torch.device:
    """Return the device named by a string such as `cpu`, `cuda:1` or `auto` (cuda where there is one).

    Raises `CkptError` where the name means nothing or this machine has no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        parsed = torch.device(device)
    except (RuntimeError, TypeError):
        raise _no_device(device, "is no device") from None
    if parsed.type == "cuda" and (parsed.index or 0) >= torch.cuda.device_count():
        raise _no_device(device, "is not on this machine")
    return parsed


def _no_device(device: object, what: str) -> CkptError:
    return CkptError(f"{device} {what}", where="device", fix="use cpu, or auto", code="device.unknown")
