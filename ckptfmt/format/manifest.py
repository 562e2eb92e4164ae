"""The manifest: the label of a checkpoint, as frozen documents.

`parse_manifest` is the one definition of a manifest that can be used; `render_manifest` the one text that a
manifest has. Both hold the digest of the manifest over its content, so a changed byte is found.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from ckptfmt.errors import ManifestError, Problem, printable
from ckptfmt.format import jsontext
from ckptfmt.format.digest import DIGEST_FORM, content_digest, manifest_digest
from ckptfmt.format.document import Document, document, value
from ckptfmt.format.dtypes import DTYPES
from ckptfmt.format.files import MAX_MANIFEST, REPLAY, SAFETENSORS, STATE, WEIGHTS
from ckptfmt.format.kinds import (
    Kind,
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
    wrong,
)
from ckptfmt.format.prerelease import settled
from ckptfmt.format.safetensors import METADATA, TensorInfo, build_header
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

ORIGINS = ("declared", "inferred", "given", "measured", "assumed")
KINDS = ("trained", "resumed", "fine-tuned", "converted", "copied", "rebuilt")

_Header = tuple[bytes, tuple[TensorInfo, ...]]
_sha256 = named("sha256", pattern(r"[0-9a-f]{64}", "a SHA-256 in hex"), "SHA-256, lower-case hex.")
_digest = named(
    "digest",
    pattern(DIGEST_FORM, "an algorithm and a digest in hex such as blake3:0f…"),
    "A digest of bytes: the algorithm, a colon, lower-case hex.",
)
_identity = named(
    "identity",
    pattern(r"sha256:[0-9a-f]{64}", "sha256: and 64 hex digits"),
    "A SHA-256 of canonical JSON.",
)
_instant = named(
    "instant",
    pattern(
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z",
        "an instant in UTC such as 2026-11-22T21:04:07Z",
    ),
    "An instant in UTC (RFC 3339).",
)
_family = pattern(r"[a-z0-9-]+(/[a-z0-9-]+)?", "the name of a family such as atari-dqn or lab/world-model")


@dataclass(frozen=True, kw_only=True)
class Architecture(Document):
    """Which network the weights are: a family, and the network's name in it."""

    family: str = value(
        _family, "The family of networks, which fixes the fields of config and the names of the tensors."
    )
    name: str = value(text, "The network within its family; it follows from config.")


@dataclass(frozen=True, kw_only=True)
class TensorEntry(Document):
    """One stored tensor."""

    dtype: str = value(choice(*DTYPES), "Type of the elements, as safetensors names it.")
    shape: tuple[int, ...] = value(listing(count), "Sizes of the dimensions, outermost first; empty for a scalar.")
    offset: int = value(count, "Where the tensor's bytes begin, counted from the first byte behind the header.")
    digest: str = value(_digest, "Digest of the tensor's bytes as they are stored: row-major, little-endian.")


@dataclass(frozen=True, kw_only=True)
class FileEntry(Document):
    """One safetensors file, whose header follows from the tensors listed."""

    bytes: int = value(count, "Size of the file.")
    sha256: str = value(_sha256, "Digest of the whole file.")
    tensors: Mapping[str, TensorEntry] = value(
        mapping(document("tensor", TensorEntry)), "Every tensor that is stored in the file, by name."
    )
    tied: Mapping[str, str] = value(
        mapping(text),
        "Names of tensors that are not stored, each with the stored name whose bytes it shares.",
        default_factory=dict,
    )

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
    """Where a checkpoint came from."""

    parent: str | None = value(
        optional(_identity), "The manifest_digest of the checkpoint this one came from.", default=None
    )
    kind: str = value(choice(*KINDS), "How this checkpoint came from its parent.")
    run_id: str | None = value(optional(text), "The run that wrote the checkpoint.", default=None)
    code: Mapping[str, Any] = value(free, "The training code: commit, dirty.", default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source(Document):
    """The file a checkpoint was converted from."""

    name: str = value(text, "The file's name, without its folder.")
    bytes: int = value(count, "Size of the file.")
    sha256: str = value(_sha256, "Digest of the file.")
    container: str = value(
        text, "What the file is: torch-zip, torch-stream, sb3-zip, pickle; wrapped ones as gzip+torch-zip."
    )
    pickle_protocol: int | None = value(
        optional(count), "Protocol of its pickle; null where there is none.", default=None
    )
    globals: tuple[str, ...] = value(
        listing(text), "Every name of code that its pickle refers to; none was looked up.", default=()
    )


@dataclass(frozen=True, kw_only=True)
class Transform(Document):
    """A stored tensor that is not a whole tensor of the source: some rows of it, or it without unit dimensions."""

    name: str = value(text, "The stored tensor.")
    source: str = value(text, "The tensor of the source it was taken from.")
    rows: tuple[int, ...] | None = value(
        optional(listing(count)), "First row and the row behind the last; null for all.", default=None
    )
    squeezed: bool = value(flag, "Whether dimensions of size 1 were taken out.", default=False)


@dataclass(frozen=True, kw_only=True)
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
        "Stored tensors that are not a whole tensor of the source.",
        default=(),
    )
    made: tuple[str, ...] = value(
        listing(text), "Stored tensors that follow from the config and stood nowhere in the source.", default=()
    )
    dropped: tuple[str, ...] = value(
        listing(text), "Tensors of the source's network, and values beside it, that were left out.", default=()
    )
    left: tuple[str, ...] = value(
        listing(text), "Networks of the source that were not taken, by where they lay in it.", default=()
    )
    tied: tuple[tuple[str, ...], ...] = value(
        listing(listing(text)), "Groups of names that shared their bytes in the source.", default=()
    )
    verified: bool = value(flag, "Whether the result was read back and compared with the source, tensor by tensor.")


@dataclass(frozen=True, kw_only=True)
class Resume(Document):
    """What a resume finds in this checkpoint, and what it lacks."""

    has: tuple[str, ...] = value(
        listing(text), "Parts of the training's state that are stored: optimizer, target, rng, environment, replay."
    )
    lacks: tuple[str, ...] = value(listing(text), "Parts that are not, and start anew.")


def _format(item: Any, where: str, relaxed: bool) -> str:
    if item != FORMAT:
        raise wrong(f"must be {FORMAT}", where, "manifest.format")
    return FORMAT


_file = document("file", FileEntry)


def _files(item: Any, where: str, relaxed: bool) -> dict[str, FileEntry]:
    parsed: dict[str, FileEntry] = mapping(_file).parse(item, where, relaxed)
    if unknown := sorted(set(parsed) - set(SAFETENSORS)):
        raise wrong(f"names {unknown[0]!r}, which is no file of a checkpoint", where, "manifest.file-name")
    if WEIGHTS not in parsed:
        raise wrong(f"{WEIGHTS} is missing", where, "manifest.missing")
    return parsed


_CONTENTS = {
    WEIGHTS: "The network, under canonical tensor names.",
    STATE: "What a resume needs: optimizer, target network, generators, counters.",
    REPLAY: "The replay buffer.",
}
_files_schema = {
    "type": "object",
    "additionalProperties": False,
    "required": [WEIGHTS],
    "properties": {name: {**_file.schema, "description": about} for name, about in _CONTENTS.items()},
}
_version = {
    "type": "string",
    "title": "a version 1.x",
    "pattern": r"^1\.(0|[1-9][0-9]{0,5})$",
}


@dataclass(frozen=True, kw_only=True)
class Manifest(Document):
    """What `manifest.json` says. `architecture` and `config` are None where the network is unknown.

    What the fields of `config` mean is known to the family, which need not be installed: it is kept as it is.
    """

    rules: ClassVar[Mapping[str, Any]] = {
        "if": {"required": ["architecture"], "properties": {"architecture": {"type": "null"}}},
        "then": {"properties": {"config": {"type": "null"}}},
        "else": {"properties": {"config": {"type": "object"}}},
    }

    format: str = value(
        Kind(_format, {"const": FORMAT}),
        "Tells this document from every other manifest.json.",
        default=FORMAT,
        written=True,
    )
    format_version: str = value(
        Kind(text.parse, _version),
        "Major and minor version of the format. A newer minor may bring fields that this schema does not know; a "
        "reader keeps them and warns.",
        default=FORMAT_VERSION,
        written=True,
    )
    created_at: str = value(_instant, "When the checkpoint was written.")
    created_by: Mapping[str, str] = value(
        mapping(text),
        "Versions at work when the checkpoint was written: ckptfmt, python, platform, and torch or numpy where they "
        "were loaded.",
    )
    architecture: Architecture | None = value(
        optional(document("architecture", Architecture)),
        "Which network the weights are; null where it is unknown. Known together with config or not at all.",
    )
    config: Mapping[str, Any] | None = value(
        optional(free),
        "What the network is rebuilt from; null where it is unknown. Each family has a schema of its own for it.",
    )
    config_origin: Mapping[str, str] = value(
        mapping(choice(*ORIGINS)),
        "How each field of config came to be known: declared by the source file, inferred from the weights, given by "
        "a person, measured by playing, or assumed.",
        default_factory=dict,
    )
    environment: Mapping[str, Any] = value(
        free,
        "The environment the network plays in, as the training code describes it: id, frame_skip, frame_stack, "
        "screen_size, wrappers.",
        default_factory=dict,
    )
    training_info: Mapping[str, Any] = value(
        free,
        "What the training code says of the training: frame_idx, episode_idx, best_eval_reward, hyperparameters.",
        default_factory=dict,
    )
    evaluation: tuple[Mapping[str, Any], ...] = value(
        listing(free), "Results of evaluations, each with its protocol, oldest first.", default=()
    )
    lineage: Lineage | None = value(
        optional(document("lineage", Lineage)), "Where the checkpoint came from.", default=None
    )
    conversion: ConversionEntry | None = value(
        optional(document("conversion", ConversionEntry)), "How the checkpoint was made of a legacy file.", default=None
    )
    resume: Resume | None = value(
        optional(document("resume", Resume)), "What a resumed training finds here and what it lacks.", default=None
    )
    files: Mapping[str, FileEntry] = value(
        Kind(_files, _files_schema, _file.defs),
        "Every safetensors file of the checkpoint; no other may lie beside them.",
    )
    extra: Mapping[str, Any] = value(free, "Free space for whatever the format does not know.", default_factory=dict)
    content_digest: str = value(
        _identity,
        "The identity of the network: SHA-256 of the canonical JSON (RFC 8785) of the sorted list of [name, dtype, "
        "shape, digest] of the tensors of weights.safetensors, blake3: left out of the digests.",
    )
    manifest_digest: str = value(
        _identity,
        "SHA-256 of the canonical JSON (RFC 8785) of this document without this field.",
        default="",
        written=True,
    )

    @property
    def weights(self) -> FileEntry:
        """Return the entry of the file that holds the network."""
        return self.files[WEIGHTS]

    def content(self) -> str:
        """Return the digest that the tensors listed make."""
        return content_digest((name, t.dtype, t.shape, t.digest) for name, t in self.weights.tensors.items())

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
        manifest = Manifest.from_dict(settled(raw), relaxed=relaxed)
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
