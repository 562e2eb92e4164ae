"""PNG images (W3C Recommendation, third edition) of 8 bits a channel, made with zlib alone."""

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["encode_png", "png_uri"]


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return the PNG of (height, width, 3) colours."""
    height, width, _ = pixels.shape
    # Eight bits a channel, colours without transparency, the one way of packing and filtering that there is, rows in
    # their order.
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    # Each row begins with its filter; none is the smallest for pictures of flat tiles.
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, width * 3)], axis=1)
    data = zlib.compress(rows.tobytes())
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def png_uri(pixels: NDArray[Any]) -> str:
    """Return the PNG as a data URI, to lie inside a page."""
    return "data:image/png;base64," + base64.b64encode(encode_png(pixels)).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
