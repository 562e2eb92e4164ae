"""Legacy files: opened safely, told by their bytes and never by their name, looked through to the last byte."""

import os
import stat
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NoReturn, Self

from ckptfmt.errors import Problem, SourceError, UnsafeSource
from ckptfmt.format.record import record
from ckptfmt.legacy.address import refuse_address
from ckptfmt.legacy.bytes.audit import AT_ONCE, Audit
from ckptfmt.legacy.bytes.blocks import FileBlock, Spool
from ckptfmt.legacy.containers.contents import read_contents
from ckptfmt.legacy.containers.reading import Reading, within

__all__ = ["UNFORESEEN", "LegacyFile", "Source", "open_block", "read", "unpacked_limit"]

# What unpacking may make of a source: honest weights shrink far less, even with zeros of an optimizer among them.
_RATIO = 256
# Small files may be anything; the last is more than the memory of most machines that convert.
_FREE_UNPACKED = 64 << 20
_MAX_UNPACKED = 16 << 30

# No reader of ours should let these through; a file that causes one is refused like any other.
UNFORESEEN = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


def _refuse(what: str, fix: str, code: str) -> NoReturn:
    raise SourceError(what, fix=fix, code=code)


@record
class Source:
    """Where objects came from: the file's name, size and SHA-256, its container, and what its pickles name."""

    name: str
    bytes: int
    sha256: str
    container: str
    pickle_protocol: int | None
    globals: tuple[str, ...]


class LegacyFile:
    """An open legacy file; close it, or use it as a context manager.

    `members` holds the object as `{"": object}`, or one object for each network of an archive that has several
    (`{"policy.pth": …}`). `container` says what the file is, `warnings` are findings that did not stop the
    reading, `placeholders` the names of other packages that stayed placeholders, `constants` counts tensors without
    names in the program of a TorchScript archive, `texts` holds members that are text. Nothing was run or imported.

    A source of more than 16 MiB is looked through in a thread, beside the work with it: `source`,
    `check_unchanged` and leaving the context wait for that and raise `SourceError` where a record does not match
    its CRC. Until one of them has returned, no tensor of a large source is known to be undamaged.
    """

    def __init__(self, path: str, block: FileBlock, reading: Reading, container: str, members: dict[str, Any]) -> None:
        self.path = path
        self.container = container
        self.members: Mapping[str, Any] = members
        self.warnings: tuple[Problem, ...] = tuple(reading.warnings)
        self.placeholders: tuple[str, ...] = tuple(reading.placeholders)
        self.constants = reading.constants
        self.texts: Mapping[str, bytes] = reading.texts
        self._block = block
        self._reading = reading
        self._audit = Audit(block, reading.records)

    @property
    def source(self) -> Source:
        """Return the description of the source, once all of it was looked through; raise `SourceError`."""
        with within(self.path):
            digest = self._audit.result()
        name = os.path.basename(self.path)
        reading = self._reading
        return Source(name, self._block.size, digest, self.container, reading.protocol, tuple(reading.globals))

    def check_unchanged(self) -> None:
        """Raise `SourceError` if a record is damaged, or if the file changed since it was opened."""
        with within(self.path):
            self._audit.result()
            self._block.check_unchanged(self.path)

    def close(self) -> None:
        """Give the file back; its tensors cannot be read any more."""
        self._audit.cancel()
        self._reading.spool.close()
        self._block.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.check_unchanged()
        finally:
            self.close()


def read(path: str | os.PathLike[str], *, allow_unsafe: bool = False) -> LegacyFile:
    """Return an open legacy file with the objects in it; nothing of it is run and nothing it names is imported.

    With `allow_unsafe`, names that only an attack uses become placeholders instead of a refusal. Raises
    `UnsafeSource` for those, and `SourceError` for a file that is missing, damaged, ambiguous, too large when
    unpacked, or no checkpoint at all.
    """
    name = os.fsdecode(path)
    with within(name):
        block = open_block(name)
        reading = Reading(Spool(unpacked_limit(block.size)), allow_unsafe)
        try:
            # Small files are held whole, so that what was checked and what is converted are the same bytes whatever
            # happens to the file.
            if block.size <= AT_ONCE:
                block.hold()
            container, members = read_contents(block, reading)
            return LegacyFile(name, block, reading, container, members)
        except BaseException as e:
            reading.spool.close()
            block.close()
            if isinstance(e, UnsafeSource):
                e.source = name
            if isinstance(e, UNFORESEEN) and not isinstance(e, SourceError):
                _refuse(f"cannot be read as a checkpoint ({type(e).__name__})", "copy it again", "source.unforeseen")
            raise


def unpacked_limit(size: int) -> int:
    """Return how much a source of so many bytes may unpack to."""
    return min(max(_FREE_UNPACKED, _RATIO * size), _MAX_UNPACKED)


def open_block(path: str) -> FileBlock:
    """Return the open file as a block; a FIFO does not block, and anything but a regular file is refused."""
    try:
        # Without waiting for the writer of a pipe, or making a terminal ours.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        refuse_address(path)
        _refuse("there is no such file", "check the path", "source.missing")
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) else str(e)
        _refuse(f"cannot be opened: {reason}", "check the path and who may read it", "source.unreadable")
    state = os.fstat(descriptor)
    if stat.S_ISREG(state.st_mode):
        return FileBlock(descriptor, state)
    os.close(descriptor)
    if stat.S_ISDIR(state.st_mode):
        _refuse("is a folder, not a file", "give one of the files in it", "source.not-a-file")
    _refuse("is a pipe, a device or a socket, not a file", "write it to a file first", "source.not-a-file")
