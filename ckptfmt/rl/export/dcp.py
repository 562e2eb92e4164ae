"""Load an exported folder with torch.distributed.checkpoint, and hold its tensors against the checkpoint's."""

import warnings

import torch
from torch.distributed.checkpoint.state_dict_loader import load

from ckptfmt.rl.export.compare import differs, same_bits
from ckptfmt.rl.stored import read_tensors
from ckptfmt.share.export.target import Outline
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["check_dcp"]


def check_dcp(checkpoint: Checkpoint, path: str, outline: Outline) -> str:
    """Hold what `torch.distributed.checkpoint.load` reads against the checkpoint's tensors, bit for bit."""
    stored = read_tensors(checkpoint)
    loaded = {name: torch.zeros_like(tensor) for name, tensor in stored.items()}
    with warnings.catch_warnings():
        # That no group of processes is there, as if one were wanted.
        warnings.simplefilter("ignore")
        load(loaded, checkpoint_id=path, no_dist=True)
    if not all(same_bits(loaded[name], tensor) for name, tensor in stored.items()):
        raise differs("the tensors that torch loads are not those of the checkpoint", path)
    return f"{len(stored)} tensors equal, bit for bit"
