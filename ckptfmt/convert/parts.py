"""Weights that a file keeps in parts: pruned, weight-normalised and spectrally normalised ones, put together.

Each follows exactly from its parts, as torch computes it where a network plays. Numbers are computed in double
precision and rounded once.
"""

import math
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import mul

from ckptfmt.format.dtypes import DTYPES
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.blocks import MemoryBlock
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage
from ckptfmt.legacy.pickle.ndarray import strides_of

__all__ = ["Room", "Whole", "dense", "wholes"]

_CODES = {name: DTYPES[name].struct for name in ("F32", "F64")}
# More numbers than this are not computed here, in plain Python.
_MOST = 1 << 24


@record
class Whole:
    """A weight put together: its name, the names of its parts, the first of which gives it its place, and why."""

    name: str
    parts: tuple[str, ...]
    tensor: LegacyTensor
    reason: str


@dataclass(slots=True)
class Room:
    """How many numbers may still be computed for one source."""

    numbers: int = _MOST

    def take(self, tensors: Iterable[LegacyTensor]) -> bool:
        """Say whether weights may be put together of these tensors."""
        self.numbers -= sum(tensor.size for tensor in tensors)
        return self.numbers >= 0


def wholes(tensors: Mapping[str, LegacyTensor], room: Room) -> Iterator[Whole]:
    """Yield each weight that can be put together of tensors by these names, as far as there is room."""
    for name in tensors:
        for pattern, others, join, reason in _RECIPES:
            found = pattern.fullmatch(name)
            if found is None:
                continue
            parts = (name, *(found.expand(other) for other in others))
            plain = found["stem"] + found["leaf"]
            held = [tensors[part] for part in parts if part in tensors]
            # Where the plain weight is there as well, it is the one that the network uses.
            if len(held) < len(parts) or plain in tensors or not room.take(held):
                continue
            if (made := join(*held)) is not None:
                yield Whole(plain, parts, made, reason)
                break


def dense(data: bytes, dtype: str, shape: tuple[int, ...]) -> LegacyTensor:
    """Return a tensor over bytes in memory."""
    storage = Storage("made", dtype, MemoryBlock(data))
    return LegacyTensor(dtype, shape, strides_of(shape), 0, storage)


def _pruned(weight: LegacyTensor, mask: LegacyTensor) -> LegacyTensor | None:
    """weight · mask, as `torch.nn.utils.prune` computes it."""
    numbers, factors = _numbers(weight), _numbers(mask)
    if numbers is None or factors is None or weight.shape != mask.shape:
        return None
    return _rounded(map(mul, numbers, factors), weight)


def _normed(direction: LegacyTensor, length: LegacyTensor) -> LegacyTensor | None:
    """length · direction / |direction|, row by row (Salimans and Kingma 2016, equation 2)."""
    numbers, lengths = _numbers(direction), _numbers(length)
    rows = direction.shape[0] if direction.shape else 0
    # torch normalises over all dimensions but the first, and keeps them with a size of 1.
    if numbers is None or lengths is None or length.shape != (rows, *(1,) * (len(direction.shape) - 1)) or not rows:
        return None
    size = len(numbers) // rows
    made = array("d")
    for i, length_ in enumerate(lengths):
        row = numbers[i * size : (i + 1) * size]
        norm = math.sqrt(math.fsum(map(mul, row, row)))
        # A direction of zeros gives 0 / 0 in torch too.
        made.extend(x * length_ / norm if norm else math.nan for x in row)
    return _rounded(made, direction)


def _spectral(weight: LegacyTensor, left: LegacyTensor, right: LegacyTensor) -> LegacyTensor | None:
    """weight / (leftᵀ · weight · right), the weight as a matrix (Miyato et al. 2018, equation 8)."""
    numbers, u, v = _numbers(weight), _numbers(left), _numbers(right)
    rows = weight.shape[0] if weight.shape else 0
    if numbers is None or u is None or v is None or not rows or len(u) != rows or len(u) * len(v) != len(numbers):
        return None
    size = len(v)
    sigma = math.fsum(x * math.fsum(map(mul, numbers[i * size : (i + 1) * size], v)) for i, x in enumerate(u))
    return _rounded((x / sigma for x in numbers), weight) if sigma else None


def _numbers(tensor: LegacyTensor) -> Sequence[float] | None:
    if tensor.dtype not in _CODES or tensor.size > _MOST:
        return None
    found = array(_CODES[tensor.dtype])
    # At most 8 bytes a number, which `tensor.size` has bounded above.
    found.frombytes(tensor.read(8 * _MOST))
    return found


def _rounded(numbers: Iterator[float] | Sequence[float], like: LegacyTensor) -> LegacyTensor:
    return dense(array(_CODES[like.dtype], numbers).tobytes(), like.dtype, like.shape)


_Join = Callable[..., LegacyTensor | None]
_STEM, _LEAF = r"(?P<stem>(?:.*\.)?)", r"(?P<leaf>[^.]+)"
# The first part of a weight, its other parts, how they are put together, and what is said of them: hooks, then
# parametrizations.
_RECIPES: tuple[tuple[re.Pattern[str], tuple[str, ...], _Join, str], ...] = (
    (re.compile(rf"{_STEM}{_LEAF}_orig"), (r"\g<stem>\g<leaf>_mask",), _pruned, "a part of a pruned weight"),
    (
        re.compile(rf"{_STEM}{_LEAF}_orig"),
        (r"\g<stem>\g<leaf>_u", r"\g<stem>\g<leaf>_v"),
        _spectral,
        "a part of a spectrally normalised weight",
    ),
    (re.compile(rf"{_STEM}{_LEAF}_v"), (r"\g<stem>\g<leaf>_g",), _normed, "a part of a normalised weight"),
    (
        re.compile(rf"{_STEM}parametrizations\.{_LEAF}\.original1"),
        (r"\g<stem>parametrizations.\g<leaf>.original0",),
        _normed,
        "a part of a normalised weight",
    ),
    (
        re.compile(rf"{_STEM}parametrizations\.{_LEAF}\.original"),
        (r"\g<stem>parametrizations.\g<leaf>.0._u", r"\g<stem>parametrizations.\g<leaf>.0._v"),
        _spectral,
        "a part of a spectrally normalised weight",
    ),
)
