"""Manifests parsed: `parse_manifest` is the one definition of a manifest that can be used.

What can be used holds the digest of itself over its content, so that a changed byte is found, and contradicts itself
nowhere.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ckptfmt.errors import ManifestError, Problem, printable
from ckptfmt.format import jsontext
from ckptfmt.format.digest import manifest_digest
from ckptfmt.format.files import MANIFEST, MAX_MANIFEST, OpenFolder, read_manifest
from ckptfmt.format.joined import shard_contradictions
from ckptfmt.format.kinds import wrong
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.prerelease import settled
from ckptfmt.format.tensorcount import count_tensors, too_many
from ckptfmt.format.travelled import LINK_FIX, is_rewritten, link_text
from ckptfmt.format.uncollected import uncollected
from ckptfmt.format.versions import check_version

__all__ = ["LineEnds", "contradictions", "load_manifest", "parse_manifest", "raw_manifest"]

_AGAIN = "copy it again or re-save it"


class LineEnds(ManifestError):
    """A manifest whose line ends were changed, and nothing else."""

    code = "manifest.line-ends"


def load_manifest(folder: OpenFolder, *, where: str) -> Manifest:
    """Return the manifest in a folder that is open, whose path is `where`.

    Raises `NotACheckpoint` where there is none, else as `parse_manifest`.
    """
    return parse_manifest(read_manifest(folder, where=where), where=os.path.join(where, MANIFEST))


def raw_manifest(data: bytes, *, where: str) -> tuple[Mapping[str, Any], bool]:
    """Return the JSON object in `data`, and whether it is written in the one form that it can have."""
    if end := link_text(data):
        what = f"is the text of a link to '{printable(end, 200)}', which was not kept as one"
        raise ManifestError(what, where=where, fix=LINK_FIX, code="manifest.link")
    raw, rendered = jsontext.read_rendered(data, where=where, limit=MAX_MANIFEST)
    if not isinstance(raw, dict):
        raise wrong("must hold one JSON object", where)
    # Before anything is made of the entries, each of which takes far more than its JSON.
    if surplus := too_many(count_tensors(raw)):
        raise ManifestError(surplus, where=where, code="weights.count")
    return raw, rendered


def parse_manifest(data: bytes, *, where: str) -> Manifest:
    """Return the manifest in `data`; raise `ManifestError` or `UnsupportedVersion` that says what is wrong.

    A newer minor version is read with unknown fields kept. Its digests are those of its own content and its parts
    do not contradict one another, or it is refused.
    """
    with uncollected(len(data)):
        return _parsed(data, where)


def _parsed(data: bytes, where: str) -> Manifest:
    raw, rendered = raw_manifest(data, where=where)
    relaxed = check_version(raw["format_version"], where=where) if "format_version" in raw else False
    try:
        manifest = Manifest.from_dict(settled(raw), relaxed=relaxed)
    except ManifestError as e:
        raise e.but(where=f"{where} {e.where}") from None
    if (manifest.architecture is None) != (manifest.config is None):
        raise wrong("architecture and config are known together or not at all", f"{where} $.config")
    # Of the raw document, not of the parsed one: what a newer minor version added counts too.
    if manifest_digest(raw) != manifest.manifest_digest:
        raise ManifestError(
            "does not match its own manifest_digest, it was changed after it was written",
            where=where,
            fix=_AGAIN,
            code="manifest.digest",
        )
    # Behind the digest: where the content was changed, that is the news, not how it is written.
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
            fix=_AGAIN,
            code="manifest.form",
        )
    for problem in contradictions(manifest):
        raise ManifestError(problem.message, where=f"{where} {problem.where}", fix=problem.fix, code=problem.code)
    return manifest


def contradictions(manifest: Manifest) -> Iterator[Problem]:
    """Yield each place where parts of the manifest contradict one another."""
    apart = list(shard_contradictions(manifest.files, manifest.split, manifest.format_version))
    yield from apart
    if not apart and manifest.content() != manifest.content_digest:
        yield Problem(
            "manifest.content-digest", "$.content_digest", "is not that of the tensors listed", "re-save the checkpoint"
        )
    for name, entry in manifest.files.items():
        yield from _file_contradictions(entry, f"$.files.{name}")


def _file_contradictions(entry: FileEntry, where: str) -> Iterator[Problem]:
    header, infos = entry.header
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
