"""Find every problem of a checkpoint at once, and change nothing."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ckptfmt.errors import CkptError, ManifestError, Problem, Unreadable, UnsupportedVersion, WeightsError, printable
from ckptfmt.families.blueprint import Blueprint, parse_blueprint
from ckptfmt.format.files import (
    MANIFEST,
    SAFETENSORS,
    OpenFolder,
    compressed_name,
    open_file,
    open_folder,
    read_manifest,
    release,
)
from ckptfmt.format.manifest import FileEntry, Manifest, SplitEntry
from ckptfmt.format.parse import raw_manifest
from ckptfmt.format.prerelease import settled
from ckptfmt.format.uncollected import uncollected
from ckptfmt.format.versions import check_version
from ckptfmt.look.validate import checks
from ckptfmt.look.validate.integrity import FileCheck, Progress
from ckptfmt.look.validate.report import Report
from ckptfmt.look.validate.stale import stale_training
from ckptfmt.remote.url import as_path
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["validate", "validate_open"]

# Six digits at most: a text of a million digits is no version, and slow to convert.
_VERSION = re.compile(r"[0-9]{1,6}\.[0-9]{1,6}")
# Nobody reads more, and a manifest can have a million wrong fields.
_MOST = 1000


def validate(
    path: str | os.PathLike[str], *, deep: bool = True, strict: bool = False, progress: Progress | None = None
) -> Report:
    """Look at every part of the checkpoint at `path` and return all that is wrong; write nothing.

    With `deep` every byte is read: a flipped bit is found wherever it is, and the damaged tensor named. Without
    it, the manifest, the sizes and the headers are. `strict` takes warnings for errors, and looks for numbers that
    are not finite in files of any size (see `integrity`). `progress` is called with the bytes hashed since its last
    call. Memory does not depend on the size of the files, only on that of the manifest.

    Raises `NotACheckpoint` where there is none, `UnsupportedVersion` for a format of another major version,
    `WeightsError` where the manifest may not be read; whatever else is wrong is in the report.

    >>> ckptfmt.validate("runs/best").valid
    True
    """
    look = _Look(as_path(path), deep, strict, progress)
    problems = _most(list(look.problems()), look.path)
    return Report(look.path, tuple(problems), deep, strict, look.bytes_read)


def validate_open(checkpoint: Checkpoint, *, deep: bool = True) -> Report:
    """Do what `validate` does with a checkpoint that is open, without reading its manifest a second time.

    Whoever opened it parsed it whole, and held it against its digest and against itself.
    """
    if check_version(checkpoint.manifest.format_version, where=checkpoint.path):
        # What a newer version wrote stands in its text alone.
        return validate(checkpoint.path, deep=deep)
    look = _Look(checkpoint.path, deep, strict=False, progress=None)
    problems = _most(list(look.problems_of(checkpoint)), look.path)
    return Report(look.path, tuple(problems), deep, False, look.bytes_read)


def _most(problems: list[Problem], path: str) -> list[Problem]:
    """Return as many problems as are listed, errors first where they are too many, and one that says so."""
    if len(problems) <= _MOST:
        return problems
    ordered = sorted(problems, key=lambda problem: problem.severity != "error")
    message = f"has {len(problems) - _MOST:,} problems more than the {_MOST:,} listed"
    # Surplus warnings are no error: what is listed says whether the checkpoint is sound.
    severity = ordered[0].severity
    return [
        *ordered[:_MOST],
        Problem("report.more", printable(path), message, "mend the first ones, then validate again", severity),
    ]


@dataclass(slots=True)
class _Look:
    """One look at one checkpoint, which stays the same folder from begin to end."""

    path: str
    deep: bool
    strict: bool
    progress: Progress | None
    bytes_read: int = 0
    files: dict[str, FileEntry] = field(default_factory=dict)
    split: Mapping[str, SplitEntry] = field(default_factory=dict)

    def problems(self) -> Iterator[Problem]:
        folder = open_folder(self.path)
        try:
            yield from self._manifest(folder)
            yield from self._stored(folder)
        finally:
            release(folder)

    def problems_of(self, checkpoint: Checkpoint) -> Iterator[Problem]:
        """Yield the problems of a checkpoint whose manifest was read."""
        manifest, folder = checkpoint.manifest, checkpoint.folder
        file, size = open_file(folder, MANIFEST, where=self.path)
        release(file)
        self.bytes_read += size
        self.files, self.split = dict(manifest.files), manifest.split
        yield from self._said(manifest, checkpoint.network)
        yield from self._stored(folder)

    def _stored(self, folder: OpenFolder) -> Iterator[Problem]:
        """Yield what is wrong with the files that the manifest lists, and with what lies beside them."""
        listed, sound = frozenset(self.files or SAFETENSORS), self.deep
        yield from checks.folder(folder, listed.union(map(compressed_name, listed)))
        for name, entry in self.files.items():
            check = FileCheck(folder, name, entry, self.deep, self.strict, self.progress)
            found = list(check.problems())
            yield from found
            sound = sound and not any(problem.severity == "error" for problem in found)
            self.bytes_read += check.bytes_read
        if sound and self.split:
            yield from self._wholes(folder)

    def _said(self, manifest: Manifest, network: Blueprint | None) -> Iterator[Problem]:
        """Yield what is wrong with what a sound manifest says."""
        yield from checks.network(manifest, network)
        yield from self._trained(manifest)

    def _trained(self, manifest: Manifest) -> Iterator[Problem]:
        yield from checks.training(manifest)
        yield from stale_training(self.path, manifest)

    def _wholes(self, folder: OpenFolder) -> Iterator[Problem]:
        """Yield the tensors in slices that are not what the manifest says they are whole; each slice is sound."""
        # The import that waits: what lies in slices is put together with NumPy.
        from ckptfmt.look.validate.wholes import unlike_whole

        yield from unlike_whole(folder, self.files, self.split)

    def _manifest(self, folder: OpenFolder) -> list[Problem]:
        try:
            data = read_manifest(folder, where=self.path)
        # What may not be read was not looked at, so there is nothing to report of it.
        except Unreadable:
            raise
        except (ManifestError, WeightsError) as e:
            return [_unread(e)]
        self.bytes_read += len(data)
        with uncollected(len(data)):
            return list(self._text(data))

    def _text(self, data: bytes) -> Iterator[Problem]:
        try:
            raw, rendered = raw_manifest(data, where=MANIFEST)
        except ManifestError as e:
            yield _unread(e)
            return
        relaxed = self._version(raw)
        if relaxed:
            yield from checks.newer_version(raw)
        manifest, network, found = _parse(settled(raw), relaxed=relaxed)
        yield from found
        yield from checks.own_digest(raw, data, rendered=rendered)
        self.files = dict(manifest.files) if manifest else checks.file_entries(settled(raw), relaxed=relaxed)
        if manifest is not None:
            apart = list(checks.consistency(manifest))
            yield from apart
            self.split = {} if apart else manifest.split
            yield from self._trained(manifest) if found else self._said(manifest, network)

    def _version(self, raw: Mapping[str, Any]) -> bool:
        """Return whether a newer minor version is at hand; what is no version at all is left to the schema."""
        version = raw.get("format_version")
        try:
            return check_version(version, where=os.path.join(self.path, MANIFEST))
        except UnsupportedVersion:
            if isinstance(version, str) and _VERSION.fullmatch(version):
                raise
            return False


def _unread(e: CkptError) -> Problem:
    return Problem.of(e, where=MANIFEST, fix="copy it again or re-save it")


def _parse(raw: Mapping[str, Any], *, relaxed: bool) -> tuple[Manifest | None, Blueprint | None, list[Problem]]:
    """Return the manifest and its network, and why one of them cannot be read: everything that is wrong there."""
    manifest = None
    try:
        manifest = Manifest.from_dict(raw, relaxed=relaxed)
        if _version_wrong(raw):
            raise ManifestError("is no version", where="$.format_version")
        if (manifest.architecture is None) != (manifest.config is None):
            raise ManifestError("architecture and config are known together or not at all", where="$.config")
        return manifest, parse_blueprint(manifest, where=MANIFEST), []
    except ManifestError as e:
        failure = e
    # The one import that waits: it takes as long as all others together, and a sound manifest needs it not.
    from ckptfmt.look.validate.conformance import departures

    problems = list(departures(raw, relaxed=relaxed))
    if not any(f"{problem.where}.".startswith(f"{MANIFEST} $.config.") for problem in problems):
        problems += checks.config_alone(raw)
    place = failure.where.removeprefix(f"{MANIFEST} ")
    return manifest, None, problems or [Problem.of(failure, where=f"{MANIFEST} {place}")]


def _version_wrong(raw: Mapping[str, Any]) -> bool:
    version = raw["format_version"]
    return not isinstance(version, str) or not _VERSION.fullmatch(version)
