"""Safetensors headers: read strictly, and built in the one form that a content has.

The reading follows the format as it is written down, which is stricter than its own library: the header
begins with `{`, no key comes twice, the tensors cover the file without hole or overlap.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from json.encoder import encode_basestring
from typing import Any, NamedTuple

from ckptfmt.errors import WeightsError, WrongSize, printable
from ckptfmt.format import jsontext
from ckptfmt.format.dtypes import DTYPES, bits_of
from ckptfmt.format.record import record
from ckptfmt.format.tensorcount import too_many

__all__ = [
    "MAX_HEADER",
    "MAX_RANK",
    "METADATA",
    "Header",
    "TensorInfo",
    "build_header",
    "parse_header",
    "shape_text",
    "tensor_bytes",
]

# What the library of safetensors allows.
MAX_HEADER = 100_000_000
# What our own files say of themselves; loaders of the Hugging Face family insist on a format.
METADATA = {"format": "pt"}
_METADATA = "__metadata__"
# What NumPy and torch allow, 64 both.
MAX_RANK = 64
# A product of sizes grows no further: beyond any store, and still cheap to multiply.
_MAX_BITS = 2**256


class TensorInfo(NamedTuple):
    """A stored tensor: its bytes are `begin` to `end` of the data that follows the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """Return how many bytes the tensor takes."""
        return self.end - self.begin

    @property
    def size(self) -> int:
        """Return how many elements the tensor has."""
        return math.prod(self.shape)


@record
class Header:
    """What a safetensors file says of itself: its tensors in the order of their bytes."""

    tensors: tuple[TensorInfo, ...]
    metadata: Mapping[str, str]
    data_start: int


def shape_text(shape: Iterable[int], scalar: str = "a scalar") -> str:
    """Return a shape as sentences name it: `32×4×8×8`, and one without dimensions as `scalar`."""
    return "×".join(map(str, shape)) or scalar


def tensor_bytes(dtype: str, shape: Iterable[int]) -> int:
    """Return how many bytes a tensor takes; raise `WeightsError` for an unknown dtype or a part of a byte."""
    if dtype not in DTYPES:
        raise WeightsError(f"{printable(dtype, 40)} is no dtype of safetensors", code="weights.dtype")
    bits = bits_of(dtype)
    dimensions = tuple(shape)
    if len(dimensions) > MAX_RANK:
        raise WeightsError(f"a tensor of {len(dimensions):,} dimensions", code="weights.shape")
    # Multiplied only as far as anything can be stored: each factor makes the number longer.
    if 0 not in dimensions:
        for size in dimensions:
            bits *= size
            if bits > _MAX_BITS:
                raise WeightsError("a tensor of more bytes than anything can store", code="weights.shape")
    else:
        bits = 0
    if bits % 8:
        raise WeightsError(f"a tensor of {dtype} does not fill whole bytes", code="weights.dtype")
    return bits // 8


def build_header(
    tensors: Iterable[tuple[str, str, Iterable[int]]], metadata: Mapping[str, str]
) -> tuple[bytes, tuple[TensorInfo, ...]]:
    """Return the header's bytes, length word included, and where each (name, dtype, shape) lies.

    Wider dtypes come first and names are sorted within a dtype width, so that every tensor is aligned to its
    element; the JSON has no spaces but the padding that aligns the data to 8 bytes. The order in which the
    tensors are given does not matter: the same content gives the same bytes.
    """
    widths = {dtype: -bits_of(dtype) for dtype in DTYPES}
    rows = [(widths.get(dtype, 0), name, dtype, tuple(shape)) for name, dtype, shape in tensors]
    rows.sort()
    names = {row[1] for row in rows}
    if len(names) < len(rows) or _METADATA in names:
        raise _not_a_name(rows)
    said = json.dumps(dict(sorted(metadata.items())), separators=(",", ":"), ensure_ascii=False)
    parts = [f'"{_METADATA}":{said}'] if metadata else []
    infos, begin = [], 0
    # Of a hundred thousand tensors most have one of a few forms: what is said of one is said of all.
    forms: dict[tuple[str, tuple[int, ...]], tuple[int, str]] = {}
    for _, name, dtype, shape in rows:
        if (form := forms.get((dtype, shape))) is None:
            form = forms[dtype, shape] = _form(name, dtype, shape)
        size, said = form
        end = begin + size
        infos.append(TensorInfo(name, dtype, shape, begin, end))
        parts.append(f'{encode_basestring(name)}:{{{said}"data_offsets":[{begin},{end}]}}')
        begin = end
    try:
        text = f"{{{','.join(parts)}}}".encode()
    except UnicodeEncodeError as e:
        # Of the whole header: 20 characters around tell which name it is.
        around = printable(e.object[max(0, e.start - 20) : e.end + 20])
        raise WeightsError(f"half of a surrogate pair is in the name …{around}…", code="weights.name") from None
    # Data that begins at a multiple of 8 can be mapped into memory as the widest dtype.
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise WeightsError(f"the header takes {len(text):,} bytes, more than safetensors allows")
    return len(text).to_bytes(8, "little") + text, tuple(infos)


def _not_a_name(rows: list[tuple[int, str, str, tuple[int, ...]]]) -> WeightsError:
    taken, twice = {_METADATA}, ""
    for _, twice, _, _ in rows:
        if twice in taken:
            break
        taken.add(twice)
    return WeightsError(f"'{printable(twice)}' cannot be the name of a tensor here", code="weights.name")


def _form(name: str, dtype: str, shape: tuple[int, ...]) -> tuple[int, str]:
    """Return how many bytes a tensor takes, and what a header says of its form."""
    if len(shape) > MAX_RANK:
        what = f"'{printable(name)}' has {len(shape):,} dimensions, more than the {MAX_RANK} allowed"
        raise WeightsError(what, code="weights.shape")
    return tensor_bytes(dtype, shape), f'"dtype":"{dtype}","shape":[{",".join(map(str, shape))}],'


def parse_header(read: Callable[[int, int], bytes], size: int, *, where: str) -> Header:
    """Return the header of a safetensors file of `size` bytes, read through `read(offset, size)`.

    Raises `WeightsError` for everything the format forbids, before any tensor's bytes are read.
    """
    # A file is a word of 8 bytes that says how long the header is, then the header, then the tensors.
    length = int.from_bytes(read(0, 8), "little") if size >= 8 else -1
    # The least header is {}.
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise _bad("is no safetensors file, its header does not fit into it", where)
    text = read(8, length)
    if not text.startswith(b"{"):
        raise _bad("is no safetensors file, its header does not begin with {", where)
    entries = jsontext.parse(
        text.rstrip(b" "), where=where, limit=MAX_HEADER, error=WeightsError, code="weights.header"
    )
    metadata = _metadata(entries.pop(_METADATA, {}), where)
    if surplus := too_many(len(entries)):
        raise WeightsError(surplus, where=where, code="weights.count")
    # By their ends too: an empty tensor begins where the next one does and must come before it.
    tensors = sorted((_tensor(name, entry, where) for name, entry in entries.items()), key=lambda t: (t.begin, t.end))
    _check_cover(tensors, size - 8 - length, where)
    return Header(tuple(tensors), metadata, 8 + length)


def _bad(what: str, where: str) -> WeightsError:
    return WeightsError(what, where=where, fix="copy it again or re-save it")


def _metadata(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise _bad("has metadata that is not text", where)
    return value


def _tensor(name: str, entry: Any, where: str) -> TensorInfo:
    place = f"{where}: {printable(name)}" if where else printable(name)
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _bad("a tensor is described by dtype, shape and data_offsets", place)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(offsets, list):
        raise _bad("its dtype, shape or offsets have the wrong type", place)
    if len(shape) > MAX_RANK or len(offsets) != 2:
        raise _bad("its shape or offsets have the wrong length", place)
    if not _counts(shape) or not _counts(offsets):
        raise _bad("its dtype, shape or offsets have the wrong type", place)
    begin, end = offsets
    try:
        size = tensor_bytes(dtype, shape)
    except WeightsError as e:
        raise e.but(where=place) from None
    if end - begin != size:
        raise _bad(f"has {end - begin:,} bytes, its dtype and shape need {size:,}", place)
    return TensorInfo(name, dtype, tuple(shape), begin, end)


def _counts(value: list[Any]) -> bool:
    return all(type(item) is int and item >= 0 for item in value)


def _check_cover(tensors: list[TensorInfo], data: int, where: str) -> None:
    position = 0
    for tensor in tensors:
        if tensor.begin != position:
            kind = "overlaps the tensor before it" if tensor.begin < position else "leaves a hole before it"
            raise _bad(f"{printable(tensor.name)} {kind}", where)
        position = tensor.end
    if position != data:
        kind = "is truncated" if position > data else "has bytes that belong to no tensor"
        raise WrongSize(
            f"{kind}: its tensors take {position:,} bytes, the file has {data:,}",
            where=where,
            fix="copy it again or re-save it",
        )
