"""Tensors that are spread over processes (FSDP2, tensor parallelism), piece by piece: to be saved, and to be filled."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ckptfmt.errors import WeightsError, printable
from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.tensors import Part
from ckptfmt.rl.networks import is_spread, plain_names
from ckptfmt.rl.stored import read_slice, read_tensor, torch_dtype
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["fill_pieces", "is_spread_out", "piece", "pieces", "read_spread", "spread_bytes"]


def pieces(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this rank holds of tensors by name; those of which it holds nothing are left out."""
    held = {name: piece(tensor, name) for name, tensor in tensors.items()}
    return {name: part for name, part in held.items() if part is not None}


def piece(tensor: Any, name: str = "") -> Any:
    """Return a tensor, of one that is spread over ranks this rank's `Part` of it; None where it has nothing of it.

    Nothing is gathered and nothing copied. Raises `WeightsError` for one whose pieces are terms of a sum.
    """
    if type(tensor).__name__ == "ShardedTensor":
        raise WeightsError(
            f"{name} is a ShardedTensor of FSDP1",
            fix="give a full state dict, or use fully_shard",
            code="weights.sharded",
        )
    if not is_spread(tensor):
        return tensor
    if any(placement.is_partial() for placement in tensor.placements):
        raise WeightsError(
            f"{name} lies in several processes as terms of a sum", fix="reduce it first", code="weights.sharded"
        )
    if not tensor.numel():
        # Of nothing every rank has all, however it is cut.
        return torch.empty(tensor.shape, dtype=tensor.dtype)
    shape, at = _place(tensor)
    if shape is None or not all(shape):
        return None
    local = tensor.to_local().detach()
    return local if tuple(shape) == tuple(tensor.shape) else Part(local, tuple(tensor.shape), at)


def spread_bytes(tensors: Iterable[Any]) -> int:
    """Return how many bytes the tensors have, as they are whole, that are spread over ranks."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if is_spread(tensor))


def is_spread_out(model: torch.nn.Module) -> bool:
    """Return whether any tensor of a model is spread over processes."""
    return any(map(is_spread, plain_names(model).values()))


def fill_pieces(model: torch.nn.Module, checkpoint: Checkpoint, *, verify: bool = True) -> None:
    """Fill a model whose tensors are spread over ranks: each reads what it holds of them, and no more.

    Raises `WeightsError` for tensors that are not those of the model.
    """
    live = plain_names(model)
    stored = checkpoint.manifest.weights.named
    if odd := sorted(live.keys() ^ stored.keys()):
        what = f"has no {printable(odd[0])}" if odd[0] in live else f"has also {printable(odd[0])}"
        raise _unfit(f"the file {what}", checkpoint)
    for name, tensor in live.items():
        if tuple(stored[name].shape) != tuple(tensor.shape) or torch_dtype(stored[name].dtype) is not tensor.dtype:
            said = f"{stored[name].dtype} {tuple(stored[name].shape)}"
            raise _unfit(f"{name} is {said} in the file, and {tensor.dtype} {tuple(tensor.shape)} in it", checkpoint)
        if tensor.is_meta:
            raise WeightsError(
                f"{name} is on the meta device", fix="give it memory first, with to_empty", code="weights.meta"
            )
    with torch.no_grad():
        for name, tensor in live.items():
            _fill(tensor, name, checkpoint, verify)


def read_spread(checkpoint: Checkpoint, name: str, file: str, live: Any, *, verify: bool = True) -> torch.Tensor:
    """Return a tensor spread over ranks as `live` is, which has its shape: each reads what it holds, and no more."""
    dtype = torch_dtype(checkpoint.info(name, file).dtype) or live.dtype
    tensor = torch.empty_like(live, dtype=dtype, requires_grad=False)
    with torch.no_grad():
        _fill(tensor, name, checkpoint, verify, file)
    return tensor


def _fill(tensor: Any, name: str, checkpoint: Checkpoint, verify: bool, file: str = WEIGHTS) -> None:
    if not is_spread(tensor):
        tensor.copy_(read_tensor(checkpoint, name, file, verify=verify))
        return
    shape, at = _place(tensor)
    if shape is not None and all(shape):
        tensor.to_local().copy_(read_slice(checkpoint, name, at, shape, file, verify=verify))


def _place(tensor: Any) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Return shape and offsets of this rank's piece; None for the shape where it has no part in it."""
    # It takes a second to import, and where there is something spread it is imported already.
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    if tensor.device_mesh.get_coordinate() is None:
        return None, ()
    shape, at = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tuple(shape), tuple(at)


def _unfit(what: str, checkpoint: Checkpoint) -> WeightsError:
    return WeightsError(
        f"the weights are not those of the model given: {what}",
        where=f"{checkpoint.path}/{WEIGHTS}",
        code="weights.shape",
    )
