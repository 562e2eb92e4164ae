"""Checks of a checkpoint's folder and manifest; each is a small function that yields what is wrong."""

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ckptfmt.errors import CkptError, Problem, printable
from ckptfmt.families import registry
from ckptfmt.families.blueprint import Blueprint, absent_family, misnamed
from ckptfmt.format import jsontext
from ckptfmt.format.digest import manifest_digest
from ckptfmt.format.files import HUB_WEIGHTS, MANIFEST, WEIGHTS, OpenFolder, compressed_name, is_companion
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.parse import contradictions
from ckptfmt.format.shards import plain_name
from ckptfmt.format.travelled import is_rewritten, open_link
from ckptfmt.format.versions import NEWEST

__all__ = [
    "config_alone",
    "consistency",
    "file_entries",
    "folder",
    "network",
    "newer_version",
    "own_digest",
    "training",
]

# What training code calls its counters; a count below zero was never counted.
_COUNTERS = frozenset(
    {
        "episode",
        "episode_idx",
        "episodes",
        "frame",
        "frame_idx",
        "frames",
        "global_step",
        "num_episodes",
        "num_steps",
        "step",
        "steps",
        "total_episodes",
        "total_frames",
        "total_steps",
    }
)
_AGAIN = "copy it again or re-save it"


def folder(descriptor: OpenFolder, listed: frozenset[str]) -> Iterator[Problem]:
    """Yield what lies in the folder and does not belong there; `listed` are the files of the manifest."""
    names = _names(descriptor)
    # Where the weights are called as on the hub, that file is the listed one.
    stand_in = {HUB_WEIGHTS} if WEIGHTS in listed and not _is_here(descriptor, WEIGHTS, dict(names)) else set()
    for name, mode in names:
        where = printable(name)
        if name == MANIFEST or name in listed or name in stand_in:
            continue
        if (
            isinstance(descriptor, int)
            and stat.S_ISLNK(mode)
            and (linked := open_link(descriptor, name, MANIFEST)) is not None
        ):
            os.close(linked)
            mode = stat.S_IFREG
        if is_companion(name, folder=stat.S_ISDIR(mode)) and (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            continue
        # AppleDouble: what a copy to a foreign filesystem makes of a file's attributes.
        if name.startswith("._"):
            message = "is what macOS leaves beside a file that it copies"
            yield Problem("layout.unlisted", where, message, "remove it", "warning")
            continue
        if not stat.S_ISREG(mode):
            message = f"is {_kind(mode)}, a checkpoint holds plain files only"
            yield Problem("layout.not-regular", where, message, "remove it, or copy what it stands for elsewhere")
        elif not isinstance(descriptor, int) and descriptor.was_left(name):
            message = "was left by an upload that lost, and is passed over"
            yield Problem("layout.unlisted", where, message, "remove it with the provider's tool", "warning")
        elif name.endswith((".safetensors", compressed_name(".safetensors"))):
            message = "is not in the manifest; whoever loads every safetensors file of a folder would load it"
            yield Problem("layout.unlisted-weights", where, message, "move it out of the folder")
        else:
            message = "is not in the manifest"
            yield Problem("layout.unlisted", where, message, "move it out of the folder", "warning")


def _is_here(descriptor: OpenFolder, name: str, names: Collection[str]) -> bool:
    if name not in names or isinstance(descriptor, int) or HUB_WEIGHTS not in names:
        return name in names
    return not descriptor.was_left(name)


def _names(descriptor: OpenFolder) -> list[tuple[str, int]]:
    """Return the names in a folder, each with the mode of what is called so."""
    if not isinstance(descriptor, int):
        return sorted((name, stat.S_IFREG) for name in (descriptor.names() if descriptor.can_list else ()))
    with os.scandir(descriptor) as entries:
        return sorted((entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries)


def newer_version(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield that a newer minor version wrote the manifest, with the fields that this one does not know."""
    known = Manifest.__dataclass_fields__
    unknown = ", ".join(printable(name, 60) for name in raw if name not in known) or "none"
    message = f"is {raw['format_version']}, this ckpt reads {NEWEST}; fields it does not know: {unknown}"
    yield Problem("version.newer", f"{MANIFEST} $.format_version", message, "install a newer ckptfmt", "warning")


def own_digest(raw: Mapping[str, Any], data: bytes, *, rendered: bool) -> Iterator[Problem]:
    """Yield whether the manifest is no longer the one that was written; `rendered` says whether it is to the byte."""
    try:
        digest = manifest_digest(raw)
    except CkptError as e:
        yield Problem("manifest.value", MANIFEST, e.what, "re-save the checkpoint")
        return
    if digest != raw.get("manifest_digest"):
        message = "does not match its own manifest_digest, it was changed after it was written"
        yield Problem("manifest.digest", MANIFEST, message, _AGAIN)
    elif not rendered and is_rewritten(data, jsontext.render(raw).encode("utf-8")):
        message = "is as it was written but for its line ends, which git or an editor made CRLF"
        fix = "write '*.json -text' into .gitattributes and check it out again, or mend it: ckptfmt.repair(PATH)"
        yield Problem("manifest.line-ends", MANIFEST, message, fix)
    elif not rendered:
        message = "means the same but is not written as it was, a byte was changed"
        yield Problem("manifest.form", MANIFEST, message, _AGAIN)


def consistency(manifest: Manifest) -> Iterator[Problem]:
    """Yield where parts of the manifest contradict one another."""
    try:
        for problem in contradictions(manifest):
            where = f"{MANIFEST} {problem.where}"
            yield Problem(problem.code, where, problem.message, problem.fix or "re-save the checkpoint")
    except CkptError as e:
        yield Problem.of(e, where=f"{MANIFEST} $.files", fix="re-save the checkpoint")


def config_alone(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong in a config whose every field is right by itself."""
    family = registry.named(raw)
    try:
        if family is not None and isinstance(raw.get("config"), dict):
            family.config.from_dict(raw["config"])
    except CkptError as e:
        yield Problem("config.value", f"{MANIFEST} {e.where}", e.what, e.fix or "re-save the checkpoint")


def network(manifest: Manifest, described: Blueprint | None) -> Iterator[Problem]:
    """Yield where the tensors are not those of the network that the config describes."""
    yield from absent_family(manifest, described)
    for problem in misnamed(manifest, described):
        yield replace(problem, where=f"{MANIFEST} {problem.where}", fix="re-save the checkpoint")
    if described is None:
        return
    for sentence in described.mismatches(manifest.weights.named):
        yield Problem("weights.network", WEIGHTS, sentence, "re-save it with the config of this network")


def training(manifest: Manifest) -> Iterator[Problem]:
    """Yield counters of the training that cannot be."""
    for name, count in manifest.training_info.items():
        # Turned around, so that NaN is found too.
        if name in _COUNTERS and isinstance(count, int | float) and not count >= 0:
            where = f"{MANIFEST} $.training_info.{name}"
            message = f"is {count}, should be 0 or more"
            yield Problem("training.value", where, message, "re-save the checkpoint", "warning")


def file_entries(raw: Mapping[str, Any], *, relaxed: bool) -> dict[str, FileEntry]:
    """Return what can be read of `$.files` in a manifest that as a whole cannot."""
    files = raw.get("files")
    found = {}
    for name, entry in files.items() if isinstance(files, dict) else ():
        if plain_name(name) is not None:
            try:
                found[name] = FileEntry.from_dict(entry, f"$.files.{name}", relaxed=relaxed)
            except CkptError:
                continue
    return found


def _kind(mode: int) -> str:
    kinds = {stat.S_ISLNK: "a link", stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
    return next((name for test, name in kinds.items() if test(mode)), "a device")
