"""Load a state dict with torch, and hold its tensors against the checkpoint's."""

import torch

from ckptfmt.rl.export.compare import differs, same_bits
from ckptfmt.rl.stored import read_tensors
from ckptfmt.share.export.target import Outline
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["check_torch"]


def check_torch(checkpoint: Checkpoint, path: str, outline: Outline) -> str:
    """Hold a state dict that `torch.load(weights_only=True)` read against the checkpoint's tensors."""
    loaded = torch.load(path, weights_only=True, map_location="cpu")
    stored = read_tensors(checkpoint)
    same = loaded.keys() == stored.keys() and all(same_bits(loaded[name], stored[name]) for name in stored)
    if not same:
        raise differs("the tensors that torch loads are not those of the checkpoint", path)
    return f"{len(stored)} tensors equal, bit for bit"
