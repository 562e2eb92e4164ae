"""What all parts of one reading of a source share: what was unpacked, what was named, what must be checked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ckptfmt.errors import CkptError, Problem, SourceError, printable
from ckptfmt.legacy.bytes.blocks import Block, Spool
from ckptfmt.legacy.bytes.budget import Budget
from ckptfmt.legacy.containers.zip import Archive, Record, bad_crc
from ckptfmt.legacy.pickle import pickles

__all__ = ["Reading", "check_whole", "within"]

# Records of this size are held against their checksum at once.
_SMALL = 1 << 20
# As much text as `convert.texts` reads.
_MAX_DECLARED = 16 << 20


@dataclass
class Reading:
    """The state of one reading; `protocol` is that of the last pickle that held an object.

    `constants` counts the tensors that a TorchScript program has without a name; `texts` are members of an
    archive that are text, by name.
    """

    spool: Spool
    allow_unsafe: bool = False
    budget: Budget = field(default_factory=Budget)
    protocol: int | None = None
    constants: int = 0
    texts: dict[str, bytes] = field(default_factory=dict)
    globals: dict[str, None] = field(default_factory=dict)
    placeholders: dict[str, None] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def load(
        self,
        block: Block,
        start: int = 0,
        persistent: Callable[[Any], Any] | None = None,
        *,
        nested: Callable[[Block], Any] | None = None,
        whole: bool = False,
    ) -> pickles.Pickle:
        """Return the pickle at `start`, with the names it holds noted; with `whole` it must fill the block."""
        pickle = pickles.load(
            block,
            start=start,
            persistent=persistent,
            nested=nested,
            allow_unsafe=self.allow_unsafe,
            budget=self.budget,
        )
        self.protocol = pickle.protocol
        self.globals.update(dict.fromkeys(pickle.globals))
        self.placeholders.update(dict.fromkeys(pickle.placeholders))
        if whole:
            check_whole(pickle, block)
        return pickle

    def take(self, archive: Archive, where: str = "") -> Archive:
        """Note the records of an archive for the audit, all of them: a damaged one means a damaged file."""
        if archive.without_crc:
            self.warn(
                "source.no-crc",
                where,
                "was written without checksums, so damage to it cannot be noticed",
                "save it with torch.serialization.set_crc32_options(True)",
            )
        else:
            self.records.extend(archive.stored_records())
        return archive

    def open(self, archive: Archive, name: str) -> Block:
        """Return a record's bytes; the CRC of a small one is checked now, of a large one by the audit."""
        block = archive.open(name, self.spool)
        if block.size <= _SMALL and archive.is_damaged(name, block):
            raise bad_crc(name)
        return block

    def declare(self, name: str, block: Block) -> None:
        """Keep a member that is text, for those who know what it says; one that is too long is left out."""
        if block.size <= _MAX_DECLARED:
            self.texts[name] = block.read(0, block.size)
        else:
            self.warn("source.skipped", name, f"is a text of {block.size:,} bytes and was not read")

    def warn(self, code: str, where: str, message: str, fix: str = "") -> None:
        """Add a finding that does not stop the reading."""
        self.warnings.append(Problem(code, printable(where), message, fix, "warning"))


def check_whole(pickle: pickles.Pickle, block: Block) -> None:
    """Raise `SourceError` for bytes behind a pickle that should fill its block."""
    if pickle.end != block.size:
        raise SourceError(
            f"has {block.size - pickle.end:,} bytes behind the end of its pickle",
            fix="re-save it with the program that wrote it",
            code="source.ambiguous",
        )


@contextmanager
def within(place: str) -> Iterator[None]:
    """Put `place` in front of where an error says it happened."""
    try:
        yield
    except CkptError as e:
        e.where = f"{printable(place)}: {e.where}" if e.where else printable(place)
        raise
