"""What goes into one safetensors file, before it is written: tensors, shared names, and the form it is to have."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import NamedTuple, Protocol

from ckptfmt.errors import WrongSize, printable
from ckptfmt.format.manifest import Slice
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import METADATA, TensorInfo, build_header
from ckptfmt.store.write.readback import BLOCK

__all__ = ["Arranged", "Compression", "Payload", "TensorFile"]

# How many tensors are looked at to tell whether compressing a file would pay.
_SAMPLED = 16
# Levels above it take windows that readers refuse.
_HIGHEST = 19
Arranged = tuple[bytes, tuple[TensorInfo, ...]]


class Payload(Protocol):
    """A tensor about to be stored: its dtype (a safetensors name), its shape, its bytes in parts."""

    @property
    def dtype(self) -> str:
        """Return the safetensors name of the dtype."""

    @property
    def shape(self) -> Sequence[int]:
        """Return the dimensions."""

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Return the bytes, row-major and little-endian, in parts."""


@record
class Compression:
    """How a file is compressed: at a zstd level, and only where it gets smaller by the share `least` at least.

    In a file that does, frames that would not, such as those of a target network, hold their bytes as they are.
    The level of a save is 1: of a Pong checkpoint with replay it makes 0.5 % more than 3, in two thirds of the time.
    The weights in it get 8 % smaller, since mantissas are noise: not worth it that every reader unpacks them.
    """

    level: int = 1
    least: float = 0.1

    def __post_init__(self) -> None:
        if not 1 <= self.level <= _HIGHEST:
            raise ValueError(f"level is {self.level}, it must be 1 to {_HIGHEST}")

    def most(self, plain: int) -> float:
        """Return how many bytes the compressed form of a file of `plain` bytes may have."""
        return (1 - self.least) * plain


class Shaped(NamedTuple):
    """What is known of a tensor before it is stored."""

    dtype: str
    shape: tuple[int, ...]


@record
class TensorFile:
    """What goes into one safetensors file; `tied` maps names that are not stored to the stored name they share.

    `slices` says of which tensors, and where in them, those are a part that are not whole.
    """

    tensors: Mapping[str, Payload]
    tied: Mapping[str, str] = field(default_factory=dict)
    compression: Compression | None = None
    slices: Mapping[str, Slice] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Return how many tensors the file lists, tied names among them."""
        return len(self.tensors) + len(self.tied)

    def whole(self) -> dict[str, "Shaped"]:
        """Return every tensor by name, tied ones included, of slices what they are a part of."""
        shaped = {
            name: Shaped(tensor.dtype, tuple(self.slices[name].of if name in self.slices else tensor.shape))
            for name, tensor in self.tensors.items()
        }
        return {**shaped, **{name: shaped[kept] for name, kept in self.tied.items()}}

    def arranged(self) -> Arranged:
        """Return the header's bytes and where each tensor lies behind it."""
        return build_header(((name, p.dtype, tuple(p.shape)) for name, p in self.tensors.items()), METADATA)

    def parts(self, arranged: Arranged, where: str) -> Iterator[memoryview]:
        """Return the bytes of the whole file as it is `arranged`, in parts that cross no border of a tensor.

        Raises `WrongSize`, said of `where`, for a tensor that gives more or fewer bytes than its shape says.
        """
        header, infos = arranged
        yield memoryview(header)
        yield from self.body(infos, where)

    def body(self, infos: Iterable[TensorInfo], where: str) -> Iterator[memoryview]:
        """Return the tensors' bytes in the order of the file, in parts of at most a block; raises as `parts`."""
        for info in infos:
            size = 0
            for chunk in self.tensors[info.name].chunks():
                whole = memoryview(chunk).cast("B")
                size += len(whole)
                yield from (whole[start : start + BLOCK] for start in range(0, len(whole), BLOCK))
            if size != info.nbytes:
                what = f"{printable(info.name)} gave {size:,} bytes, its shape needs {info.nbytes:,}"
                raise WrongSize(what, where=where)

    def samples(self, infos: Sequence[TensorInfo]) -> Iterator[tuple[int, memoryview]]:
        """Return the sizes of the largest tensors, with their first bytes."""
        for info in sorted(infos, key=lambda info: -info.nbytes)[:_SAMPLED]:
            first = next(iter(self.tensors[info.name].chunks()), b"")
            yield info.nbytes, memoryview(first).cast("B")
