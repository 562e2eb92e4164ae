"""Signatures of checkpoints: who vouches for what lies in the folder.

A signature is a bundle of the OpenSSF's model signing, made with a key of ours and kept as `model.sig` in the
folder. It states the SHA-256 of every file, which stand in the manifest, so that no weight is read to sign; and, for
who asks for the network alone, how its tensors are put together, which stands in the manifest only.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from ckptfmt.errors import CkptError, MissingFile, WeightsError, printable
from ckptfmt.format.digest import json_digest
from ckptfmt.format.files import (
    HUB_WEIGHTS,
    MANIFEST,
    MAX_SIGNATURE,
    REPLAY,
    SIGNATURE,
    STATE,
    WEIGHTS,
    OpenFile,
    OpenFolder,
    is_there,
    open_file,
    open_folder,
    open_single,
    read_exactly,
    read_manifest,
    release,
)
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.parse import parse_manifest
from ckptfmt.format.record import record
from ckptfmt.format.shards import plain_name
from ckptfmt.look.validate import validate
from ckptfmt.share._beside import digest_beside, is_beside
from ckptfmt.share._bundle import Statement, make_bundle, open_bundle
from ckptfmt.share._keys import PrivateKey, hint, load_private, load_public
from ckptfmt.store.write.companion import write_companion

__all__ = ["SIGNATURE", "Signature", "Verification", "sign", "verify"]

# What git and the hub's client keep beside the files of a model, and the signature itself; model_signing leaves out the
# same where a signature says so.
_IGNORED = (".cache", ".git", ".gitattributes", ".github", ".gitignore", SIGNATURE)
_COMPRESSED = ".zst"


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
        stand_in = _stands_in(folder, manifest)
        own = dict(_expected(text, manifest, network=network))
        # By the names that they have here, so that model_signing finds them.
        digests = {HUB_WEIGHTS if stand_in and name == WEIGHTS else name: digest for name, digest in own.items()}
        others = _others(folder, manifest)
        if not network:
            digests |= {name: digest_beside(folder, name, where=where) for name in others}
    finally:
        release(folder)
    rest = (name for name in manifest.files if name not in own)
    left_out = (MANIFEST, STATE, REPLAY, *rest, *others) if network else ()
    ignored = tuple(dict.fromkeys((*_IGNORED, *left_out)))
    # Told and not vouched for: a folder that is renamed stays what was signed.
    name = os.path.basename(os.path.realpath(where))
    bundle = _bundle(private, name, Statement(digests, ignored, _assembly(manifest)), where)
    write_companion(path, SIGNATURE, bundle, beside=text, overwrite=overwrite)
    return Signature(where, SIGNATURE, tuple(sorted(digests)), hint(private.public_key()), network)


def _bundle(key: PrivateKey, name: str, statement: Statement, where: str) -> bytes:
    """Return the bundle, where it can be read again; raise `CkptError` where names or their number forbid it."""
    try:
        for text in (name, *statement.digests, *statement.ignored):
            text.encode()
    except UnicodeEncodeError:
        what, fix = f"holds a file whose name is no text: {printable(text, 60)}", "rename it, or take it out"
        raise CkptError(what, where=where, fix=fix, code="signature.beside") from None
    bundle = make_bundle(key, name, statement)
    if len(bundle) > MAX_SIGNATURE:
        what = f"holds {len(statement.digests):,} files, more than one signature names"
        raise CkptError(what, where=where, fix="take out what belongs elsewhere", code="signature.beside")
    return bundle


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
    too; without it that is left to who loads the tensors, each of which is verified by its digest then. With
    `network` it is done always: those digests stand in the manifest, for which nobody vouches then. Raises
    `CkptError` where key, signature or checkpoint cannot be read at all.
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
            stated = _by_our_names(stated)
            expected = dict(_expected(text, manifest, network=network))
            reasons = list(_departures(stated, expected, folder, where, set(manifest.files) | {MANIFEST}))
            if network and stated.digests.get(MANIFEST) != hashlib.sha256(text).hexdigest():
                reasons += _departure_of_assembly(stated.assembly, _assembly(manifest))
            covers = tuple(sorted(stated.digests))
    finally:
        release(folder)
    # By here the manifest, or the SHA-256 of the weights in it, is what was signed, and can be relied on.
    if not reasons and (deep or network):
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


def _assembly(manifest: Manifest) -> str:
    """Return the digest of what makes tensors of the network out of those stored; "" where each is one of these.

    Of a slice: what it is a part of, and where in it; of a tied name: whose bytes it shares. No file says either.
    """
    said = {
        name: {"slices": {of: [part.of, part.at] for of, part in entry.slices.items()}, "tied": dict(entry.tied)}
        for name, entry in manifest.files.items()
        if plain_name(name) == WEIGHTS and (entry.slices or entry.tied)
    }
    return json_digest(said) if said else ""


def _departure_of_assembly(stated: str, assembly: str) -> Iterator[str]:
    """Yield what is wrong where the tensors are put together in another way than was signed."""
    if not stated and assembly:
        yield f"{SIGNATURE} does not say how the tensors of the network are put together; ask its signer for a new one"
    elif stated != assembly:
        yield "the slices or tied names of the network's tensors are not those that were signed"


def _departure_of_other(name: str, digest: str, folder: OpenFolder, where: str) -> Iterator[str]:
    """Yield what is wrong with a signed file that no manifest lists, such as a model card."""
    if not is_beside(name):
        yield f"{name} was signed and lies outside of the folder"
        return
    try:
        if digest_beside(folder, name, where=where) != digest:
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
    stand_in = {HUB_WEIGHTS} if _stands_in(folder, manifest) else set()
    names = os.listdir(folder) if isinstance(folder, int) else folder.names() if folder.can_list else ()
    return sorted(name for name in names if name not in own | stand_in)


def _stands_in(folder: OpenFolder, manifest: Manifest) -> bool:
    """Whether the weights have the name here that hubs give them."""
    names = (WEIGHTS, WEIGHTS + _COMPRESSED)
    return WEIGHTS in manifest.files and not any(is_there(folder, n) for n in names) and is_there(folder, HUB_WEIGHTS)


def _by_our_names(stated: Statement) -> Statement:
    """Return a statement with the weights by our name of them: a folder of a hub has another, and they are the same."""
    if WEIGHTS in stated.digests or HUB_WEIGHTS not in stated.digests:
        return stated
    names = {name: WEIGHTS if name == HUB_WEIGHTS else name for name in stated.digests}
    return Statement({names[name]: digest for name, digest in stated.digests.items()}, stated.ignored, stated.assembly)


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
        file, size = open_single(place)
    try:
        if size > MAX_SIGNATURE:
            raise CkptError(f"is {size:,} bytes, too large for a signature", where=place, code="signature.malformed")
        return read_exactly(file, 0, size, where=place), place
    finally:
        release(file)
