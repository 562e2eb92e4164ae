"""Hold the bytes of a checkpoint's files against its manifest, so that no flipped bit stays hidden.

A file is its header and its tensors, without a gap. The header has exactly one form for the tensors that the
manifest lists, so its bytes are compared with that form; each tensor's bytes are hashed with BLAKE3. Together
that is every byte of the file. The SHA-256 that the manifest claims for the file says nothing new of the bytes, but
others believe it, so it is computed too, beside the rest. The search for NaN is done where it costs next to
nothing, for files of up to `THOROUGH` bytes, and for all files where a strict answer was asked for.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

from ckptfmt.errors import Problem, WeightsError, WrongSize, printable
from ckptfmt.format.datafile import DamagedFrame, DataFile, begins_with, unfetched
from ckptfmt.format.digest import Hasher
from ckptfmt.format.files import WEIGHTS, OpenFolder
from ckptfmt.format.manifest import FileEntry, TensorEntry
from ckptfmt.format.nonfinite import count_non_finite
from ckptfmt.format.opened import open_data
from ckptfmt.format.safetensors import Header, TensorInfo, parse_header, shape_text, tensor_bytes
from ckptfmt.format.shards import plain_name

__all__ = ["THOROUGH", "FileCheck", "Progress"]

# The search for NaN goes unnoticed in files of this size; for larger ones it is asked for.
THOROUGH = 128 << 20
# What is read at once: it is still in the processor's cache when it is hashed and searched for NaN.
_CHUNK = 1 << 20
# Files up to this size are hashed before threads would have begun.
_ALONE = 1 << 20
# Each of these holds a frame as it is stored, one as it was, and what the decoder needs.
_COMPRESSED_THREADS = 4
_AGAIN = "copy it again or re-save it"

# Tensors by name, in the order of their bytes.
_Run = list[tuple[str, TensorEntry]]
# Called with how many more bytes were hashed, from any thread, never from two at once.
Progress = Callable[[int], None]


@dataclass(slots=True)
class FileCheck:
    """One file of a checkpoint and what the manifest says of it; `folder` is a descriptor of the folder.

    With `deep` every byte is read, with `strict` numbers that are not finite are looked for in files of any size.
    """

    folder: OpenFolder
    name: str
    entry: FileEntry
    deep: bool = True
    strict: bool = False
    progress: Progress | None = None
    bytes_read: int = 0

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the file; read it once, in bounded parts, and never write."""
        try:
            with open_data(self.folder, self.name, self.entry.segments, where="") as file:
                before = _state(file)
                yield from self._look(file)
                if _state(file) != before:
                    yield Problem("layout.changed", file.where, "was changed while it was read", "validate it again")
        except WeightsError as e:
            yield Problem.of(e, where=e.where or self.name, fix=_AGAIN)

    def _look(self, file: DataFile) -> list[Problem]:
        if not file.is_far and (said := unfetched(file, self.entry)):
            return [Problem.of(said)]
        file.check_layout()
        problems = []
        if file.size != self.entry.bytes:
            message = f"has {file.size:,} bytes, the manifest says {self.entry.bytes:,}"
            problems.append(Problem("weights.size", self.name, message, _AGAIN))
        found, start = self._look_at_header(file)
        problems += found
        self.bytes_read += min(start, file.size)
        if self.deep:
            problems += self._look_at_bytes(file, start, sound=not problems)
            # A frame that is damaged changes what is stored too, and is named by its tensor already.
            if not any(problem.severity == "error" for problem in problems):
                file.check_stored()
        elif not isinstance(self.folder, int) and not file.compressed:
            problems += self._look_at_claim(self.folder.sha256(os.path.basename(file.where)))
        return problems

    def _look_at_claim(self, sha256: str) -> list[Problem]:
        """Return where a store that knows the SHA-256 of its files has another one; no byte is fetched for it."""
        if sha256 in ("", self.entry.sha256):
            return []
        message = "is another file than the manifest lists: the store knows it by another SHA-256"
        return [Problem("weights.sha256", self.name, message, _AGAIN)]

    def _look_at_header(self, file: DataFile) -> tuple[list[Problem], int]:
        """Return what is wrong with the header, and where the data begins."""
        expected, infos = self.entry.header
        try:
            if begins_with(file, expected):
                return [], len(expected)
            header = parse_header(file.read, file.size, where=self.name)
        except DamagedFrame as e:
            return [Problem("weights.header", f"{self.name} header", e.what, _AGAIN)], len(expected)
        except WeightsError as e:
            told = isinstance(e, WrongSize) and file.size != self.entry.bytes
            # A wrong size is reported already, and a header that does not fit into it says the same.
            return [] if told else [Problem(e.code, e.where or self.name, e.what, _AGAIN)], len(expected)
        differences = list(_header_differences(self.name, infos, header))
        message = "says what the manifest says in other bytes: its metadata, order or padding was changed"
        return differences or [Problem("weights.header", f"{self.name} header", message, _AGAIN)], header.data_start

    def _look_at_bytes(self, file: DataFile, start: int, *, sound: bool) -> list[Problem]:
        size = file.size
        thorough = self.strict or size <= THOROUGH
        sweep = _Sweep(file, start, self.name, thorough and plain_name(self.name) == WEIGHTS, self.progress)
        runs = list(_runs(self.entry))
        whole: Callable[[], str] = sweep.sha256
        if file.is_far:
            whole = sweep.follow(self.entry.header[0])
        if size <= _ALONE or file.is_far:
            found = list(map(sweep.run, runs))
        else:
            with ThreadPoolExecutor(
                # Eight threads hash faster than most disks read, and bound the memory on machines of many cores.
                max_workers=min(_COMPRESSED_THREADS if file.compressed else 8, os.cpu_count() or 1)
            ) as pool:
                if sound:
                    whole = pool.submit(sweep.sha256).result
                found = list(pool.map(sweep.run, runs))
        problems = [problem for one in found for problem in one]
        self.bytes_read += max(0, size - start)
        damaged = any(problem.severity == "error" for problem in problems)
        if sound and not damaged and whole() != self.entry.sha256:
            message = "has another SHA-256 than the manifest says, though every byte is as it says"
            problems.append(Problem("weights.sha256", self.name, message, "re-save the checkpoint"))
        return problems


class _Sweep:
    """One pass over the bytes of an open file; its methods run in threads, each with one small buffer."""

    def __init__(self, file: DataFile, start: int, name: str, numbers: bool, progress: Progress | None) -> None:
        self._file, self._start, self._name = file, start, name
        self._numbers, self._progress, self._lock = numbers, progress, Lock()
        self._whole: Any = None

    def follow(self, header: bytes) -> Callable[[], str]:
        """Take the SHA-256 of the whole file along with its tensors, one after another, and return what tells it.

        A file in a store is fetched once.
        """
        self._whole = hashlib.sha256(header)
        whole: Callable[[], str] = self._whole.hexdigest
        return whole

    def run(self, tensors: _Run) -> list[Problem]:
        """Return what is wrong with tensors that lie one behind the other: small ones are read at once."""
        if len(tensors) == 1 or not self._is_sound(tensors):
            return [problem for name, entry in tensors for problem in self.tensor(name, entry)]
        return []

    def _is_sound(self, tensors: _Run) -> bool:
        begin = tensors[0][1].offset
        last = tensors[-1][1]
        buffer = bytearray(last.offset + tensor_bytes(last.dtype, last.shape) - begin)
        try:
            self._file.cursor(self._start + begin).fill(memoryview(buffer))
        except WeightsError:
            return False
        if self._numbers and count_non_finite(buffer, last.dtype):
            return False
        view, end = memoryview(buffer), len(buffer)
        # From the end, where each tensor reaches as far as the next one begins.
        for _, entry in reversed(tensors):
            hasher = Hasher(entry.digest)
            hasher.update(view[entry.offset - begin : end])
            if not hasher.matches():
                return False
            end = entry.offset - begin
        self._tell(len(buffer))
        if self._whole is not None:
            self._whole.update(buffer)
        return True

    def tensor(self, name: str, entry: TensorEntry) -> list[Problem]:
        """Return what is wrong with the bytes of one tensor."""
        place = f"{self._name} {printable(name)}"
        begin = self._start + entry.offset
        end = begin + tensor_bytes(entry.dtype, entry.shape)
        if end > self._file.size:
            return [Problem("weights.digest", place, "its bytes lie beyond the end of the file", _AGAIN)]
        hasher, special = Hasher(entry.digest), 0
        try:
            for part in self._parts(begin, end):
                hasher.update(part)
                if self._whole is not None:
                    self._whole.update(part)
                special += count_non_finite(part, entry.dtype) if self._numbers else 0
                self._tell(len(part))
        except DamagedFrame as e:
            return [Problem("weights.digest", place, f"its frame {e.what}", _AGAIN)]
        if not hasher.matches():
            return [Problem("weights.digest", place, "bytes do not match the manifest", _AGAIN)]
        if special:
            message = f"holds {special:,} {'number that is' if special == 1 else 'numbers that are'} NaN or infinite"
            return [
                Problem(
                    "weights.non-finite",
                    place,
                    message,
                    "the training has diverged: go back to an earlier checkpoint",
                    "warning",
                )
            ]
        return []

    def sha256(self) -> str:
        """Return the SHA-256 of the whole file."""
        hasher = hashlib.sha256()
        for part in self._parts(0, self._file.size):
            hasher.update(part)
        return hasher.hexdigest()

    def _parts(self, position: int, end: int) -> Iterator[bytearray]:
        """Yield the bytes in parts of whole elements, each in the memory of the one before."""
        buffer, cursor = bytearray(min(_CHUNK, end - position)), self._file.cursor(position)
        while position < end:
            if end - position < len(buffer):
                buffer = buffer[: end - position]
            cursor.fill(memoryview(buffer))
            yield buffer
            position += len(buffer)

    def _tell(self, count: int) -> None:
        if self._progress is not None:
            with self._lock:
                # Of a compressed file, what is stored: that is what the total was taken of.
                self._progress(count * self._file.stored // max(1, self._file.size))


def _runs(entry: FileEntry) -> Iterator[_Run]:
    """Yield the tensors of a file in the order of their bytes: those of one dtype that follow one another together.

    A run is read at once; it is no longer than a part, or one tensor.
    """
    run: _Run = []
    begin = end = 0
    for name, tensor in sorted(entry.tensors.items(), key=lambda item: item[1].offset):
        size = tensor_bytes(tensor.dtype, tensor.shape)
        follows = run and tensor.offset == end and tensor.dtype == run[0][1].dtype
        if run and not (follows and end + size - begin <= _CHUNK):
            yield run
            run = []
        if not run:
            begin = tensor.offset
        run.append((name, tensor))
        end = tensor.offset + size
    if run:
        yield run


def _header_differences(file: str, expected: Sequence[TensorInfo], header: Header) -> Iterator[Problem]:
    actual = {info.name: info for info in header.tensors}
    for info in expected:
        place = f"{file} {printable(info.name)}"
        if (other := actual.pop(info.name, None)) is None:
            yield Problem("weights.missing", place, "is in the manifest, not in the file", _AGAIN)
        elif other.dtype != info.dtype:
            yield Problem("weights.dtype", place, f"manifest says {info.dtype}, file has {other.dtype}", _AGAIN)
        elif other.shape != info.shape:
            message = f"manifest says {shape_text(info.shape)}, file has {shape_text(other.shape)}"
            yield Problem("weights.shape", place, message, _AGAIN)
        elif other.begin != info.begin:
            message = f"manifest says it begins at byte {info.begin:,} of the data, file has {other.begin:,}"
            yield Problem("weights.offset", place, message, _AGAIN)
    for name in actual:
        yield Problem("weights.surplus", f"{file} {printable(name)}", "is in the file, not in the manifest", _AGAIN)


def _state(file: DataFile) -> tuple[int, int, int]:
    if not isinstance(file.descriptor, int):
        return file.stored, 0, 0
    info = os.fstat(file.descriptor)
    return info.st_size, info.st_mtime_ns, info.st_ino
