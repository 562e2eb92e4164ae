"""Signatures of checkpoints: who vouches for what lies in the folder.

A signature is a bundle of the OpenSSF's model signing, made with a key of ours and kept as `model.sig` in the
folder. It states the SHA-256 of every file, which stand in the manifest, so that no weight is read to sign.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ckptfmt.errors import CkptError, MissingFile, WeightsError
from ckptfmt.format.files import (
    MANIFEST,
    MAX_SIGNATURE,
    REPLAY,
    SIGNATURE,
    STATE,
    WEIGHTS,
    OpenFile,
    OpenFolder,
    open_file,
    open_folder,
    open_near,
    read_exactly,
    read_manifest,
    release,
)
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.parse import parse_manifest
from ckptfmt.format.record import record
from ckptfmt.format.shards import plain_name
from ckptfmt.look.validate import validate
from ckptfmt.share._bundle import Statement, make_bundle, open_bundle
from ckptfmt.share._keys import hint, load_private, load_public
from ckptfmt.store.write.companion import write_companion

__all__ = ["SIGNATURE", "Signature", "Verification", "sign", "verify"]

# What git keeps beside the files of a model, and the signature itself: model_signing leaves out the same.
_IGNORED = (".git", ".gitattributes", ".github", ".gitignore", SIGNATURE)
_COMPRESSED = ".zst"
# A call costs nothing beside the SHA-256 of as much, and files larger than memory are signed.
_BLOCK = 4 << 20


@record
class Signature:
    """A signature that was made: its file, the files it vouches for, the hint of the public key."""

    path: str
    file: str
    covers: tuple[str, ...]
    key: str
    network: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the result of `ckpt sign --json`."""
        return {
            "path": self.path,
            "file": self.file,
            "covers": list(self.covers),
            "key": self.key,
            "network": self.network,
        }


@record
class Verification:
    """What came of holding a checkpoint against its signature.

    `reasons` are whole sentences, none where all is well; `covers` are the files the signature vouches for;
    `unsigned` lie in the folder without being vouched for. `manifest_digest` is that of the manifest looked
    at, so that a reader can be sure to open the very checkpoint that was verified.
    """

    path: str
    good: bool
    reasons: tuple[str, ...]
    covers: tuple[str, ...]
    unsigned: tuple[str, ...]
    key: str
    manifest_digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return the result of `ckpt verify --json`."""
        return {
            "path": self.path,
            "good": self.good,
            "reasons": list(self.reasons),
            "covers": list(self.covers),
            "unsigned": list(self.unsigned),
            "key": self.key,
            "manifest_digest": self.manifest_digest,
        }


def sign(
    path: str | os.PathLike[str],
    key: str | os.PathLike[str],
    *,
    password: bytes | None = None,
    network: bool = False,
    overwrite: bool = False,
) -> Signature:
    """Sign the checkpoint at `path` with the private key in the PEM file `key`; write `model.sig` into it.

    The signature covers the manifest, every file it lists and what else lies in the folder; with `network`
    the weights alone, so that later evaluations, which change the manifest, leave it good. P-256 is the kind
    of key that model_signing takes as well; Ed25519 is verified by this package only. Raises `CkptError` for
    a key that cannot be used, `TargetExists` where a signature is there and `overwrite` is not given.
    """
    where = os.fspath(path)
    private = load_private(key, password)
    folder = open_folder(path)
    try:
        text, manifest = _read(folder, where)
        digests = dict(_expected(text, manifest, network=network))
        others = _others(folder, manifest)
        if not network:
            digests |= {name: _sha256(folder, name, where) for name in others}
    finally:
        release(folder)
    rest = (name for name in manifest.files if name not in digests)
    left_out = (MANIFEST, STATE, REPLAY, *rest, *others) if network else ()
    ignored = tuple(dict.fromkeys((*_IGNORED, *left_out)))
    name = os.path.basename(os.path.realpath(where))
    bundle = make_bundle(private, name, Statement(digests, ignored))
    write_companion(path, SIGNATURE, bundle, overwrite=overwrite)
    return Signature(where, SIGNATURE, tuple(sorted(digests)), hint(private.public_key()), network)


def verify(
    path: str | os.PathLike[str],
    key: str | os.PathLike[str],
    *,
    network: bool = False,
    signature: str | os.PathLike[str] | None = None,
    deep: bool = True,
) -> Verification:
    """Hold the checkpoint at `path` against its `model.sig` (or the file `signature`) and the public `key`.

    With `network` a signature of the weights alone suffices. `deep` holds every byte against the manifest
    too; without it that is left to who loads the tensors, each of which is verified by its digest then.
    Raises `CkptError` where key, signature or checkpoint cannot be read at all.
    """
    where = os.fspath(path)
    public = load_public(key)
    folder = open_folder(path)
    try:
        text, manifest = _read(folder, where)
        data, place = _signature(folder, signature, where)
        stated = open_bundle(data, public, where=place)
        others = _others(folder, manifest)
        covers: tuple[str, ...] = ()
        if isinstance(stated, str):
            reasons = [f"{SIGNATURE} {stated}"]
        else:
            expected = dict(_expected(text, manifest, network=network))
            reasons = list(_departures(stated, expected, folder, where, set(manifest.files) | {MANIFEST}))
            covers = tuple(sorted(stated.digests))
    finally:
        release(folder)
    if not reasons and deep:
        reasons = [f"{p.where}: {p.message}" for p in validate(path).errors]
    unsigned = tuple(name for name in others if name not in covers) if not network else ()
    return Verification(where, not reasons, tuple(reasons), covers, unsigned, hint(public), manifest.manifest_digest)


def _departures(
    stated: Statement, expected: Mapping[str, str], folder: OpenFolder, where: str, ours: set[str]
) -> Iterator[str]:
    """Yield how the checkpoint that is here differs from the one that was signed."""
    signed = stated.digests
    if MANIFEST in expected and MANIFEST not in signed:
        yield f"{SIGNATURE} signs the weights alone, and not {MANIFEST}"
        return
    for name, digest in expected.items():
        if name not in signed:
            yield f"{name} is not signed"
        elif signed[name] != digest:
            yield f"{name} is not the one that was signed"
    for name in sorted(set(signed) - set(expected)):
        if name in ours:
            # A file of the manifest that `expected` leaves out, with a signature of the whole.
            continue
        yield from _departure_of_other(name, signed[name], folder, where)


def _departure_of_other(name: str, digest: str, folder: OpenFolder, where: str) -> Iterator[str]:
    """Yield what is wrong with a signed file that no manifest lists, such as a model card."""
    if "/" in name or name in ("", ".", ".."):
        yield f"{name} was signed and lies outside of the folder"
        return
    try:
        if _sha256(folder, name, where) != digest:
            yield f"{name} is not the one that was signed"
    except WeightsError as e:
        yield f"{name} was signed and {e.what}"


def _expected(text: bytes, manifest: Manifest, *, network: bool) -> Iterator[tuple[str, str]]:
    """Yield (name, SHA-256) of what must be signed: the plain files' digests as the manifest has them."""
    if network:
        weights = [name for name in manifest.files if plain_name(name) == WEIGHTS]
        yield from ((name, manifest.files[name].sha256) for name in weights)
        return
    yield MANIFEST, hashlib.sha256(text).hexdigest()
    yield from ((name, entry.sha256) for name, entry in manifest.files.items())


def _others(folder: OpenFolder, manifest: Manifest) -> list[str]:
    """Return the names in the folder that are neither the checkpoint's own nor left out on purpose."""
    own = {MANIFEST, *manifest.files, *(name + _COMPRESSED for name in manifest.files), *_IGNORED}
    names = os.listdir(folder) if isinstance(folder, int) else folder.names() if folder.can_list else ()
    return sorted(name for name in names if name not in own)


def _sha256(folder: OpenFolder, name: str, where: str) -> str:
    file, size = open_file(folder, name, where=where)
    try:
        hasher = hashlib.sha256()
        for offset in range(0, size, _BLOCK):
            hasher.update(read_exactly(file, offset, min(_BLOCK, size - offset), where=os.path.join(where, name)))
    finally:
        release(file)
    return hasher.hexdigest()


def _read(folder: OpenFolder, where: str) -> tuple[bytes, Manifest]:
    text = read_manifest(folder, where=where)
    manifest = parse_manifest(text, where=os.path.join(where, MANIFEST))
    return text, manifest


def _signature(folder: OpenFolder, signature: str | os.PathLike[str] | None, where: str) -> tuple[bytes, str]:
    """Return the bytes of the signature and where it is."""
    if signature is None:
        place = os.path.join(where, SIGNATURE)
        file: OpenFile
        try:
            file, size = open_file(folder, SIGNATURE, where=where)
        except WeightsError as e:
            what = "is not signed" if isinstance(e, MissingFile) else e.what
            raise CkptError(what, where=where, fix="sign it with its private key", code="signature.missing") from None
    else:
        place = os.fspath(signature)
        parent, name = os.path.split(os.path.abspath(place))
        beside = open_near(parent)
        try:
            file, size = open_file(beside, name, where=parent)
        finally:
            release(beside)
    try:
        if size > MAX_SIGNATURE:
            raise CkptError(f"is {size:,} bytes, too large for a signature", where=place, code="signature.malformed")
        return read_exactly(file, 0, size, where=place), place
    finally:
        release(file)
