"""Names of classes and functions in a pickle: which are emulated, which stay placeholders, which are refused.

Nothing here is looked up anywhere but in tables of our own. Lists of dangerous names lose (there is always one
more), so every name of the packages that are installed wherever a checkpoint is opened is refused unless it is
listed; other packages' names are inert placeholders.
"""

import re
import sys
from functools import lru_cache
from typing import Literal

from ckptfmt.format.dtypes import by_torch
from ckptfmt.legacy.bytes.storages import STORAGE_DTYPES
from ckptfmt.legacy.pickle.builders import CALLS

__all__ = ["STATEFUL", "Group", "full_name", "group_of", "instantiable", "well_formed"]

Group = Literal["emulated", "torch-class", "refused", "placeholder"]

# Modules that moved: Python 2 to 3, NumPy 1 to 2.
_MOVED = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
    "numpy.core._multiarray_umath": "numpy._core.multiarray",
    "numpy._core._multiarray_umath": "numpy._core.multiarray",
    "pathlib._local": "pathlib",
}
_RENAMED = {"builtins.xrange": "builtins.range", "builtins.long": "builtins.int", "builtins.unicode": "builtins.str"}
# Top-level modules of Python 2, and of versions of Python 3 that are not this one.
_OLD_STANDARD = """
    __builtin__ _winreg anydbm asynchat asyncore BaseHTTPServer Bastion binhex bsddb cPickle cStringIO CGIHTTPServer
    commands compiler ConfigParser Cookie cookielib copy_reg dbhash DocXMLRPCServer dircache distutils dl dumbdbm
    dummy_thread dummy_threading exceptions formatter fpformat future_builtins gdbm hotshot HTMLParser htmlentitydefs
    htmllib httplib ihooks imp imputil Queue ScrolledText SimpleHTTPServer SimpleXMLRPCServer SocketServer
    StringIO Tix Tkinter UserDict UserList UserString aifc audioop cgi cgitb chunk crypt imghdr lib2to3 linuxaudiodev
    macpath macurl2path mailcap markupbase md5 mhlib mimetools MimeWriter mimify msilib multifile mutex new nis nntplib
    ossaudiodev parser pipes popen2 posixfile repr rexec rfc822 robotparser sets sgmllib sha smtpd sndhdr spwd sre
    sre_compile sre_constants sre_parse statvfs string strop sunau sunaudio symbol telnetlib test thread tkColorChooser
    tkCommonDialog tkFileDialog tkFont tkMessageBox tkSimpleDialog toaiff ttk urllib2 urlparse user uu whichdb xdrlib
    xmllib xmlrpclib annotationlib compression _interpreters
"""
_PACKAGES = "torch functorch torchgen numpy pip setuptools pkg_resources wheel _distutils_hack distutils"
_REFUSED = frozenset(sys.stdlib_module_names) | frozenset(_OLD_STANDARD.split()) | frozenset(_PACKAGES.split())

# Names that may stand in the data as themselves: they are values, nobody calls them.
_VALUES = frozenset(
    {
        *STORAGE_DTYPES,
        *(f"torch.{name}" for name in by_torch()),
        *(f"torch.{name}" for name in ("complex128", "complex32", "qint8", "quint8", "qint32", "quint4x2", "quint2x4")),
        *(f"torch.{name}" for name in ("strided", "sparse_coo", "sparse_csr", "per_tensor_affine")),
        *(f"torch.{name}" for name in ("per_channel_affine", "per_channel_affine_float_qparams")),
        *(f"torch.{name}" for name in ("contiguous_format", "channels_last", "preserve_format")),
        *(
            f"torch.{name}Tensor"
            for name in ("Bool", "Byte", "Char", "Short", "Int", "Long", "Half", "Float", "Double")
        ),
        *("torch.Tensor", "torch._tensor.Tensor", "torch.Generator", "torch._C.Generator"),
        *(f"builtins.{name}" for name in ("bool", "dict", "float", "int", "list", "object", "str", "tuple", "type")),
        *(f"builtins.{name}" for name in ("Ellipsis", "NotImplemented")),
        # Types that pickles name and nothing calls: a scalar is made by a function of its own.
        *(f"numpy.{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
        *(f"numpy.{name}" for name in ("float16", "float32", "float64", "complex64", "complex128", "bool_", "bool")),
        *("numpy.ndarray", "numpy.generic", "numpy.str_", "numpy.bytes_", "numpy.object_", "numpy.void"),
        *(f"numpy.random._{name.lower()}.{name}" for name in ("MT19937", "PCG64", "Philox", "SFC64")),
        *("numpy.random._pcg64.PCG64DXSM", "numpy.random._generator.Generator", "numpy.random.mtrand.RandomState"),
        "numpy.random.bit_generator.SeedSequence",
        # Activations that a module keeps as an attribute.
        *(f"torch.nn.functional.{name}" for name in ("elu", "gelu", "leaky_relu", "mish", "relu", "selu", "sigmoid")),
        *(f"torch.nn.functional.{name}" for name in ("silu", "softmax", "softplus", "tanh")),
        "copyreg._reconstructor",
        "argparse.Namespace",
        "uuid.UUID",
        "torch.storage._load_from_bytes",
    }
)
# Classes of the table that may be made without arguments.
_INSTANTIABLE = frozenset({"argparse.Namespace", "uuid.UUID", "collections.OrderedDict"})
# What the table makes that may be given a state.
STATEFUL = frozenset(
    {
        "argparse.Namespace",
        "uuid.UUID",
        "random.Random",
        "types.SimpleNamespace",
        "numpy.random._pickle.__bit_generator_ctor",
        "numpy.random._pickle.__generator_ctor",
        "numpy.random._pickle.__randomstate_ctor",
        "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
        "torch._utils._rebuild_wrapper_subclass",
    }
)
_TORCH_CLASS = re.compile(r"torch\.(nn|optim)(\.[a-z_][a-z0-9_]*)*\._?[A-Z][A-Za-z0-9]*")
_MODULE = re.compile(r"[\w-]+(\.[\w-]+)*")
# Paths of classes are far shorter; what is longer cannot be shown either.
_MAX_NAME = 300


def well_formed(module: str, name: str) -> bool:
    """Say whether the two parts are what picklers write: dotted words both, the second a class in a class."""
    if len(module) + len(name) > _MAX_NAME or not _MODULE.fullmatch(module):
        return False
    return all(word.isidentifier() for word in name.split("."))


def full_name(module: str, name: str) -> str:
    """Return the full name after the renames of Python 3 and NumPy 2."""
    full = f"{_MOVED.get(module, module)}.{name}"
    return _RENAMED.get(full, full)


# More names than any honest pickle has, and few enough that hostile ones fill no memory.
@lru_cache(maxsize=4096)
def group_of(full: str) -> Group:
    """Return what is done with a full name; a torch class is one by the exact shape of its name."""
    if full in CALLS or full in _VALUES:
        return "emulated"
    if _TORCH_CLASS.fullmatch(full):
        return "torch-class"
    return "refused" if full.partition(".")[0] in _REFUSED else "placeholder"


def instantiable(full: str, args: tuple[object, ...]) -> bool:
    """Say whether a class may be instantiated with these arguments, which only code of other packages gets."""
    group = group_of(full)
    if group == "emulated":
        return full in _INSTANTIABLE and not args
    return group == "placeholder" or (group == "torch-class" and not args)
