"""What stands for the functions that pickles of checkpoints call: total functions of ours over checked values."""

from collections.abc import Callable
from typing import Any

from ckptfmt.errors import BadPickle, SourceError
from ckptfmt.format.dtypes import by_torch
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage
from ckptfmt.legacy.pickle import ndarray
from ckptfmt.legacy.pickle.inert import Opaque, Ordered, Unique
from ckptfmt.legacy.pickle.refusal import refused

__all__ = ["CALLS", "TENSORS", "Args", "tensor_state"]

Args = tuple[Any, ...]
# What torch and NumPy allow.
_MAX_RANK = 64
_SMALL = 1 << 20
_DTYPES = by_torch()


def _bad(what: str) -> SourceError:
    return BadPickle(f"its pickle {what}")


def _tensor(storage: Storage, offset: Any, shape: Any, strides: Any, dtype: str | None) -> Any:
    """Return the tensor, or a placeholder where safetensors has no such dtype."""
    if dtype is None:
        raise _bad("makes a tensor of a storage without saying what its elements are")
    if len(shape) > _MAX_RANK or len(strides) > _MAX_RANK:
        raise _bad(f"makes a tensor of more than {_MAX_RANK} dimensions")
    if dtype not in _DTYPES.values():
        return Opaque("instance", "torch.Tensor", (dtype, shape))
    return LegacyTensor(dtype, tuple(shape), tuple(strides), offset, storage)


def _rebuild_tensor(args: Args) -> Any:
    match args:
        case (Storage() as storage, offset, tuple() | list() as shape, tuple() | list() as strides):
            return _tensor(storage, offset, shape, strides, storage.dtype)
    raise _bad("describes a tensor in a way that torch does not")


def _rebuild_tensor_v2(args: Args) -> Any:
    match args:
        case (Storage() as storage, offset, tuple() | list() as shape, tuple() | list() as strides, grad, *rest) if (
            type(grad) is bool and len(rest) <= 2
        ):
            return _tensor(storage, offset, shape, strides, storage.dtype)
    raise _bad("describes a tensor in a way that torch does not")


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
    raise _bad("describes a tensor in a way that torch does not")


def _dtype(name: str) -> str:
    """Return safetensors' name of a torch dtype, torch's own where it has none."""
    plain = name.removeprefix("torch.")
    return _DTYPES.get(plain, plain)


def _rebuild_parameter(args: Args) -> Any:
    match args:
        case (LegacyTensor() | Opaque() as data, bool(), *rest) if len(rest) <= 2:
            return data
    raise _bad("describes a parameter in a way that torch does not")


def _parameter(args: Args) -> Any:
    match args:
        case (LegacyTensor() | Opaque() as data,) | (LegacyTensor() | Opaque() as data, bool()):
            return data
    raise _bad("describes a parameter in a way that torch does not")


def tensor_state(state: Any) -> bool:
    """Say whether a state is what torch before 0.4 gave a parameter: (requires_grad, volatile, hooks)."""
    match state:
        case (bool(), bool(), None | dict()):
            return True
    return False


def _rebuild_from_type(args: Args) -> Any:
    """Return the tensor of a subclass or with attributes, without those: only over a function listed here."""
    match args:
        case (Opaque(kind="global", name=name), Opaque(kind="global"), tuple() as inner, _) if name in TENSORS:
            return TENSORS[name](inner)
        case (Opaque(kind="global", name=name), *_):
            raise refused(f"calls {name} through a tensor")
    raise _bad("describes a tensor subclass in a way that torch does not")


def _device_tensor(args: Args) -> Any:
    match args:
        case (LegacyTensor() as data, Opaque(kind="global", name=name), str(), bool()):
            return data if _dtype(name) == data.dtype else Opaque("instance", "torch.Tensor", (_dtype(name),))
    raise _bad("describes a tensor of a device in a way that torch does not")


def _record(name: str) -> Callable[[Args], Any]:
    """Return a builder that keeps a call as a record of it."""

    def call(args: Args) -> Opaque:
        return Opaque("call", name, args)

    return call


def _ordered(args: Args) -> Any:
    match args:
        case ():
            return Ordered()
        case (list() | tuple() as pairs,):
            return Ordered(_pair(pair) for pair in pairs)
    raise _bad("makes an OrderedDict of something that is no list of pairs")


def _pair(pair: Any) -> tuple[Any, Any]:
    match pair:
        case (str() as key, value):
            return key, value
        case (int() as key, value) if -_SMALL < key < _SMALL:
            return key, value
    raise _bad("makes an OrderedDict of something that is no list of pairs")


def _defaultdict(args: Args) -> Any:
    match args:
        case () | (None | Opaque(),):
            return Ordered()
    raise _bad("makes a defaultdict in a way that Python does not")


def _counter(args: Args) -> Any:
    match args:
        case ():
            return Ordered()
        case (dict() as counts,):
            return Ordered(counts)
    raise _bad("makes a Counter of something that is no dictionary")


def _deque(args: Args) -> Any:
    match args:
        case () | ((),) | ([],) | ((), None | int()) | ([], None | int()):
            return []
        case (list() as items,) | (list() as items, None | int()):
            return list(items)
    raise _bad("makes a deque of something that is no list")


def _set(args: Args) -> Any:
    match args:
        case ():
            return Unique()
        case (list() | tuple() as items,):
            return Unique(items)
    raise _bad("makes a set of something that is no list")


def _frozenset(args: Args) -> Any:
    return tuple(_set(args))


def _encode(args: Args) -> Any:
    match args:
        case (str() as text, "latin1" | "latin-1" | "iso-8859-1"):
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError:
                raise _bad("encodes text as Latin-1 that is not") from None
    raise refused("calls _codecs.encode with a codec of its own")


def _bytearray(args: Args) -> Any:
    match args:
        case ():
            return b""
        case (bytes() as data,):
            return data
        case (str() as text, "latin-1"):
            return _encode((text, "latin-1"))
    raise _bad("makes a bytearray in a way that Python does not")


def _bytes(args: Args) -> Any:
    if args:
        raise _bad("makes bytes in a way that Python does not")
    return b""


def _complex(args: Args) -> Any:
    match args:
        case (float() as real, float() as imaginary):
            return complex(real, imaginary)
    raise _bad("makes a complex number of something that is no pair of floats")


def _size(args: Args) -> Any:
    match args:
        case (tuple() | list() as lengths,) if all(type(n) is int for n in lengths):
            return tuple(lengths)
        case ():
            return ()
    raise _bad("makes a torch.Size of something that is no tuple of integers")


def _device(args: Args) -> Any:
    match args:
        case (str() as kind,):
            return kind
        case (str() as kind, int() as index):
            return f"{kind}:{index}"
    raise _bad("names a device in a way that torch does not")


def _path(args: Args) -> Any:
    if not all(type(part) is str for part in args):
        raise _bad("makes a path of something that is no text")
    return "/".join(args).replace("//", "/", 1) if args else "."


def _same(args: Args) -> Any:
    """Return what a TorchScript archive only labels with a type."""
    match args:
        case (list() | dict() as value, str()) | (list() as value,):
            return value
    raise _bad("labels a value in a way that TorchScript does not")


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
# Tensors whose elements are not one run of a storage: kept as records, refused only where one is needed.
_RECORDS = (
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_sparse_csr_tensor",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_nested_tensor",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_wrapper_subclass",
    "torch.serialization._get_layout",
    "torch.nn.backends.thnn._get_thnn_function_backend",
    "builtins.slice",
    "builtins.range",
    "builtins.object",
    "datetime.date",
    "datetime.datetime",
    "datetime.time",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "fractions.Fraction",
    "itertools.count",
    "random.Random",
    "types.SimpleNamespace",
    "numpy.random._pickle.__bit_generator_ctor",
    "numpy.random._pickle.__generator_ctor",
    "numpy.random._pickle.__randomstate_ctor",
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
)
# Every function that may be called, by its name after the renames of `names`.
CALLS: dict[str, Callable[[Args], Any]] = {
    **TENSORS,
    **{name: _record(name) for name in _RECORDS},
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch._tensor._rebuild_from_type": _rebuild_from_type,
    "torch._utils._rebuild_from_type_v2": _rebuild_from_type,
    "torch.nn.parameter.Parameter": _parameter,
    "torch.nn.parameter.Buffer": _parameter,
    "torch.autograd.variable.Variable": _parameter,
    "torch.Size": _size,
    "torch.device": _device,
    "torch.jit._pickle.restore_type_tag": _same,
    "torch.jit._pickle.build_intlist": _same,
    "torch.jit._pickle.build_doublelist": _same,
    "torch.jit._pickle.build_boollist": _same,
    "torch.jit._pickle.build_tensorlist": _same,
    "numpy.dtype": ndarray.dtype_of,
    "numpy._core.multiarray._reconstruct": ndarray.reconstruct,
    "numpy._core.multiarray.scalar": ndarray.scalar_of,
    "numpy._core.numeric._frombuffer": ndarray.frombuffer,
    "dill._dill._create_array": ndarray.create_for_dill,
    "collections.OrderedDict": _ordered,
    "collections.defaultdict": _defaultdict,
    "collections.Counter": _counter,
    "collections.deque": _deque,
    "builtins.set": _set,
    "builtins.frozenset": _frozenset,
    "builtins.bytearray": _bytearray,
    "builtins.bytes": _bytes,
    "builtins.complex": _complex,
    "_codecs.encode": _encode,
    **{
        f"pathlib.{name}": _path
        for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
    },
}
