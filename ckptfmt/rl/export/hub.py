"""Load an exported folder with the hub's mixin, and hold its tensors against the checkpoint's."""

from ckptfmt.rl.export.compare import differs, same_bits
from ckptfmt.rl.hub import Agent
from ckptfmt.rl.stored import read_tensors
from ckptfmt.share.export.target import Outline
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["check_hub"]


def check_hub(checkpoint: Checkpoint, path: str, outline: Outline) -> str:
    """Load the folder strictly with `PyTorchModelHubMixin`; return "" for a network that nobody here can build."""
    if checkpoint.network is None:
        return ""
    loaded = Agent.from_pretrained(path, strict=True).state_dict()
    stored = read_tensors(checkpoint)
    if not all(same_bits(loaded[name].cpu(), tensor.cpu()) for name, tensor in stored.items()):
        raise differs("the tensors that the mixin loads are not those of the checkpoint", path)
    return f"{len(stored)} tensors equal, bit for bit, loaded by PyTorchModelHubMixin"
