"""The manifest: the label of a checkpoint, as frozen documents.

`parse_manifest` is the one definition of a manifest that can be used; `render_manifest` the one text that a
manifest has. Both hold the digest of the manifest over its content, so a changed byte is found.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ckptfmt.errors import ManifestError, Problem, printable
from ckptfmt.format import jsontext
from ckptfmt.format.digest import content_digest, manifest_digest
from ckptfmt.format.document import Document, document, value
from ckptfmt.format.entries import (
    KINDS,
    ORIGINS,
    Architecture,
    ConversionEntry,
    FileEntry,
    Lineage,
    Resume,
    Source,
    TensorEntry,
    Transform,
    identity,
    instant,
)
from ckptfmt.format.files import MAX_MANIFEST, REPLAY, SAFETENSORS, STATE, WEIGHTS
from ckptfmt.format.kinds import (
    Kind,
    choice,
    free,
    listing,
    mapping,
    optional,
    text,
    wrong,
)
from ckptfmt.format.prerelease import settled
from ckptfmt.format.safetensors import TensorInfo
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
    created_at: str = value(instant, "When the checkpoint was written.")
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
        identity,
        "The identity of the network: SHA-256 of the canonical JSON (RFC 8785) of the sorted list of [name, dtype, "
        "shape, digest] of the tensors of weights.safetensors, blake3: left out of the digests.",
    )
    manifest_digest: str = value(
        identity,
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

    def sealed_bytes(self) -> bytes:
        """Return the bytes of `manifest.json` of the sealed manifest, which itself need not be made for them."""
        raw = dataclasses.replace(self, content_digest=self.content()).to_dict()
        raw["manifest_digest"] = manifest_digest(raw)
        return _rendered(raw)


class LineEnds(ManifestError):
    """A manifest whose line ends were changed, and nothing else."""

    code = "manifest.line-ends"


def render_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of `manifest.json`."""
    return _rendered(manifest.to_dict())


def _rendered(raw: dict[str, Any]) -> bytes:
    return jsontext.render(raw).encode("utf-8")


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
