"""The numbers that a training logs for TensorBoard, read from its event files without TensorBoard.

An event file is a row of records (length, checksum, data, checksum), each an `Event` message of Protocol Buffers, of
which three fields say anything here: its step, its named numbers, and whether the log begins anew from a step on. A
file that is still written ends inside of a record, a damaged one where it makes no sense any more; what was read until
then is the answer. Whoever wrote it, no more than `_MOST_BYTES` are read and `_MOST_CURVES` kept.
"""

import math
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["read_scalars", "scalar_files"]

_FILES = ".tfevents."
# A training writes a file each time it is gone on with: of more than this the newest are read.
_MOST_FILES = 32
# A scalar takes some fifty bytes in a file, so this is more than a hundred thousand of them.
_MOST_BYTES = 8 << 20
# A trainer logs a dozen values; more pictures than this nobody looks through on one page.
_MOST_CURVES = 24
# How often a training went on; each time the points read so far are looked through.
_MOST_SESSIONS = 64
# Points of a curve; a picture of it has about as many pixels.
_MOST_POINTS = 400
_LENGTH, _CHECKSUM = struct.Struct("<Q"), 4
# Kinds of values in a message: a number of any length, eight bytes, a length and bytes, four bytes.
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
# Fields of Event, Summary and Value.
_STEP, _SUMMARY, _SESSION, _VALUE, _TAG, _NUMBER = 2, 5, 7, 1, 1, 2

Curve = list[tuple[int, float]]


class _Unreadable(Exception):
    """No message goes on like this."""


def read_scalars(folder: str) -> dict[str, Curve]:
    """Return the curves in a folder of event files by their names, as (step, number), thinned out evenly.

    A folder that is not there holds none. Files are read in the order of their names, which is that of their making.
    """
    curves: dict[str, dict[int, float]] = {}
    left, sessions = _MOST_BYTES, 0
    for path in scalar_files(folder):
        data = _read(path, left)
        left -= len(data)
        for event in _events(data):
            sessions += _SESSION in event
            if sessions > _MOST_SESSIONS:
                break
            _take(curves, event)
    return {name: _thinned(sorted(points.items())) for name, points in sorted(curves.items()) if points}


def scalar_files(folder: str) -> list[str]:
    """Return the event files in a folder, the oldest first, none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            found = [entry.path for entry in entries if _FILES in entry.name and entry.is_file(follow_symlinks=False)]
    except OSError:
        return []
    # The newest, where there are too many.
    return sorted(found)[-_MOST_FILES:]


def _read(path: str, most: int) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(file, "rb") as opened:
            return opened.read(most)
    except OSError:
        return b""


def _events(data: bytes) -> Iterator[Mapping[int, Any]]:
    """Yield the messages of a file as their fields, as far as they make sense."""
    place = 0
    while place + _LENGTH.size + _CHECKSUM <= len(data):
        begin = place + _LENGTH.size + _CHECKSUM
        end = begin + _LENGTH.unpack_from(data, place)[0]
        if end + _CHECKSUM > len(data):
            return
        try:
            yield dict(_fields(data[begin:end]))
        except _Unreadable:
            return
        place = end + _CHECKSUM


def _take(curves: dict[str, dict[int, float]], event: Mapping[int, Any]) -> None:
    step = event.get(_STEP, 0)
    # Negative ones are large in two's complement.
    if not isinstance(step, int) or step >= 1 << 63:
        return
    if _SESSION in event:
        # A training that goes on says from which step: what a killed one logged behind it is logged again.
        for points in curves.values():
            for later in [known for known in points if known >= step]:
                del points[later]
    for name, number in _numbers(event.get(_SUMMARY)):
        if name in curves or len(curves) < _MOST_CURVES:
            curves.setdefault(name, {})[step] = number


def _numbers(summary: Any) -> Iterator[tuple[str, float]]:
    """Yield the named numbers of an event; pictures, texts and histograms are left out."""
    if not isinstance(summary, bytes):
        return
    try:
        for field, value in _fields(summary):
            if field != _VALUE or not isinstance(value, bytes):
                continue
            told = dict(_fields(value))
            name, number = told.get(_TAG), told.get(_NUMBER)
            if isinstance(name, bytes) and isinstance(number, float) and math.isfinite(number):
                yield name.decode("utf-8", "replace"), number
    except _Unreadable:
        return


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (number, value) of the fields of a message: whole numbers, floats of four bytes, bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        value: Any = None
        # The last three bits of a key are the kind, the others the number of the field (Protocol Buffers, Encoding).
        if key & 7 == _VARINT:
            value, place = _varint(message, place)
        elif key & 7 == _BYTES:
            size, place = _varint(message, place)
            value, place = message[place : place + size], place + size
        elif key & 7 == _FOUR and place + 4 <= len(message):
            (value,), place = struct.unpack_from("<f", message, place), place + 4
        elif key & 7 == _EIGHT:
            place += 8
        else:
            raise _Unreadable
        if place > len(message):
            raise _Unreadable
        yield key >> 3, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Return a number of seven bits a byte, and where it ends."""
    value = 0
    # Ten bytes hold 64 bits; the eighth bit of each says that another one follows.
    for shift in range(0, 64, 7):
        if place >= len(message):
            break
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise _Unreadable


def _thinned(points: Curve) -> Curve:
    each = -(-len(points) // _MOST_POINTS)
    return points[::each] if each > 1 else points
