"""What stands for the functions that pickles of checkpoints call: total functions of ours over checked values."""

from collections.abc import Callable
from typing import Any

from ckptfmt.legacy.pickle import ndarray
from ckptfmt.legacy.pickle.inert import Opaque, Ordered, Unique
from ckptfmt.legacy.pickle.refusal import malformed, refused
from ckptfmt.legacy.pickle.tensors import CALLS_WITH_TENSORS

__all__ = ["CALLS", "Args"]

Args = tuple[Any, ...]
# As in the budget: whole numbers of this size are their own hash, so their writer gains nothing by choosing them.
_SMALL = 1 << 20


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
    raise malformed("makes an OrderedDict of something that is no list of pairs")


def _pair(pair: Any) -> tuple[Any, Any]:
    match pair:
        case (str() as key, value):
            return key, value
        case (int() as key, value) if -_SMALL < key < _SMALL:
            return key, value
    raise malformed("makes an OrderedDict of something that is no list of pairs")


def _defaultdict(args: Args) -> Any:
    match args:
        # The factory is code, and is never called: missing keys stay missing.
        case () | (None | Opaque(),):
            return Ordered()
    raise malformed("makes a defaultdict in a way that Python does not")


def _counter(args: Args) -> Any:
    match args:
        case ():
            return Ordered()
        case (dict() as counts,):
            return Ordered(counts)
    raise malformed("makes a Counter of something that is no dictionary")


def _deque(args: Args) -> Any:
    match args:
        case () | ((),) | ([],) | ((), None | int()) | ([], None | int()):
            return []
        case (list() as items,) | (list() as items, None | int()):
            return list(items)
    raise malformed("makes a deque of something that is no list")


def _set(args: Args) -> Any:
    match args:
        case ():
            return Unique()
        case (list() | tuple() as items,):
            return Unique(items)
    raise malformed("makes a set of something that is no list")


def _frozenset(args: Args) -> Any:
    return tuple(_set(args))


def _encode(args: Args) -> Any:
    match args:
        case (str() as text, "latin1" | "latin-1" | "iso-8859-1"):
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError:
                raise malformed("encodes text as Latin-1 that is not") from None
    # Pickles of Python 2 write bytes as text in Latin-1; other codecs decompress, or run code of their own.
    raise refused("calls _codecs.encode with a codec of its own")


def _bytearray(args: Args) -> Any:
    match args:
        case ():
            return b""
        case (bytes() as data,):
            return data
        case (str() as text, "latin-1"):
            return _encode((text, "latin-1"))
    raise malformed("makes a bytearray in a way that Python does not")


def _bytes(args: Args) -> Any:
    if args:
        raise malformed("makes bytes in a way that Python does not")
    return b""


def _complex(args: Args) -> Any:
    match args:
        case (float() as real, float() as imaginary):
            return complex(real, imaginary)
    raise malformed("makes a complex number of something that is no pair of floats")


def _size(args: Args) -> Any:
    match args:
        case (tuple() | list() as lengths,) if all(type(n) is int for n in lengths):
            return tuple(lengths)
        case ():
            return ()
    raise malformed("makes a torch.Size of something that is no tuple of integers")


def _device(args: Args) -> Any:
    match args:
        case (str() as kind,):
            return kind
        case (str() as kind, int() as index):
            return f"{kind}:{index}"
    raise malformed("names a device in a way that torch does not")


def _path(args: Args) -> Any:
    if not all(type(part) is str for part in args):
        raise malformed("makes a path of something that is no text")
    # The first part of an absolute path is a slash itself.
    return "/".join(args).replace("//", "/", 1) if args else "."


def _same(args: Args) -> Any:
    """Return what a TorchScript archive only labels with a type."""
    match args:
        case (list() | dict() as value, str()) | (list() as value,):
            return value
    raise malformed("labels a value in a way that TorchScript does not")


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
# What makes an array of JAX of one of NumPy, by the releases that called it so.
_OF_JAX = (
    "jax._src.array._reconstruct_array",
    "jax._src.device_array.reconstruct_device_array",
    "jax.interpreters.xla._reconstruct_device_array",
)
# Every function that may be called, by its name after the renames of `names`.
CALLS: dict[str, Callable[[Args], Any]] = {
    **CALLS_WITH_TENSORS,
    **{name: _record(name) for name in _RECORDS},
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
    **dict.fromkeys(_OF_JAX, ndarray.create_for_jax),
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
