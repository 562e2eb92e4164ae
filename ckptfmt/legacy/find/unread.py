"""Tensors that were seen and are not read: what kind each is, in words."""

import re
from typing import Any

from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["kind_of"]

# What a call of these made, whatever it was given.
_CALLS = {
    "torch._utils._rebuild_sparse_tensor": "sparse tensor",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse tensor",
    "torch._utils._rebuild_qtensor": "quantised tensor",
    "torch._utils._rebuild_nested_tensor": "nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "meta tensor",
    "torch._utils._rebuild_wrapper_subclass": "subclass tensor",
    "jax._src.array._reconstruct_array": "JAX array",
    "jax.interpreters.xla._reconstruct_array": "JAX array",
    "jaxlib.xla_extension._reconstruct_array": "JAX array",
    "jax._src.device_array.reconstruct_device_array": "JAX array",
    "jax.interpreters.xla.reconstruct_device_array": "JAX array",
    "mxnet.ndarray.ndarray.NDArray": "MXNet array",
}
_TORCH, _NUMPY = "torch.Tensor", "numpy.ndarray"
# Kinds of NumPy elements that are numbers: others are texts, dates and objects.
_NUMBERS = re.compile(r"[<>=|]?([biufcV])[0-9]+")
_WIDE = {"c": "complex128", "f": "long double", "V": "structured"}


def kind_of(value: Any) -> str:
    """Return what kind of tensor a placeholder stands for that is not read, "" for one that stands for none."""
    if not isinstance(value, Opaque) or value.kind == "global":
        return ""
    if value.name == _TORCH and value.args:
        return f"{value.args[0]} tensor"
    if value.name == _NUMPY:
        return _array(value.state)
    return _CALLS.get(value.name, "")


def _array(state: Any) -> str:
    match state:
        case (_, Opaque(args=(str() as code, *_)), _) if found := _NUMBERS.fullmatch(code):
            return f"{_WIDE.get(found[1], code)} array"
    return ""
