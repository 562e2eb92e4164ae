"""Frames of a replay buffer on the device of a network: a draw sends indices there, and no pictures."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ckptfmt.rl.device import send

__all__ = ["DeviceFrames", "fits"]

# Frames that are sent at once, 29 MB of 84×84 pixels: after a resume all of a buffer are.
_SENT = 4096


def fits(size: int, device: torch.device) -> bool:
    """Return whether frames of `size` bytes are kept on a device too: on a GPU of whose free memory they take half."""
    return device.type == "cuda" and 2 * size <= torch.cuda.mem_get_info(device)[0]


class DeviceFrames:
    """A copy of frames (slots, ...) on a device, each there once and in its own dtype; stacks are made of them there.

    The frames themselves stay where they are saved from. What is noted as changed is sent when it is drawn from.
    """

    def __init__(self, frames: NDArray[np.generic], device: torch.device) -> None:
        self._frames, self._device = frames, device
        self._copy = torch.empty(frames.shape, dtype=torch.from_numpy(frames[:0]).dtype, device=device)
        self._changed: set[int] = set()

    def note(self, slots: Iterable[int]) -> None:
        """Take note that the frames of these slots have changed."""
        self._changed.update(slots)

    def take(self, slots: NDArray[np.int64]) -> Tensor:
        """Return frames (n, ...) of slots (n,), as they are now."""
        waiting = np.fromiter(self._changed, np.int64)
        for start in range(0, len(waiting), _SENT):
            changed = waiting[start : start + _SENT]
            self._copy[send(changed, self._device)] = send(self._frames[changed], self._device)
        self._changed.clear()
        return self._copy[send(slots, self._device)]
