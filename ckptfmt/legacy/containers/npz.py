"""Archives of NumPy arrays: `.npz`, a zip whose records are `.npy` files.

The header of a `.npy` file is a Python dict literal, which NumPy evaluates. Here a small grammar reads exactly
the three keys it may have (numpy.lib.format, versions 1.0 to 3.0).
"""

import math
import re
from typing import NoReturn

from ckptfmt.errors import SourceError, TooCostly, UnsafeSource, printable
from ckptfmt.legacy.bytes.blocks import Block, Window
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.containers.reading import Reading, within
from ckptfmt.legacy.containers.zip import Archive
from ckptfmt.legacy.pickle.ndarray import array_of, dtype_of

__all__ = ["is_npz", "read_npz"]

_MAGIC = b"\x93NUMPY"
# NumPy's own limit for headers that it does not trust.
_MAX_HEADER = 10_000
# NumPy's limit when these versions of the format were written.
_MAX_RANK = 32
_ENTRY = re.compile(
    r"""\s*(['"])(?P<key>descr|fortran_order|shape)\1\s*:\s*
    (?:(?P<text>'[^'\\]*'|"[^"\\]*")|(?P<flag>True|False)|(?P<tuple>\([0-9,\sL]*\))|(?P<other>\[[^{}]*\]))
    \s*(?:,|(?=\}))""",
    re.VERBOSE,
)
_SHAPE = re.compile(r"\(\s*(?:[0-9]{1,19}L?\s*,\s*)*(?:[0-9]{1,19}L?\s*)?\)")
_PLAIN = re.compile(r"[<>|=]?[a-zA-Z][0-9]{1,4}")


def is_npz(archive: Archive) -> bool:
    """Return whether an archive holds nothing but `.npy` records."""
    return bool(archive.entries) and all(name.endswith(".npy") for name in archive.entries)


def read_npz(archive: Archive, reading: Reading) -> dict[str, LegacyTensor]:
    """Return the arrays of numbers by their names; texts and dates are left out with a warning.

    Raises `SourceError` for damaged records, and `UnsafeSource` for arrays of Python objects, which are pickles
    and left out too where the user said so.
    """
    arrays: dict[str, LegacyTensor] = {}
    for name in archive.entries:
        with within(name):
            array = _read_npy(reading.open(archive, name), allow_unsafe=reading.allow_unsafe)
        if array is None:
            reading.warn("source.skipped", name, "is no array of numbers and was left out")
        else:
            arrays[name.removesuffix(".npy")] = array
    return arrays


def _read_npy(block: Block, *, allow_unsafe: bool) -> LegacyTensor | None:
    """Return the one array of a `.npy` file, or None where it is not of numbers that safetensors holds."""
    descr, fortran, shape, start = _header(block)
    if "O" in descr and not allow_unsafe:
        raise UnsafeSource("is an array of Python objects, which is a pickle", fix="save arrays of numbers alone")
    if not _PLAIN.fullmatch(descr):
        return None
    return array_of(shape, dtype_of((descr,)), Window(block, start, block.size - start), fortran=fortran)


def _refuse(what: str, fix: str = "re-save it with numpy.savez", code: str = "source.damaged") -> NoReturn:
    raise SourceError(what, fix=fix, code=code)


def _refuse_cost(what: str) -> NoReturn:
    raise TooCostly(what, fix="re-save it with numpy.savez")


def _header(block: Block) -> tuple[str, bool, tuple[int, ...], int]:
    """Return the dtype, whether columns come first, the shape, and where the data begin."""
    start = block.read(0, min(12, block.size))
    # Magic, two bytes of a version, then the header's length: two bytes in version 1, four since.
    if len(start) < 12 or not start.startswith(_MAGIC) or start[6] not in (1, 2, 3) or start[7] != 0:
        _refuse("is no .npy file of the versions 1.0 to 3.0")
    width = 2 if start[6] == 1 else 4
    size = int.from_bytes(start[8 : 8 + width], "little")
    if size > _MAX_HEADER:
        _refuse_cost(f"has a header of {size:,} bytes")
    # Version 3 is for names of fields that Latin-1 does not have.
    text = block.read(8 + width, size).decode("utf-8" if start[6] == 3 else "latin-1", "replace").strip()
    descr, fortran, shape = _fields(text)
    return descr, fortran, shape, 8 + width + size


def _fields(text: str) -> tuple[str, bool, tuple[int, ...]]:
    found: dict[str, tuple[str, str]] = {}
    at = 1 if text.startswith("{") and text.endswith("}") else len(text) + 1
    while match := _ENTRY.match(text, at):
        if match["key"] in found or match.lastgroup is None:
            break
        found[match["key"]] = (match.lastgroup, match[match.lastgroup])
        at = match.end()
    rest = text[at:].strip()
    kinds = {key: kind for key, (kind, _) in found.items()}
    if rest != "}" or kinds.get("fortran_order") != "flag" or kinds.get("descr") not in ("text", "other"):
        _refuse(f"has a header that cannot be read: {printable(text, 80)}")
    if kinds.get("shape") != "tuple" or not _SHAPE.fullmatch(found["shape"][1]):
        _refuse(f"has a shape that cannot be read: {printable(text, 80)}")
    shape = tuple(int(digits) for digits in re.findall(r"[0-9]+", found["shape"][1]))
    # Eight bytes for each of 2^62 elements are more than a 64-bit size holds.
    if len(shape) > _MAX_RANK or math.prod(shape) >> 62:
        _refuse_cost("has a shape that no array has")
    return found["descr"][1].strip("'\""), found["fortran_order"][1] == "True", shape
