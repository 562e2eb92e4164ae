"""A network's tensors by their plain names, however it is wrapped and wherever its parts lie; and back."""

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import distributed, nn
from torch.optim.swa_utils import AveragedModel

from ckptfmt.errors import WeightsError
from ckptfmt.format.tensors import memory
from ckptfmt.rl.alike import check_alike

__all__ = [
    "HasTensors",
    "gathered",
    "is_spread",
    "load_named",
    "named_tensors",
    "plain_names",
    "shard_like",
    "unwrap",
    "whole",
]

_WRAPPED = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
# What a part leaves in the middle of a name that was compiled, or told to compute anew, by itself.
_MARKS = ("_orig_mod.", "_checkpoint_wrapped_module.")


class HasTensors(Protocol):
    """What can be saved: a module, or a network that `adopt` returned."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the weights by name."""
        ...


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside torch.compile, data parallelism and `AveragedModel`."""
    while True:
        if isinstance(model, _WRAPPED):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def named_tensors(model: HasTensors) -> dict[str, torch.Tensor]:
    """Return a model's tensors under the names they have without wrappers.

    Where they are spread over several processes, all of these must call it; rank 0 gets whole tensors.
    """
    return gathered(plain_names(model))


def gathered(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors by name, those that are spread over processes as of `whole`; tied ones stay one tensor."""
    found: dict[str, torch.Tensor] = {}
    seen: dict[Any, torch.Tensor] = {}
    for name, tensor in tensors.items():
        # Each is gathered, since a rank that holds nothing of them cannot tell that two are one.
        full = whole(tensor, name)
        local: Any = tensor.to_local() if is_spread(tensor) else None  # type: ignore[attr-defined]
        if (key := memory(local)) is not None:
            full = seen.setdefault((key, tensor.shape, tensor.placements), full)  # type: ignore[attr-defined]
        found[name] = full
    return found


def plain_names(model: HasTensors) -> dict[str, torch.Tensor]:
    """Return a model's tensors as they are, spread over processes or not, under the names without wrappers."""
    network = unwrap(model) if isinstance(model, nn.Module) else model
    return {_plain(name): tensor for name, tensor in network.state_dict().items()}


def load_named(model: nn.Module, tensors: Mapping[str, Any], where: str) -> None:
    """Load tensors by plain names into a model, whatever it is wrapped in; raise `WeightsError` for other ones."""
    network = unwrap(model)
    live = network.state_dict()
    names = {_plain(name): name for name in live}
    check_alike(tensors, {name: live[own] for name, own in names.items()}, where)
    network.load_state_dict({names[name]: shard_like(tensor, live[names[name]]) for name, tensor in tensors.items()})


def whole(tensor: torch.Tensor, name: str = "") -> torch.Tensor:
    """Return a tensor that is spread over processes in one piece: in rank 0, and its mere shape in the others.

    All of them must call it, in the same order. Raises `WeightsError` for one that cannot be gathered.
    """
    if is_spread(tensor):
        full: torch.Tensor = tensor.full_tensor()  # type: ignore[attr-defined]
        return full if distributed.get_rank() == 0 else full.to("meta")
    if type(tensor).__name__ == "ShardedTensor":
        raise WeightsError(
            f"{name} lies in pieces in several processes", fix="give a full state dict", code="weights.sharded"
        )
    return tensor


def shard_like(tensor: torch.Tensor, live: Any) -> torch.Tensor:
    """Return a tensor spread as `live` is; of a whole one every process takes its piece of its own copy."""
    if not is_spread(live) or tensor.shape != live.shape:
        return tensor
    if is_spread(tensor):
        spread: torch.Tensor = tensor.redistribute(live.device_mesh, live.placements)  # type: ignore[attr-defined]
        return spread
    # It takes a second to import, and where there is something spread it is imported already.
    from torch.distributed.tensor import distribute_tensor

    local = tensor.to(live.device)
    return distribute_tensor(local, live.device_mesh, live.placements, src_data_rank=None)


def is_spread(tensor: Any) -> bool:
    """Return whether a tensor is spread over processes."""
    return type(tensor).__name__ == "DTensor"


def _plain(name: str) -> str:
    for mark in _MARKS:
        name = name.replace(mark, "")
    return name
