"""How a part of a file is stored: as it is, its bytes sorted by significance, or as what changed since its parent.

Weights that were trained on differ from their parent in few bits, all in the same places: an exclusive or leaves
zeros there, and bytes of equal significance side by side let zstd find them. Each part is stored in the way that
takes least; the bytes that come out are held against a digest, so a choice can cost space and nothing else.
"""

from ckptfmt.format.frames import Encoder, decode

__all__ = ["PART", "difference", "encode_part", "restore_part", "shuffle", "unshuffle"]

# The largest part: what checkpoints of a run share is found in parts as large as this, and the index stays small.
PART = 4 << 20
# A part whose bytes this share is left of is not worth a second try.
_SETTLED = 0.02


def encode_part(encoder: Encoder, data: bytes, width: int, base: bytes | None) -> tuple[bytes, int, bool]:
    """Return (the frame, the width of what is shuffled, whether it is the difference to `base`).

    `width` is how many bytes an element takes; 1 of the result says that nothing is shuffled.
    """
    best = encoder.shrink(data), 1, False
    if base is not None:
        best = min(best, _shuffled(encoder, difference(data, base), width, True), key=_size)
    if width > 1 and len(best[0]) > _SETTLED * len(data):
        best = min(best, _shuffled(encoder, data, width, False), key=_size)
    return best


def restore_part(frame: bytes, size: int, width: int, base: bytes | None) -> bytes:
    """Return what was encoded; raise `DamagedFrame` where the frame does not hold `size` bytes."""
    plain = unshuffle(bytes(decode(frame, size)), width)
    return plain if base is None else difference(plain, base)


def difference(a: bytes, b: bytes) -> bytes:
    """Return the exclusive or of two strings of one length."""
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little")


def shuffle(data: bytes, width: int) -> bytes:
    """Return the first bytes of all elements, then their second bytes, and so on; a rest comes behind."""
    if width == 1:
        return data
    whole = len(data) - len(data) % width
    return b"".join([*(data[place:whole:width] for place in range(width)), data[whole:]])


def unshuffle(data: bytes, width: int) -> bytes:
    """Undo `shuffle`."""
    if width == 1:
        return data
    count, rest = divmod(len(data), width)
    plain = bytearray(data)
    for place in range(width):
        plain[place : len(data) - rest : width] = data[place * count : (place + 1) * count]
    return bytes(plain)


def _shuffled(encoder: Encoder, data: bytes, width: int, differs: bool) -> tuple[bytes, int, bool]:
    return encoder.shrink(shuffle(data, width)), width, differs


def _size(choice: tuple[bytes, int, bool]) -> int:
    return len(choice[0])
