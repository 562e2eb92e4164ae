"""A recorded game: what was seen, done and earned at each step, and what the network said.

The file is a safetensors file in the compressed form of the format, so `zstd -d` gives one that any reader opens.
Its metadata tell under `ckptfmt.trace` what was played, as one JSON document. Nothing of it is believed: shapes are
held against one another before a byte of them is read, and a step is read without the others.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ckptfmt.errors import CkptError, WeightsError, printable
from ckptfmt.format import jsontext
from ckptfmt.format.datafile import DataFile
from ckptfmt.format.dtypes import DTYPES
from ckptfmt.format.files import open_file, open_near, release
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import Header, TensorInfo, build_header, parse_header, shape_text

__all__ = ["OUTPUT", "SALIENCIES", "TRACE", "BadTrace", "Saliency", "Told", "Trace", "open_trace", "trace_bytes"]

# How the maps of what a choice depends on are made.
Saliency = Literal["gradient", "occlusion", "none"]
SALIENCIES: tuple[Saliency, ...] = ("gradient", "occlusion", "none")
OUTPUT = "outputs."
# By this the site finds traces in a folder; any name will do elsewhere.
TRACE = ".trace"
_KEY = "ckptfmt.trace"
_VERSION = 1
# A trace is written once, after the game, and sent to others: it may take its time to be small.
_LEVEL = 9
# How many bytes of frames are in memory at a time.
_BLOCK = 4 << 20
# A game of a hundred thousand steps takes two hours; what claims more is no recording of one.
_MOST_STEPS = 100_000
# More than any screen that is recorded, and a picture of it is still decoded at once.
_MOST_SIDE = 2048
# No network says more than this about one step: 18 actions of 200 quantiles are a twentieth of it.
_MOST_VALUES = 1 << 16
# What it tells of itself takes a few kilobytes.
_MOST_METADATA = 1 << 20
# Each action gets a bar of its own on the page; Atari has 18, a humanoid some dozens of joints.
_MOST_ACTIONS = 4096
_DTYPES = {name: DTYPES[name].numpy for name in ("U8", "I64", "F32")}


class BadTrace(CkptError, ValueError):
    """What should be a trace is none, or contradicts itself."""

    code = "trace.damaged"


@record
class Told:
    """What a trace tells of itself.

    `content_digest` is that of the weights that played, `actions` are the names of the actions, `saliency` is how
    the maps were made, "" for none, and `saliency_every` at which steps.
    """

    name: str = ""
    content_digest: str = ""
    network: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    actions: tuple[str, ...] = ()
    saliency: str = ""
    saliency_every: int = 1
    # Atari gives 60 frames a second, of which an agent sees every fourth.
    frames_per_second: float = 15.0
    created_at: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what is told as plain data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"actions": list(self.actions)}


class Trace:
    """A trace, opened; each array has one row a step.

    "actions" are numbers (steps,) of discrete actions or (steps, dimensions), `rewards` (steps,), `episodes` (steps,)
    the number of the episode a step belongs to. Nothing is read before it is asked for: who looks for the network that
    played needs what the trace tells and no array of it.
    """

    def __init__(self, file: DataFile, told: Told, header: Header) -> None:
        self._file, self._start = file, header.data_start
        self._tensors = {tensor.name: tensor for tensor in header.tensors}
        self.told = told
        self.steps = self._tensors["rewards"].shape[0]

    @cached_property
    def rewards(self) -> NDArray[Any]:
        """Return the reward of each step; raises as `rows`."""
        return self.rows("rewards", 0, self.steps)

    @cached_property
    def episodes(self) -> NDArray[Any]:
        """Return the number of the episode of each step; raises as `rows`."""
        return self.rows("episodes", 0, self.steps)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of what the network said, in their order."""
        return tuple(sorted(name.removeprefix(OUTPUT) for name in self._tensors if name.startswith(OUTPUT)))

    def has(self, name: str) -> bool:
        """Return whether there is an array of that name."""
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array."""
        return self._tensors[name].shape

    def rows(self, name: str, start: int, end: int) -> NDArray[Any]:
        """Return some rows of an array; raise `BadTrace` where they are damaged."""
        tensor = self._tensors[name]
        shape = (max(0, min(end, tensor.shape[0]) - start), *tensor.shape[1:])
        dtype = np.dtype(_DTYPES[tensor.dtype])
        row = math.prod(shape[1:]) * dtype.itemsize
        try:
            data = self._file.read(self._start + tensor.begin + start * row, shape[0] * row)
        except WeightsError as e:
            raise BadTrace(e.what, where=self._file.where, fix="record it again") from None
        return np.frombuffer(data, dtype).reshape(shape)

    def each(self, name: str, start: int, end: int) -> Iterator[NDArray[Any]]:
        """Yield some rows of an array one by one, a few megabytes of them in memory; raises as `rows`."""
        tensor = self._tensors[name]
        size = max(1, tensor.nbytes // max(1, tensor.shape[0]))
        count = max(1, _BLOCK // size)
        for begin in range(start, end, count):
            yield from self.rows(name, begin, min(end, begin + count))


@contextmanager
def open_trace(path: str | os.PathLike[str]) -> Iterator[Trace]:
    """Give a trace; raise `BadTrace` where the file is none or its arrays do not fit together."""
    # The one import that waits: pages without a trace need no zstd.
    from ckptfmt.format.compressed import open_by_table

    place = os.fspath(path)
    try:
        with open_by_table(*_open(place), place) as file:
            header = parse_header(file.read, file.size, where=place)
            told = _told(header.metadata, place)
            _check({tensor.name: tensor for tensor in header.tensors}, told, place)
            yield Trace(file, told, header)
    except WeightsError as e:
        raise BadTrace(f"is no trace, or a damaged one: {e.what}", where=place, fix="record it again") from None


def _open(path: str) -> tuple[int, int]:
    parent, name = os.path.split(os.path.abspath(path))
    folder = open_near(parent)
    try:
        return open_file(folder, name, where=parent)
    except WeightsError as e:
        raise CkptError(e.what, where=path, fix="check the path", code=e.code) from None
    finally:
        release(folder)


def trace_bytes(told: Told, arrays: Mapping[str, NDArray[Any]]) -> Iterator[bytes]:
    """Yield the bytes of a trace, in order; `arrays` are of the dtypes uint8, int64 and float32."""
    # The other place that needs zstd.
    from ckptfmt.format.frames import PART, Encoder

    kinds = {np.dtype(code): name for name, code in _DTYPES.items()}
    text = json.dumps({"version": _VERSION, **told.to_dict()}, ensure_ascii=False)
    header, infos = build_header(
        ((name, kinds[array.dtype], array.shape) for name, array in arrays.items()), {"format": "np", _KEY: text}
    )
    encoder = Encoder(_LEVEL)
    parts = (np.ascontiguousarray(arrays[info.name]).reshape(-1).view(np.uint8).data for info in infos)
    for plain in (memoryview(header), *parts):
        for begin in range(0, len(plain), PART):
            yield encoder.frame(plain[begin : begin + PART])
    yield encoder.end()


def _told(metadata: Mapping[str, str], where: str) -> Told:
    if _KEY not in metadata:
        raise BadTrace("is a file of tensors, but no trace", where=where, fix="record one with ckpt play")
    said = jsontext.parse(
        metadata[_KEY].encode(), where=where, limit=_MOST_METADATA, error=BadTrace, code=BadTrace.code
    )
    if not isinstance(said, dict) or said.get("version") != _VERSION:
        raise BadTrace("is a trace of another version", where=where, fix="use a newer ckptfmt, or record it again")
    plain = Told()
    given = {name: said[name] for name in Told.__dataclass_fields__ if name in said}
    if isinstance(given.get("actions"), list):
        given["actions"] = tuple(given["actions"])
    for name, value in given.items():
        like = getattr(plain, name)
        kind = (int, float) if isinstance(like, float) else Mapping if isinstance(like, Mapping) else type(like)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise BadTrace(f"its {name} is of the wrong type", where=where, fix="record it again")
    told = Told(**given)
    names = all(isinstance(name, str) for name in told.actions) and len(told.actions) <= _MOST_ACTIONS
    if not names or not told.frames_per_second > 0 or told.saliency_every < 1:
        raise BadTrace("its metadata contradicts itself", where=where, fix="record it again")
    return told


def _check(tensors: Mapping[str, TensorInfo], told: Told, where: str) -> None:
    """Raise `BadTrace` unless the arrays are those of one recording."""

    def require(found: bool, name: str) -> None:
        if not found:
            shape = f", {shape_text(tensors[name].shape)}" if name in tensors else ""
            raise BadTrace(
                f"'{printable(name, 60)}' has another shape or dtype than in a trace{shape}",
                where=where,
                fix="record it again",
            )

    def is_of(name: str, dtype: str, rank: int) -> bool:
        return name in tensors and tensors[name].dtype == dtype and len(tensors[name].shape) == rank

    require(is_of("rewards", "F32", 1), "rewards")
    (steps,) = tensors["rewards"].shape
    require(0 < steps <= _MOST_STEPS, "rewards")
    require(is_of("episodes", "I64", 1), "episodes")
    require(is_of("actions", "I64", 1) or is_of("actions", "F32", 2), "actions")
    for name, tensor in tensors.items():
        rows = -(-steps // told.saliency_every) if name == "saliency" else steps
        require(bool(tensor.shape) and tensor.shape[0] == rows and tensor.dtype in _DTYPES, name)
        if name == "frames":
            # Steps, height, width and three colours.
            require(is_of(name, "U8", 4) and tensor.shape[3] == 3 and _drawable(tensor.shape[1:3]), name)
        elif name == "saliency":
            # Steps, height, width: how much each place matters, from 0 to 255.
            require(is_of(name, "U8", 3) and _drawable(tensor.shape[1:]), name)
        elif name == "observations":
            # Five at most: steps, frames of a stack, channels, height, width.
            require(0 < math.prod(tensor.shape[1:]) <= _MOST_SIDE**2 and len(tensor.shape) <= 5, name)
        else:
            known = name in ("rewards", "episodes", "actions", "support") or name.startswith(OUTPUT)
            most = _MOST_ACTIONS if name == "actions" else _MOST_VALUES
            require(known and 0 < math.prod(tensor.shape[1:]) <= most, name)


def _drawable(sides: tuple[int, ...]) -> bool:
    return all(0 < side <= _MOST_SIDE for side in sides)
