"""The manifest: the label of a checkpoint, as frozen documents.

`render_manifest` gives the one text that a manifest has; `ckptfmt.format.parse` reads it.
"""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

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
    Slice,
    Source,
    SplitEntry,
    TensorEntry,
    Transform,
    WholeEntry,
    identity,
    instant,
)
from ckptfmt.format.files import REPLAY, SAFETENSORS, STATE, WEIGHTS
from ckptfmt.format.joined import joined
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
from ckptfmt.format.record import record
from ckptfmt.format.shards import SHARD_PATTERN, is_sharded, plain_name
from ckptfmt.format.versions import FORMAT, FORMAT_VERSION

__all__ = [
    "KINDS",
    "ORIGINS",
    "Architecture",
    "ConversionEntry",
    "FileEntry",
    "Lineage",
    "Manifest",
    "Resume",
    "Slice",
    "Source",
    "SplitEntry",
    "TensorEntry",
    "Transform",
    "WholeEntry",
    "render_manifest",
]


def _format(item: Any, where: str, relaxed: bool) -> str:
    if item != FORMAT:
        raise wrong(f"must be {FORMAT}", where, "manifest.format")
    return FORMAT


_file = document("file", FileEntry)


def _files(item: Any, where: str, relaxed: bool) -> dict[str, FileEntry]:
    parsed: dict[str, FileEntry] = mapping(_file).parse(item, where, relaxed)
    if unknown := sorted(name for name in parsed if plain_name(name) is None):
        raise wrong(f"names {unknown[0]!r}, which is no file of a checkpoint", where, "manifest.file-name")
    if WEIGHTS not in map(plain_name, parsed):
        raise wrong(f"{WEIGHTS} is missing", where, "manifest.missing")
    return parsed


_split = document("split", SplitEntry)


def _halves(item: Any, where: str, relaxed: bool) -> dict[str, SplitEntry]:
    parsed: dict[str, SplitEntry] = mapping(_split).parse(item, where, relaxed)
    if unknown := sorted(set(parsed) - set(SAFETENSORS)):
        raise wrong(f"names {unknown[0]!r}, which is no file of a checkpoint", where, "manifest.file-name")
    return parsed


_CONTENTS = {
    WEIGHTS: "The network, under canonical tensor names.",
    STATE: "What a resume needs: optimizer, target network, generators, counters.",
    REPLAY: "The replay buffer.",
}
_files_schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {name: {**_file.schema, "description": about} for name, about in _CONTENTS.items()},
    "patternProperties": {
        SHARD_PATTERN: {**_file.schema, "description": "A part of one of these files, instead of it. Since 1.1."}
    },
    # Where no part of the weights is there, the whole of them must be.
    "if": {"propertyNames": {"not": {"pattern": "^weights-"}}},
    "then": {"required": [WEIGHTS]},
}
_split_schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": dict.fromkeys(_CONTENTS, _split.schema),
}
_version = {
    "type": "string",
    "title": "a version 1.x",
    "pattern": r"^1\.(0|[1-9][0-9]{0,5})$",
}


@record(kw_only=True, slots=False)
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
    split: Mapping[str, SplitEntry] = value(
        Kind(_halves, _split_schema, _split.defs),
        "Of each file that lies in parts: the tensors that lie in slices in several of these, as they are whole.",
        since="1.1",
        default_factory=dict,
    )
    extra: Mapping[str, Any] = value(free, "Free space for whatever the format does not know.", default_factory=dict)
    content_digest: str = value(
        identity,
        "The identity of the network: SHA-256 of the canonical JSON (RFC 8785) of the sorted list of [name, dtype, "
        "shape, digest] of the whole tensors of weights.safetensors, blake3: left out of the digests.",
    )
    manifest_digest: str = value(
        identity,
        "SHA-256 of the canonical JSON (RFC 8785) of this document without this field.",
        default="",
        written=True,
    )

    @cached_property
    def contents(self) -> Mapping[str, FileEntry]:
        """Return what the checkpoint holds, by the names of `SAFETENSORS`, whether in one file or in parts.

        The entry of what lies in parts is that of the one file which they would make, its SHA-256 left out.
        """
        return joined(self.files, self.split) if is_sharded(self.files) else self.files

    @property
    def weights(self) -> FileEntry:
        """Return the entry of the file that holds the network, joined where it lies in parts."""
        return self.contents[WEIGHTS]

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


def render_manifest(manifest: Manifest) -> bytes:
    """Return the bytes of `manifest.json`."""
    return _rendered(manifest.to_dict())


def _rendered(raw: dict[str, Any]) -> bytes:
    return jsontext.render(raw).encode("utf-8")
