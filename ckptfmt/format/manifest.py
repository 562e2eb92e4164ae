"""The manifest: the label of a checkpoint, as frozen documents.

`parse_manifest` is the one definition of a manifest that can be used; `render_manifest` the one text that a
manifest has. Both hold the digest of the manifest over its content, so a changed byte is found.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ckptfmt.errors import ManifestError, Problem, printable
from ckptfmt.format import jsontext
from ckptfmt.format.digest import content_digest, manifest_digest
from ckptfmt.format.document import (
    Document,
    choice,
    count,
    document,
    flag,
    free,
    listing,
    mapping,
    optional,
    pattern,
    text,
    value,
    wrong,
)
from ckptfmt.format.files import MAX_MANIFEST, SAFETENSORS, WEIGHTS
from ckptfmt.format.safetensors import DTYPE_BITS, METADATA, TensorInfo, build_header
from ckptfmt.format.travelled import is_rewritten
from ckptfmt.format.versions import FORMAT, FORMAT_VERSION, check_version

__all__ = [
    "KINDS",
    "ORIGINS",
    "Architecture",
    "ConversionEntry",
    "FileEntry",
    "Lineage",
    "Manifest",
    "Resume",
    "Source",
    "TensorEntry",
    "Transform",
    "check_content",
    "contradictions",
    "expected_header",
    "parse_manifest",
    "render_manifest",
]

ORIGINS = ("declared", "inferred", "given", "assumed")
KINDS = ("trained", "resumed", "fine-tuned", "converted", "copied", "rebuilt")

_Header = tuple[bytes, tuple[TensorInfo, ...]]
_sha256 = pattern(r"[0-9a-f]{64}", "a SHA-256 in hex")
_blake3 = pattern(r"[0-9a-f]{64}", "a BLAKE3 in hex")
_identity = pattern(r"sha256:[0-9a-f]{64}", "sha256: and 64 hex digits")
_family = pattern(r"[a-z0-9-]+(/[a-z0-9-]+)?", "the name of a family such as atari-dqn or lab/world-model")
_instant = pattern(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z",
    "an instant in UTC such as 2026-11-22T21:04:07Z",
)


@dataclass(frozen=True, kw_only=True)
class Architecture(Document):
    """Which network the weights are: a family, and the network's name in it."""

    family: str = value(_family)
    name: str = value(text)


@dataclass(frozen=True, kw_only=True)
class TensorEntry(Document):
    """One stored tensor; `offset` counts from the first byte behind the header of its file."""

    dtype: str = value(choice(*DTYPE_BITS))
    shape: tuple[int, ...] = value(listing(count))
    offset: int = value(count)
    blake3: str = value(_blake3)


@dataclass(frozen=True, kw_only=True)
class FileEntry(Document):
    """One safetensors file; `tied` maps names that are not stored to the stored name they share."""

    bytes: int = value(count)
    sha256: str = value(_sha256)
    tensors: Mapping[str, TensorEntry] = value(mapping(document(TensorEntry)))
    tied: Mapping[str, str] = value(mapping(text), default_factory=dict)
    sparse = frozenset({"tied"})

    @property
    def segments(self) -> tuple[int, ...]:
        """Return the sizes of what the file is made of: its header, then each tensor."""
        header, infos = self.header
        return (len(header), *(info.nbytes for info in infos))

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


@dataclass(frozen=True, kw_only=True)
class Lineage(Document):
    """Where a checkpoint came from: the digest of its parent's manifest, the run, the code."""

    parent: str | None = value(optional(_identity), default=None)
    kind: str = value(choice(*KINDS))
    run_id: str | None = value(optional(text), default=None)
    code: Mapping[str, Any] = value(free, default_factory=dict)
    sparse = frozenset({"parent", "run_id", "code"})


@dataclass(frozen=True, kw_only=True)
class Source(Document):
    """The file a checkpoint was converted from."""

    name: str = value(text)
    bytes: int = value(count)
    sha256: str = value(_sha256)
    container: str = value(text)
    pickle_protocol: int | None = value(optional(count), default=None)
    globals: tuple[str, ...] = value(listing(text), default=())


@dataclass(frozen=True, kw_only=True)
class Transform(Document):
    """A stored tensor that is not a whole tensor of the source: `rows` of it, or it without unit dimensions."""

    name: str = value(text)
    source: str = value(text)
    rows: tuple[int, ...] | None = value(optional(listing(count)), default=None)
    squeezed: bool = value(flag, default=False)


@dataclass(frozen=True, kw_only=True)
class ConversionEntry(Document):
    """How a checkpoint was made of a legacy file.

    `renamed` maps names of the source to stored names; `made` are stored tensors that follow from the config
    and stood nowhere in the source.
    """

    source: Source = value(document(Source))
    found_at: str = value(text)
    layout: str = value(text, default="")
    renamed: Mapping[str, str] = value(mapping(text))
    transformed: tuple[Transform, ...] = value(listing(document(Transform)), default=())
    made: tuple[str, ...] = value(listing(text), default=())
    dropped: tuple[str, ...] = value(listing(text), default=())
    tied: tuple[tuple[str, ...], ...] = value(listing(listing(text)), default=())
    verified: bool = value(flag)


@dataclass(frozen=True, kw_only=True)
class Resume(Document):
    """What a resume finds in this checkpoint, and what it lacks."""

    has: tuple[str, ...] = value(listing(text))
    lacks: tuple[str, ...] = value(listing(text))


def _format(item: Any, where: str, relaxed: bool) -> str:
    if item != FORMAT:
        raise wrong(f"must be {FORMAT}", where, "manifest.format")
    return FORMAT


def _files(item: Any, where: str, relaxed: bool) -> dict[str, FileEntry]:
    parsed: dict[str, FileEntry] = mapping(document(FileEntry))(item, where, relaxed)
    if unknown := sorted(set(parsed) - set(SAFETENSORS)):
        raise wrong(f"names {unknown[0]!r}, which is no file of a checkpoint", where, "manifest.file-name")
    if WEIGHTS not in parsed:
        raise wrong(f"{WEIGHTS} is missing", where, "manifest.missing")
    return parsed


@dataclass(frozen=True, kw_only=True)
class Manifest(Document):
    """What `manifest.json` says. `architecture` and `config` are None where the network is unknown.

    What the fields of `config` mean is known to the family, which need not be installed: it is kept as it is.
    """

    format: str = value(_format, default=FORMAT)
    format_version: str = value(text, default=FORMAT_VERSION)
    created_at: str = value(_instant)
    created_by: Mapping[str, str] = value(mapping(text))
    architecture: Architecture | None = value(optional(document(Architecture)))
    config: Mapping[str, Any] | None = value(optional(free))
    config_origin: Mapping[str, str] = value(mapping(choice(*ORIGINS)), default_factory=dict)
    environment: Mapping[str, Any] = value(free, default_factory=dict)
    training_info: Mapping[str, Any] = value(free, default_factory=dict)
    evaluation: tuple[Mapping[str, Any], ...] = value(listing(free), default=())
    lineage: Lineage | None = value(optional(document(Lineage)), default=None)
    conversion: ConversionEntry | None = value(optional(document(ConversionEntry)), default=None)
    resume: Resume | None = value(optional(document(Resume)), default=None)
    files: Mapping[str, FileEntry] = value(_files)
    extra: Mapping[str, Any] = value(free, default_factory=dict)
    content_digest: str = value(_identity)
    manifest_digest: str = value(_identity, default="")
    sparse = frozenset(
        {"config_origin", "environment", "training_info", "evaluation", "lineage", "conversion", "resume", "extra"}
    )

    @property
    def weights(self) -> FileEntry:
        """Return the entry of the file that holds the network."""
        return self.files[WEIGHTS]

    def content(self) -> str:
        """Return the digest that the tensors listed make."""
        return content_digest((name, t.dtype, t.shape, t.blake3) for name, t in self.weights.tensors.items())

    def sealed(self) -> "Manifest":
        """Return the manifest with the digests that its content has."""
        filled = dataclasses.replace(self, content_digest=self.content())
        return dataclasses.replace(filled, manifest_digest=manifest_digest(filled.to_dict()))


class LineEnds(ManifestError):
    """A manifest whose line ends were changed, and nothing else."""

    code = "manifest.line-ends"


def render_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of `manifest.json`."""
    return jsontext.render(manifest.to_dict()).encode("utf-8")


def parse_manifest(data: bytes, *, where: str) -> Manifest:
    """Return the manifest in `data`; raise `ManifestError` or `UnsupportedVersion` that says what is wrong.

    A newer minor version is read with unknown fields kept. Its digests are those of its own content, or it is
    refused; what `check_content` looks at is left to the reader of the tensors.
    """
    raw, rendered = jsontext.read_rendered(data, where=where, limit=MAX_MANIFEST)
    if not isinstance(raw, dict):
        raise wrong("must hold one JSON object", where)
    relaxed = check_version(raw["format_version"], where=where) if "format_version" in raw else False
    try:
        manifest = Manifest.from_dict(raw, relaxed=relaxed)
    except ManifestError as e:
        raise e.but(where=f"{where} {e.where}") from None
    if (manifest.architecture is None) != (manifest.config is None):
        raise wrong("architecture and config are known together or not at all", f"{where} $.config")
    if manifest_digest(raw) != manifest.manifest_digest:
        raise ManifestError(
            "does not match its own manifest_digest, it was changed after it was written",
            where=where,
            fix="copy it again or re-save it",
            code="manifest.digest",
        )
    if not rendered:
        if is_rewritten(data, jsontext.render(raw).encode("utf-8")):
            raise LineEnds(
                "is as it was written but for its line ends, which git or an editor made CRLF",
                where=where,
                fix="write '*.json -text' into .gitattributes and check it out, or mend it: ckptfmt.repair(PATH)",
            )
        raise ManifestError(
            "means the same but is not written as it was, a byte was changed",
            where=where,
            fix="copy it again or re-save it",
            code="manifest.form",
        )
    return manifest


def expected_header(entry: FileEntry) -> tuple[bytes, tuple[TensorInfo, ...]]:
    """Return the header that a file has whose manifest entry this is, and where its tensors lie."""
    return entry.header


def check_content(manifest: Manifest, *, where: str) -> None:
    """Raise `ManifestError` where parts of the manifest contradict one another."""
    for problem in contradictions(manifest):
        raise ManifestError(problem.message, where=f"{where} {problem.where}", fix=problem.fix, code=problem.code)


def contradictions(manifest: Manifest) -> Iterator[Problem]:
    """Yield each place where parts of the manifest contradict one another."""
    if manifest.content() != manifest.content_digest:
        yield Problem(
            "manifest.content-digest", "$.content_digest", "is not that of the tensors listed", "re-save the checkpoint"
        )
    for name, entry in manifest.files.items():
        yield from _file_contradictions(entry, f"$.files.{name}")


def _file_contradictions(entry: FileEntry, where: str) -> Iterator[Problem]:
    header, infos = expected_header(entry)
    for info in infos:
        if info.begin != entry.tensors[info.name].offset:
            place = f"{where}.tensors.{printable(info.name)}.offset"
            yield Problem("manifest.offset", place, f"is {entry.tensors[info.name].offset}, must be {info.begin}")
    size = len(header) + (infos[-1].end if infos else 0)
    if size != entry.bytes:
        yield Problem("manifest.bytes", f"{where}.bytes", f"is {entry.bytes:,}, the tensors listed make {size:,}")
    for name, stored in entry.tied.items():
        if name in entry.tensors or stored not in entry.tensors:
            yield Problem(
                "manifest.tied",
                f"{where}.tied.{printable(name)}",
                f"must share a stored tensor and not be one itself, not '{printable(stored)}'",
            )
