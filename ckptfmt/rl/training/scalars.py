"""The curves of a training, for TensorBoard."""

import os
from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

__all__ = ["Scalars"]


class Scalars:
    """Numbers over steps in the `tensorboard` folder of a run, made with the first of them; none unless `wanted`."""

    def __init__(self, out: str, *, wanted: bool) -> None:
        self._out, self._wanted = out, wanted
        self._writer: SummaryWriter | None = None

    def write(self, step: int, scalars: Mapping[str, float | None], first: int | None) -> None:
        """Write the numbers of a step, None left out; a log that goes on begins anew with the step `first`.

        What a killed training logged behind its last checkpoint is logged again: readers drop the first.
        """
        if not self._wanted:
            return
        if self._writer is None:
            self._writer = SummaryWriter(os.path.join(self._out, "tensorboard"), purge_step=first)
        for name, value in scalars.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
