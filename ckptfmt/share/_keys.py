"""Keys of signatures: read from PEM files, and what each kind signs with."""

import hashlib
import os
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ckptfmt.errors import CkptError

__all__ = ["hint", "is_genuine", "load_private", "load_public", "sign_bytes"]

# A PEM of the largest key taken here is a few hundred bytes; what is larger is another file.
_MOST = 64 << 10
# The curves of the OpenSSF's bundles, each with the hash that goes with it (sigstore's protobuf specs).
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def load_private(path: str | os.PathLike[str], password: bytes | None = None) -> PrivateKey:
    """Return the private key of a PEM file: P-256, P-384, P-521 or Ed25519."""
    where, data = os.fspath(path), _read(path)
    if b"PUBLIC KEY" in data and b"PRIVATE KEY" not in data:
        raise _unfit("is a public key, and only a private one signs", where, "give the private key of the pair")
    try:
        key = serialization.load_pem_private_key(data, password)
    except TypeError:
        what = "is encrypted" if password is None else "is not encrypted, and a password was given"
        raise _unfit(what, where, "give the password of an encrypted key, and none for another") from None
    except (ValueError, UnsupportedAlgorithm):
        what = "is no private key in PEM form" if password is None else "does not open with this password"
        raise _unfit(what, where, "make one with: openssl ecparam -name prime256v1 -genkey -noout") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey) and not _on_a_known_curve(key, ec.EllipticCurvePrivateKey):
        raise _unfit("is a key of a kind that signs no models", where, "use a P-256 key")
    return key  # type: ignore[return-value]


def load_public(path: str | os.PathLike[str]) -> PublicKey:
    """Return the public key of a PEM file: P-256, P-384, P-521 or Ed25519."""
    where, data = os.fspath(path), _read(path)
    if b"PRIVATE KEY" in data:
        raise _unfit("is a private key, which only the signer should have", where, "give the public key of the pair")
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        fix = "derive it from the private one with: openssl ec -in private.pem -pubout"
        raise _unfit("is no public key in PEM form", where, fix) from None
    if not isinstance(key, ed25519.Ed25519PublicKey) and not _on_a_known_curve(key, ec.EllipticCurvePublicKey):
        raise _unfit("is a key of a kind that signs no models", where, "use a P-256 key")
    return key  # type: ignore[return-value]


def sign_bytes(key: PrivateKey, data: bytes) -> bytes:
    """Return the signature of `data`: ECDSA in DER, or Ed25519's 64 bytes."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    return key.sign(data, ec.ECDSA(_HASHES[key.curve.name]))


def is_genuine(key: PublicKey, signature: bytes, data: bytes) -> bool:
    """Return whether `signature` is one of `data` by the private half of `key`."""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            key.verify(signature, data, ec.ECDSA(_HASHES[key.curve.name]))
    except InvalidSignature:
        return False
    return True


def hint(key: PublicKey) -> str:
    """Return the SHA-256 of a public key's PEM, by which a bundle says which key made it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.PEM, form)).hexdigest()


def _on_a_known_curve(key: Any, kind: type) -> bool:
    return isinstance(key, kind) and key.curve.name in _HASHES  # type: ignore[attr-defined]


def _read(path: str | os.PathLike[str]) -> bytes:
    where = os.fspath(path)
    try:
        # A pipe is a way to hand a key over without a file (bash's <(...)), so it is read like one.
        with open(path, "rb") as file:
            data = file.read(_MOST + 1)
    except (OSError, ValueError) as e:
        reason = (e.strerror or str(e)) if isinstance(e, OSError) else str(e)
        raise _unfit(f"cannot be read: {reason}", where, "check the path of the key") from None
    if len(data) > _MOST:
        raise _unfit("is too large for a key", where, "check the path of the key")
    return data


def _unfit(what: str, where: str, fix: str) -> CkptError:
    return CkptError(what, where=where, fix=fix, code="signature.key")
