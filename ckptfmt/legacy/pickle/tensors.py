"""What stands for torch's functions that make a tensor of a storage or label one, as a pickle calls them."""

from collections.abc import Callable
from typing import Any

from ckptfmt.format.dtypes import by_torch
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage
from ckptfmt.legacy.pickle.inert import Opaque
from ckptfmt.legacy.pickle.refusal import malformed, refused

__all__ = ["CALLS_WITH_TENSORS", "TENSORS", "tensor_state"]

Args = tuple[Any, ...]
# What torch and NumPy allow.
_MAX_RANK = 64
_DTYPES = by_torch()


def tensor_state(state: Any) -> bool:
    """Say whether a state is what torch before 0.4 gave a parameter: (requires_grad, volatile, hooks)."""
    match state:
        case (bool(), bool(), None | dict()):
            return True
    return False


def _tensor(storage: Storage, offset: Any, shape: Any, strides: Any, dtype: str | None) -> Any:
    """Return the tensor, or a placeholder where safetensors has no such dtype."""
    if dtype is None:
        raise malformed("makes a tensor of a storage without saying what its elements are")
    if len(shape) > _MAX_RANK or len(strides) > _MAX_RANK:
        raise malformed(f"makes a tensor of more than {_MAX_RANK} dimensions")
    if dtype not in _DTYPES.values():
        return Opaque("instance", "torch.Tensor", (dtype, shape))
    return LegacyTensor(dtype, tuple(shape), tuple(strides), offset, storage)


def _rebuild_tensor(args: Args) -> Any:
    match args:
        case (Storage() as storage, offset, tuple() | list() as shape, tuple() | list() as strides):
            return _tensor(storage, offset, shape, strides, storage.dtype)
    raise malformed("describes a tensor in a way that torch does not")


def _rebuild_tensor_v2(args: Args) -> Any:
    match args:
        case (Storage() as storage, offset, tuple() | list() as shape, tuple() | list() as strides, grad, *rest) if (
            # Hooks, and since 2.0 metadata: neither is a number of the tensor.
            type(grad) is bool and len(rest) <= 2
        ):
            return _tensor(storage, offset, shape, strides, storage.dtype)
    raise malformed("describes a tensor in a way that torch does not")


def _rebuild_tensor_v3(args: Args) -> Any:
    match args:
        case (
            Storage() as storage,
            offset,
            tuple() | list() as shape,
            tuple() | list() as strides,
            bool(),
            _,
            Opaque(kind="global", name=name),
            *rest,
        ) if len(rest) <= 1:
            return _tensor(storage, offset, shape, strides, _dtype(name))
    raise malformed("describes a tensor in a way that torch does not")


def _dtype(name: str) -> str:
    """Return safetensors' name of a torch dtype, torch's own where it has none."""
    plain = name.removeprefix("torch.")
    return _DTYPES.get(plain, plain)


def _rebuild_parameter(args: Args) -> Any:
    match args:
        # Hooks, and the state that a subclass keeps.
        case (LegacyTensor() | Opaque() as data, bool(), *rest) if len(rest) <= 2:
            return data
    raise malformed("describes a parameter in a way that torch does not")


def _parameter(args: Args) -> Any:
    match args:
        case (LegacyTensor() | Opaque() as data,) | (LegacyTensor() | Opaque() as data, bool()):
            return data
    raise malformed("describes a parameter in a way that torch does not")


def _rebuild_from_type(args: Args) -> Any:
    """Return the tensor of a subclass or with attributes, without those: only over a function listed here."""
    match args:
        case (Opaque(kind="global", name=name), Opaque(kind="global"), tuple() as inner, _) if name in TENSORS:
            return TENSORS[name](inner)
        case (Opaque(kind="global", name=name), *_):
            raise refused(f"calls {name} through a tensor")
    raise malformed("describes a tensor subclass in a way that torch does not")


def _device_tensor(args: Args) -> Any:
    match args:
        case (LegacyTensor() as data, Opaque(kind="global", name=name), str(), bool()):
            return data if _dtype(name) == data.dtype else Opaque("instance", "torch.Tensor", (_dtype(name),))
    raise malformed("describes a tensor of a device in a way that torch does not")


# What makes a tensor of a storage.
TENSORS: dict[str, Callable[[Args], Any]] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    "torch._utils._rebuild_device_tensor_from_numpy": _device_tensor,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _device_tensor,
    "torch._utils._rebuild_xla_tensor": _device_tensor,
}
# What gives a tensor of such a tensor.
CALLS_WITH_TENSORS: dict[str, Callable[[Args], Any]] = {
    **TENSORS,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch._tensor._rebuild_from_type": _rebuild_from_type,
    "torch._utils._rebuild_from_type_v2": _rebuild_from_type,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.nn.parameter.Buffer": _parameter,
    "torch.autograd.variable.Variable": _parameter,
}
