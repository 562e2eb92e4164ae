"""The parts of a manifest, as frozen documents: network, files and tensors, lineage, conversion, resume."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ckptfmt.format.digest import DIGEST_FORM
from ckptfmt.format.document import Document, document, value
from ckptfmt.format.dtypes import DTYPES
from ckptfmt.format.kinds import (
    choice,
    count,
    flag,
    free,
    listing,
    mapping,
    named,
    optional,
    pattern,
    text,
)
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import METADATA, TensorInfo, build_header
from ckptfmt.format.tensorcount import MAX_TENSORS

__all__ = [
    "KINDS",
    "ORIGINS",
    "Architecture",
    "ConversionEntry",
    "FileEntry",
    "Lineage",
    "Resume",
    "Slice",
    "Source",
    "SplitEntry",
    "TensorEntry",
    "Transform",
    "WholeEntry",
    "identity",
    "instant",
]

ORIGINS = ("declared", "inferred", "given", "measured", "assumed")
KINDS = ("trained", "resumed", "fine-tuned", "converted", "copied", "rebuilt")

_Header = tuple[bytes, tuple[TensorInfo, ...]]
sha256 = named("sha256", pattern(r"[0-9a-f]{64}", "a SHA-256 in hex"), "SHA-256, lower-case hex.")
_digest = named(
    "digest",
    pattern(DIGEST_FORM, "an algorithm and a digest in hex such as blake3:0f…"),
    "A digest of bytes: the algorithm, a colon, lower-case hex.",
)
identity = named(
    "identity",
    pattern(r"sha256:[0-9a-f]{64}", "sha256: and 64 hex digits"),
    "A SHA-256 of canonical JSON.",
)
instant = named(
    "instant",
    pattern(
        # Python's clock has microseconds, and with Z alone an instant is written in one way.
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z",
        "an instant in UTC such as 2026-11-22T21:04:07Z",
    ),
    "An instant in UTC (RFC 3339).",
)
_family = pattern(r"[a-z0-9-]+(/[a-z0-9-]+)?", "the name of a family such as atari-dqn or lab/world-model")


# The family whose names stand for themselves: those of the eight were there before there were families.
_FIRST = "atari-dqn"


@record(kw_only=True, slots=False)
class Architecture(Document):
    """Which network the weights are: a family, and the network's name in it."""

    family: str = value(
        _family, "The family of networks, which fixes the fields of config and the names of the tensors."
    )
    name: str = value(text, "The network within its family; it follows from config.")

    @property
    def title(self) -> str:
        """The name, with that of its family before it unless that is the first one, as people give it."""
        return self.name if self.family == _FIRST else f"{self.family}/{self.name}"


@record(kw_only=True, slots=False)
class Slice(Document):
    """Which part of a tensor a stored one is: a box of it."""

    of: tuple[int, ...] = value(listing(count), "Shape of the whole tensor.", since="1.1")
    at: tuple[int, ...] = value(listing(count), "Where in it the slice begins, in each dimension.", since="1.1")


@record(kw_only=True, slots=False)
class TensorEntry(Document):
    """One stored tensor."""

    dtype: str = value(choice(*DTYPES), "Type of the elements, as safetensors names it.")
    shape: tuple[int, ...] = value(listing(count), "Sizes of the dimensions, outermost first; empty for a scalar.")
    offset: int = value(count, "Where the tensor's bytes begin, counted from the first byte behind the header.")
    digest: str = value(_digest, "Digest of the tensor's bytes as they are stored: row-major, little-endian.")
    slice: Slice | None = value(
        optional(document("slice", Slice)),
        "Where the stored tensor is a part of the one that split has under its name: which part.",
        since="1.1",
        default=None,
    )


@record(kw_only=True, slots=False)
class WholeEntry(Document):
    """One tensor that lies in slices in several files."""

    dtype: str = value(choice(*DTYPES), "Type of the elements, as safetensors names it.", since="1.1")
    shape: tuple[int, ...] = value(listing(count), "Sizes of the dimensions of the whole tensor.", since="1.1")
    digest: str = value(_digest, "Digest of the whole tensor's bytes: row-major, little-endian.", since="1.1")


@record(kw_only=True, slots=False)
class SplitEntry(Document):
    """What of one file lies in slices."""

    tensors: Mapping[str, WholeEntry] = value(
        mapping(document("whole", WholeEntry), MAX_TENSORS),
        "Every tensor that lies in slices, by name; of all files at most as many as one may have.",
        since="1.1",
    )


@record(kw_only=True, slots=False)
class FileEntry(Document):
    """One safetensors file, whose header follows from the tensors listed."""

    bytes: int = value(count, "Size of the file.")
    sha256: str = value(sha256, "Digest of the whole file.")
    tensors: Mapping[str, TensorEntry] = value(
        mapping(document("tensor", TensorEntry), MAX_TENSORS),
        "Every tensor that is stored in the file, by name; of all files, tied names among them, at most as many as one "
        "may have.",
    )
    tied: Mapping[str, str] = value(
        mapping(text, MAX_TENSORS),
        "Names of tensors that are not stored, each with the stored name whose bytes it shares.",
        default_factory=dict,
    )

    @property
    def segments(self) -> tuple[int, ...]:
        """Return the sizes of what the file is made of: its header, then each tensor."""
        header, infos = self.header
        return (len(header), *(info.nbytes for info in infos))

    @property
    def slices(self) -> Mapping[str, Slice]:
        """Return which of the tensors are slices, and of what."""
        return {name: tensor.slice for name, tensor in self.tensors.items() if tensor.slice}

    @property
    def named(self) -> Mapping[str, TensorEntry]:
        """Return every tensor by name, tied ones included."""
        return {
            **self.tensors,
            **{name: self.tensors[kept] for name, kept in self.tied.items() if kept in self.tensors},
        }

    @cached_property
    def header(self) -> _Header:
        """Return the header that a file of these tensors has, and where they lie in it."""
        return build_header(((name, t.dtype, t.shape) for name, t in self.tensors.items()), METADATA)


@record(kw_only=True, slots=False)
class Lineage(Document):
    """Where a checkpoint came from."""

    parent: str | None = value(
        optional(identity), "The manifest_digest of the checkpoint this one came from.", default=None
    )
    kind: str = value(choice(*KINDS), "How this checkpoint came from its parent.")
    run_id: str | None = value(optional(text), "The run that wrote the checkpoint.", default=None)
    code: Mapping[str, Any] = value(free, "The training code: commit, dirty.", default_factory=dict)


@record(kw_only=True, slots=False)
class Source(Document):
    """The file a checkpoint was converted from."""

    name: str = value(text, "The file's name, without its folder.")
    bytes: int = value(count, "Size of the file.")
    sha256: str = value(sha256, "Digest of the file.")
    container: str = value(
        text, "What the file is: torch-zip, torch-stream, sb3-zip, pickle; wrapped ones as gzip+torch-zip."
    )
    pickle_protocol: int | None = value(
        optional(count), "Protocol of its pickle; null where there is none.", default=None
    )
    globals: tuple[str, ...] = value(
        listing(text), "Every name of code that its pickle refers to; none was looked up.", default=()
    )


@record(kw_only=True, slots=False)
class Transform(Document):
    """A stored tensor that is not a tensor of the source as it stood there: some rows of it, or it in another order."""

    name: str = value(text, "The stored tensor.")
    source: str = value(text, "The tensor of the source it was taken from.")
    rows: tuple[int, ...] | None = value(
        optional(listing(count)), "First row and the row behind the last; null for all.", default=None
    )
    squeezed: bool = value(flag, "Whether dimensions of size 1 were taken out.", default=False)
    turned: tuple[int, ...] | None = value(
        optional(listing(count)),
        "The dimensions of the source, counted from 0, in the order in which they are stored; null where they kept it.",
        default=None,
    )
    image: tuple[int, ...] | None = value(
        optional(listing(count)),
        "Channels, height and width of the flattened image that it takes, where its columns were put into that order "
        "from height, width, channels; null where they were not.",
        default=None,
    )


@record(kw_only=True, slots=False)
class ConversionEntry(Document):
    """How a checkpoint was made of a legacy file."""

    source: Source = value(document("source", Source), "The legacy file.")
    found_at: str = value(text, "Where in the source the network lay: keys joined by /, empty for the root.")
    layout: str = value(text, "The known code base whose layout the source has, empty for none.", default="")
    renamed: Mapping[str, str] = value(
        mapping(text), "Names in the source, each with the name it is stored under, where they differ."
    )
    transformed: tuple[Transform, ...] = value(
        listing(document("transform", Transform)),
        "Stored tensors that are not a tensor of the source as it stood there.",
        default=(),
    )
    made: tuple[str, ...] = value(
        listing(text), "Stored tensors that follow from the config and stood nowhere in the source.", default=()
    )
    dropped: tuple[str, ...] = value(
        listing(text),
        "Tensors of the source's network, and values beside it, that were left out, each with its reason.",
        default=(),
    )
    left: tuple[str, ...] = value(
        listing(text),
        "Networks of the source that were not taken, by where they lay in it, each with its reason.",
        default=(),
    )
    tied: tuple[tuple[str, ...], ...] = value(
        listing(listing(text)), "Groups of names that shared their bytes in the source.", default=()
    )
    verified: bool = value(flag, "Whether the result was read back and compared with the source, tensor by tensor.")


@record(kw_only=True, slots=False)
class Resume(Document):
    """What a resume finds in this checkpoint, and what it lacks."""

    has: tuple[str, ...] = value(
        listing(text), "Parts of the training's state that are stored: optimizer, target, rng, environment, replay."
    )
    lacks: tuple[str, ...] = value(listing(text), "Parts that are not, and start anew.")
