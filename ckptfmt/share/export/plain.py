"""A state dict that `torch.load(weights_only=True)` reads, under the names of the checkpoint."""

from typing import BinaryIO

from ckptfmt.share.export.target import Outline, Target, left_out, stored_tensors
from ckptfmt.share.export.torchfile import write_torch_file
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["TORCH"]


def _outline(checkpoint: Checkpoint, dest: str) -> Outline:
    architecture = checkpoint.manifest.architecture
    network = architecture.name if architecture else "a network of unknown architecture"
    return Outline(
        f"state dict of {network}, {len(checkpoint.names())} tensors",
        f'torch.load("{dest}", weights_only=True)',
        ("config", *left_out(checkpoint)),
    )


def _write(checkpoint: Checkpoint, file: BinaryIO) -> None:
    write_torch_file(file, stored_tensors(checkpoint, str))


TORCH = Target("torch", _outline, _write, "ckptfmt.rl.export.check:check_torch")
