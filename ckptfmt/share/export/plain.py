"""A state dict that `torch.load(weights_only=True)` reads, under the names of the checkpoint."""

from ckptfmt.share.export.target import Outline, Target, left_out, stored_tensors
from ckptfmt.share.export.torchfile import write_torch_file
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["TORCH"]


def _outline(checkpoint: Checkpoint, dest: str, algorithm: str) -> Outline:
    architecture = checkpoint.manifest.architecture
    network = architecture.name if architecture else "a network of unknown architecture"
    return Outline(
        f"state dict of {network}, {len(checkpoint.names())} tensors",
        f'torch.load("{dest}", weights_only=True)',
        lambda file: write_torch_file(file, stored_tensors(checkpoint, str)),
        ("config", *left_out(checkpoint)),
    )


TORCH = Target("torch", _outline, "ckptfmt.rl.export.check:check_torch")
