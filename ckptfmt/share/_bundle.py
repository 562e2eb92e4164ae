"""Bundles: signed statements about files, in the form of the OpenSSF's model signing.

A bundle holds an in-toto statement (which files, which SHA-256) in a DSSE envelope, signed with a key
(https://github.com/ossf/model-signing-spec, sigstore bundle v0.3). `model_signing` reads what is written here,
and what it writes is read here.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.files import MAX_SIGNATURE
from ckptfmt.format.jsontext import parse
from ckptfmt.format.record import record
from ckptfmt.share._keys import PrivateKey, PublicKey, hint, is_genuine, sign_bytes

__all__ = ["Statement", "make_bundle", "open_bundle"]

_PAYLOAD = "application/vnd.in-toto+json"
_MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
# Ours, in the predicate.
_ASSEMBLY = "ckptfmt_assembly"


@record
class Statement:
    """What a bundle states: the SHA-256 of each file, and which names were left out on purpose.

    `assembly` is the digest of how tensors are put together from what lies in the files; empty where none is.
    """

    digests: Mapping[str, str]
    ignored: tuple[str, ...]
    assembly: str = ""


def make_bundle(key: PrivateKey, name: str, statement: Statement) -> bytes:
    """Return the bundle that states the files of the model `name`, signed with `key`."""
    resources = [
        {"name": file, "algorithm": "sha256", "digest": digest} for file, digest in sorted(statement.digests.items())
    ]
    said: dict[str, Any] = {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": _root(statement.digests)}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": list(statement.ignored),
            },
            "resources": resources,
        },
    }
    if statement.assembly:
        # Fields that they do not know are passed over by other readers of in-toto's statements.
        said["predicate"][_ASSEMBLY] = statement.assembly
    payload = json.dumps(said).encode()
    signature = {"sig": _base64(sign_bytes(key, _pae(payload))), "keyid": ""}
    bundle = {
        "mediaType": _MEDIA,
        "verificationMaterial": {"publicKey": {"hint": hint(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {"payload": _base64(payload), "payloadType": _PAYLOAD, "signatures": [signature]},
    }
    return json.dumps(bundle).encode() + b"\n"


def open_bundle(data: bytes, key: PublicKey, *, where: str) -> Statement | str:
    """Return what a bundle states, or one sentence that says why it proves nothing with this key.

    Raises `CkptError` where `data` is no bundle of this kind at all: nothing can be said of it then.
    """
    envelope = _object(_parse(data, where), "dsseEnvelope", where)
    if envelope.get("payloadType") != _PAYLOAD:
        raise _malformed("is no signature of a model", where)
    payload = _decoded(envelope.get("payload"), where)
    signatures = envelope.get("signatures")
    # One, as the specification has it: with several each reader might believe another one.
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise _malformed("must hold one signature", where)
    if not is_genuine(key, _decoded(signatures[0].get("sig"), where), _pae(payload)):
        return "was not made with this key, or was changed"
    # From here on all that is read was written by who holds the key; it may still be about something else.
    return _read_statement(_parse(payload, where), where)


def _read_statement(said: Mapping[str, Any], where: str) -> Statement | str:
    if said.get("_type") != _STATEMENT or said.get("predicateType") != _PREDICATE:
        return "is a statement about something other than the files of a model"
    predicate = _object(said, "predicate", where)
    serialization = _object(predicate, "serialization", where)
    if serialization.get("method") != "files" or serialization.get("hash_type") != "sha256":
        return "states digests of another kind than SHA-256 of whole files, which model_signing may verify"
    digests = dict(_resources(predicate.get("resources"), where))
    subject = said.get("subject")
    named = [item.get("digest") for item in subject if isinstance(item, dict)] if isinstance(subject, list) else []
    if named != [{"sha256": _root(digests)}]:
        return "contradicts itself: the digest of its files is not that of its subject"
    ignored = serialization.get("ignore_paths", [])
    if not isinstance(ignored, list) or not all(isinstance(name, str) for name in ignored):
        raise _malformed("has ignore_paths that are no list of names", where)
    assembly = predicate.get(_ASSEMBLY, "")
    if not isinstance(assembly, str):
        raise _malformed(f"has a {_ASSEMBLY} that is no digest", where)
    return Statement(digests, tuple(ignored), assembly)


def _resources(rows: Any, where: str) -> list[tuple[str, str]]:
    if not isinstance(rows, list) or not rows:
        raise _malformed("lists no files", where)
    found: dict[str, str] = {}
    for row in rows:
        name, digest = (row.get("name"), row.get("digest")) if isinstance(row, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(digest, str) or row.get("algorithm") != "sha256":
            raise _malformed("lists a file without its name or SHA-256", where)
        if name in found:
            raise _malformed(f"lists '{printable(name, 60)}' twice", where)
        found[name] = digest
    return list(found.items())


def _root(digests: Mapping[str, str]) -> str:
    """Return the digest over all files: of their digests' bytes, in the order of their names."""
    try:
        return hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in sorted(digests.items()))).hexdigest()
    except ValueError:
        return ""


def _pae(payload: bytes) -> bytes:
    """Return what is signed: the type and the payload, each after its length (DSSE, section "PAE")."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def _parse(data: bytes, where: str) -> dict[str, Any]:
    try:
        parsed = parse(data, where=where, limit=MAX_SIGNATURE)
    except CkptError as e:
        raise _malformed(f"is not strict JSON: {e.what}", where) from None
    if not isinstance(parsed, dict):
        raise _malformed("is no signature of a model", where)
    return parsed


def _object(parent: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    child = parent.get(name)
    if not isinstance(child, dict):
        raise _malformed(f"has no {name}, so it is no signature of a model made with a key", where)
    return child


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: Any, where: str) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "?", validate=True)
    except (binascii.Error, ValueError):
        raise _malformed("holds something that is not base64", where) from None


def _malformed(what: str, where: str) -> CkptError:
    return CkptError(what, where=where, fix="sign it anew, or get the signature again", code="signature.malformed")
