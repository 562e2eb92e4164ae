"""One pass over the whole source: its SHA-256, and the CRC of each record that lies in it."""

import hashlib
import threading
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from ckptfmt.errors import SourceError, TooCostly
from ckptfmt.legacy.bytes.blocks import Block, root_of
from ckptfmt.legacy.containers.zip import Record, bad_crc

__all__ = ["AT_ONCE", "Audit"]

# Small enough that what is hashed twice stays in the processor's cache.
_CHUNK = 1 << 20
# A source up to this size is looked through before anything of it is given out; hashing a larger one runs
# beside the work, since both let go of the interpreter lock.
AT_ONCE = 16 << 20


@dataclass(slots=True)
class _Span:
    start: int
    stop: int
    record: Record
    crc: int = 0

    def update(self, offset: int, data: memoryview) -> None:
        part = data[max(self.start - offset, 0) : max(self.stop - offset, 0)]
        self.crc = zlib.crc32(part, self.crc)


class Audit:
    """The pass over a source, in a thread of its own where the source is large.

    The first damaged record of a small source is a `SourceError` at once. Records that do not lie in the source
    itself (their archive was unpacked first) are read on their own.
    """

    def __init__(self, source: Block, records: Iterable[Record] = ()) -> None:
        self._source = source
        self._spans: list[_Span] = []
        self._apart: list[Record] = []
        self._sha256 = ""
        self._failure: SourceError | None = None
        self._cancelled = threading.Event()
        for record in records:
            self._place(record)
        # A daemon: at the end of the process nobody waits for the digest of what nobody uses.
        self._thread = threading.Thread(target=self._run, name="ckptfmt-audit", daemon=True)
        if source.size > AT_ONCE:
            self._thread.start()
        else:
            self._run()
            self.result()

    def result(self) -> str:
        """Return the SHA-256 of the source in hex once all of it was read.

        Raises `SourceError` with the code `source.crc` for the first record that is damaged.
        """
        if self._thread.ident is not None:
            self._thread.join()
        if self._failure is not None:
            raise self._failure.but()
        return self._sha256

    def cancel(self) -> None:
        """Stop the pass; return when the source is not read any more."""
        self._cancelled.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _place(self, record: Record) -> None:
        root, start = root_of(record.block)
        if root is self._source:
            self._spans.append(_Span(start, start + record.block.size, record))
        else:
            self._apart.append(record)

    def _run(self) -> None:
        try:
            self._sha256 = _read_through(self._source, self._spans, self._cancelled)
            for record in self._apart:
                whole = _Span(0, record.block.size, record)
                _read_through(record.block, [whole], self._cancelled)
        except SourceError as e:
            self._failure = e
        except MemoryError:
            self._failure = TooCostly("needs more memory than there is")


def _read_through(block: Block, spans: list[_Span], cancelled: threading.Event) -> str:
    """Return the SHA-256 of a block, every span's CRC checked on the way."""
    whole = hashlib.sha256()
    waiting = sorted(spans, key=lambda span: span.start, reverse=True)
    active: list[_Span] = []
    for offset in range(0, max(block.size, 1), _CHUNK):
        if cancelled.is_set():
            raise SourceError("reading was given up", code="source.cancelled")
        data = memoryview(block.read(offset, min(_CHUNK, block.size - offset)))
        whole.update(data)
        end = offset + len(data)
        # Records are taken up when the pass reaches them and left when it is through, so that few are looked at for
        # each part.
        while waiting and waiting[-1].start <= end:
            active.append(waiting.pop())
        for span in active:
            span.update(offset, data)
            if span.stop <= end and span.crc != span.record.crc:
                raise bad_crc(span.record.name)
        active = [span for span in active if span.stop > end]
    return whole.hexdigest()
