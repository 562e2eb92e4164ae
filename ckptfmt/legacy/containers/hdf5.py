"""A program of its own that writes the arrays of an HDF5 file as safetensors, and the texts of its attributes beside.

    python -m ckptfmt.legacy.containers.hdf5 LIMIT < FILE > OUT

The library of HDF5 is written in C, and files were made that let it write where it should not. So it runs in a process
that has nothing but the file's own bytes, and may take so much memory and time and no more; links to other files,
filters that are loaded as plug-ins and arrays that lie elsewhere are refused before anything of them is read.
What goes wrong is a line of JSON on standard error: what, and the code of the problem.
"""

import io
import json
import math
import resource
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import h5py
import numpy as np

from ckptfmt.format.dtypes import by_numpy
from ckptfmt.format.safetensors import build_header

__all__ = ["REFUSED", "main"]

# The exit status of a refusal that is told on standard error.
REFUSED = 3
# Layers of agents nest some levels deep; a model of a thousand layers has some thousands of arrays.
_MOST_DEPTH, _MOST_OBJECTS = 24, 20_000
# HDF5 itself knows no more (H5S_MAX_RANK).
_MOST_RANK = 32
# Names of layers and weights, some hundred bytes for each.
_MOST_TEXT = 16 << 20
# Of the processor: the file of an agent takes a fraction of one, and one that keeps the library busy must end. A
# second unpacks some hundred megabytes.
_SECONDS, _A_SECOND = 8, 64 << 20
# What the library takes beside the file and two copies of an array, and what an interpreter has taken where the
# system does not tell.
_MEMORY, _BEGUN = 256 << 20, 2 << 30
# Filters of the library itself (gzip, shuffle, Fletcher's checksum); all others may be plug-ins.
_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32})


class _RefusedError(Exception):
    """What a file has that is not read, and the code of the problem."""


def _refuse(what: str, code: str = "source.damaged") -> NoReturn:
    raise _RefusedError(what, code)


def main() -> int:
    """Read a file from standard input and write what it holds; return the exit status."""
    limit = int(sys.argv[1])
    data = sys.stdin.buffer.read()
    memory = _begun() + _MEMORY + 2 * len(data) + 2 * limit
    seconds = _SECONDS + limit // _A_SECOND
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            _write(file, limit)
    except _RefusedError as e:
        return _told(*e.args)
    except MemoryError:
        return _told("takes more memory to read than any file of its size should", "source.limit")
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as e:
        # The library names its own functions and lines; its first words are enough.
        return _told(f"is no HDF5 file that can be read ({type(e).__name__})", "source.damaged")
    return 0


def _begun() -> int:
    """Return the address space that the process has taken by now, with all that it has imported."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return _BEGUN


def _told(what: str, code: str) -> int:
    sys.stderr.write(json.dumps({"what": what, "code": code}) + "\n")
    return REFUSED


def _write(file: Any, limit: int) -> None:
    elements = by_numpy()
    texts: dict[str, Any] = {}
    arrays: dict[str, tuple[Any, str]] = {}
    total = length = 0
    for path, item in _objects(file):
        found = _texts(item)
        length += sum(len(text) for value in found.values() for text in value)
        if length > _MOST_TEXT:
            _refuse(f"holds more than {_MOST_TEXT >> 20} MiB of text", "source.limit")
        if found:
            texts[path] = found
        if isinstance(item, h5py.Dataset):
            stored = elements.get(f"{item.dtype.kind}{item.dtype.itemsize}")
            _check(path, item)
            if stored is None:
                texts.setdefault("", {}).setdefault("skipped", []).append(path)
                continue
            total += _unpacked(item)
            if total > limit:
                _refuse(f"unpacks to more than {limit:,} bytes, which no honest file of its size does",
                        "source.limit")  # fmt: skip
            arrays[path] = item, stored
    header, infos = build_header(
        [(name, stored, item.shape) for name, (item, stored) in arrays.items()], {"hdf5": json.dumps(texts)}
    )
    sys.stdout.buffer.write(header)
    for info in infos:
        item, _ = arrays[info.name]
        data = np.ascontiguousarray(item[()], dtype=item.dtype.newbyteorder("<"))
        if data.nbytes != info.nbytes:
            _refuse(f"'{info.name}' is not as long as it says")
        sys.stdout.buffer.write(data.reshape(-1).view(np.uint8).data)


def _unpacked(item: Any) -> int:
    """Return the bytes that are unpacked to read an array: that of whole chunks, which may reach far beyond it."""
    shape = item.shape or ()
    chunks = item.chunks or (1,) * len(shape)
    reach = (-(-size // chunk) * chunk for size, chunk in zip(shape, chunks, strict=True))
    return int(math.prod(reach) * item.dtype.itemsize)


def _objects(file: Any) -> Iterator[tuple[str, Any]]:
    """Yield the path of each group and array once, with it; raise for what leads elsewhere."""
    waiting: list[tuple[str, Any, int]] = [("", file, 0)]
    seen = set()
    count = 0
    while waiting:
        path, item, depth = waiting.pop()
        yield path, item
        if not isinstance(item, h5py.Group):
            continue
        for name in item:
            inner = f"{path}/{name}" if path else name
            count += 1
            if count > _MOST_OBJECTS or depth >= _MOST_DEPTH:
                _refuse(f"holds more than {_MOST_OBJECTS:,} arrays, or {_MOST_DEPTH} groups in one another",
                        "source.limit")  # fmt: skip
            if not isinstance(item.get(name, getlink=True), h5py.HardLink):
                _refuse(f"'{inner}' is a link to another place or file", "source.damaged")
            below = item[name]
            where = h5py.h5o.get_info(below.id).addr
            if where in seen:
                _refuse(f"'{inner}' is one array or group under two names", "source.damaged")
            seen.add(where)
            if isinstance(below, h5py.Group | h5py.Dataset):
                waiting.append((inner, below, depth + 1))


def _check(path: str, item: Any) -> None:
    """Refuse an array whose numbers lie in other files, or come through code that is loaded for them."""
    made = item.id.get_create_plist()
    if item.is_virtual or made.get_external_count():
        _refuse(f"'{path}' lies in other files")
    filters = [made.get_filter(i)[0] for i in range(made.get_nfilters())]
    if set(filters) - _FILTERS:
        _refuse(f"'{path}' is packed by a filter that is not read here", "source.dtype")
    # Packed twice, a thousandth becomes a millionth.
    if len(filters) != len(set(filters)):
        _refuse(f"'{path}' is packed by one filter twice", "source.limit")
    if len(item.shape or ()) > _MOST_RANK:
        _refuse(f"'{path}' has more than {_MOST_RANK} dimensions")


def _texts(item: Any) -> dict[str, list[str]]:
    """Return the attributes that are texts or lists of them, each as a list."""
    found = {}
    for name in item.attrs:
        shape = item.attrs.get_id(name).shape
        # A text of one length takes that for each; what no list of names is as long as is not read at all.
        if len(shape or ()) > 1 or (shape and shape[0] > _MOST_OBJECTS):
            continue
        value = item.attrs[name]
        values = [value] if isinstance(value, str | bytes) else value.tolist() if hasattr(value, "tolist") else []
        values = values if isinstance(values, list) else [values]
        if values and all(isinstance(text, str | bytes) for text in values):
            found[name] = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in values]
    return found


if __name__ == "__main__":
    sys.exit(main())
