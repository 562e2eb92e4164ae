"""Stored tensors as blocks of numbers: bounded memory, whatever the tensor's size."""

from collections.abc import Iterable, Iterator

import numpy as np

from ckptfmt.format.dtypes import bits_of
from ckptfmt.format.tensors import decode

__all__ = ["BLOCK", "block_bytes", "blocks", "has_numbers", "widen"]

# Elements of a block: what is computed of one stays in the processor's cache, and in memory that is used anew.
BLOCK = 1 << 14


def has_numbers(dtype: str) -> bool:
    """Return whether elements of this dtype can be decoded; those of less than a byte cannot."""
    return bits_of(dtype) >= 8


def block_bytes(dtype: str) -> int:
    """Return how many bytes a block of `BLOCK` elements takes."""
    return BLOCK * bits_of(dtype) // 8


def blocks(chunks: Iterable[bytes | bytearray | memoryview], size: int) -> Iterator[bytes]:
    """Cut a tensor's bytes anew into blocks of `size` bytes, the last one shorter."""
    rest = bytearray()
    for chunk in chunks:
        if not rest and len(chunk) == size:
            yield bytes(chunk)
            continue
        rest += chunk
        whole = len(rest) - len(rest) % size
        for start in range(0, whole, size):
            yield bytes(rest[start : start + size])
        del rest[:whole]
    if rest:
        yield bytes(rest)


def widen(data: bytes, dtype: str) -> np.ndarray:
    """Return stored elements as float64, complex ones as complex128; both hold any of 32 bits exactly."""
    width = bits_of(dtype) // 8
    values = decode(data, dtype, (len(data) // width,))
    return values.astype("c16" if values.dtype.kind == "c" else "f8")
