"""How the files begin that writers of checkpoints write, and what a power cut leaves of such a beginning."""

from ckptfmt.format.files import MANIFEST, SIGNATURE
from ckptfmt.format.safetensors import MAX_HEADER

__all__ = ["HEAD", "MOST_SIGNATURE", "begins", "is_signature", "is_staged_file", "resembles"]

# How many bytes of a file are looked at.
HEAD = 64
# What the owner of a lock writes into it: its host and its process.
MOST_SIGNATURE = 1024

_MANIFEST = b'{\n  "format": "ckptfmt",\n'
# Behind the eight bytes that say how long the header is.
_WEIGHTS = b'{"__metadata__":{"format":"pt"}'
_ZSTD = b"\x28\xb5\x2f\xfd"
# What is written beside a checkpoint's own files, here or by model_signing: a signature. Each leaves its own spaces.
_COMPANION = b'{"mediaType":"application/vnd.dev.sigstore.bundle'
_SIGNED, _PROCESS = b'{"host": "', b'", "process": '


def begins(name: str, head: bytes) -> bool:
    """Return whether a file of a checkpoint called `name` may begin with `head`: whole, cut short or zeros."""
    if name == MANIFEST:
        return _agree(head, _MANIFEST)
    if name == SIGNATURE:
        return _agree(_dense(head), _COMPANION)
    if name.endswith(".zst"):
        return _agree(head, _ZSTD)
    return int.from_bytes(head[:8], "little") <= MAX_HEADER and _agree(head[8:], _WEIGHTS)


def resembles(name: str, head: bytes) -> bool:
    """Return whether `head` is such a beginning but for a few damaged bytes, or for the spaces of a manifest."""
    if begins(name, head):
        return True
    if name == MANIFEST:
        return _nearly(head, _MANIFEST) or _dense(head).startswith(_dense(_MANIFEST))
    if name == SIGNATURE:
        return _nearly(_dense(head), _COMPANION)
    return _nearly(head, _ZSTD) if name.endswith(".zst") else _nearly(head[8:], _WEIGHTS)


def is_staged_file(head: bytes) -> bool:
    """Return whether a file that waits beside its target begins as a manifest or a companion does."""
    return _agree(head, _MANIFEST) or _agree(_dense(head), _COMPANION)


def is_signature(data: bytes) -> bool:
    """Return whether a lock file that holds `data` may be one of ours: signed, or as a writer that died left it."""
    if len(data) > MOST_SIGNATURE:
        return False
    if not data.strip(b"\0") or _SIGNED.startswith(data):
        return True
    if not data.startswith(_SIGNED):
        return False
    host, _, rest = data[len(_SIGNED) :].partition(b'"')
    # No host has a longer name (RFC 1035).
    if b"\n" in host or len(host) > 255:
        return False
    rest = b'"' + rest
    if _PROCESS.startswith(rest):
        return True
    # A power cut may have left any beginning of it, so digits may end anywhere, but no process has ten of them.
    digits = rest.removeprefix(_PROCESS).removesuffix(b"}")
    return rest.startswith(_PROCESS) and digits.isdigit() and len(digits) < 10 and not digits.startswith(b"0")


def _dense(head: bytes) -> bytes:
    """Return a text without its spaces."""
    return b"".join(head.split())


def _agree(head: bytes, form: bytes) -> bool:
    return not head.strip(b"\0") or head.startswith(form) or form.startswith(head)


def _nearly(head: bytes, form: bytes) -> bool:
    wrong = sum(one != other for one, other in zip(head, form, strict=False))
    # A damaged head is still known: one byte in six may be wrong, and one in any case.
    return len(head) >= len(form) and wrong <= max(1, len(form) // 6)
