"""Whether something that lies where a writer leaves things is what a writer of ours leaves there.

A name is no proof. What is ours is a plain file or folder with one name, belongs to us or to whoever owns the
folder, and begins as our files begin, or is what a power cut leaves of one: nothing, a part, or zeros.
"""

import os

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.files import MANIFEST, compressed_name, is_there, open_file, read_manifest, release
from ckptfmt.format.manifest import Manifest, check_content, parse_manifest
from ckptfmt.format.safetensors import MAX_HEADER
from ckptfmt.store.write.held import CONTENTS, Held, hold_open, kind_of

__all__ = ["foreign_content", "foreign_leftover", "is_signature", "read_whole"]

_MANIFEST_HEAD = b'{\n  "format": "ckptfmt",\n'
# Behind the eight bytes that say how long the header is.
_WEIGHTS_HEAD = b'{"__metadata__":{"format":"pt"}'
_ZSTD_HEAD = b"\x28\xb5\x2f\xfd"
# What is written beside a checkpoint's own files: the signature of the OpenSSF's model signing.
_COMPANION_HEAD = b'{"mediaType": "application/vnd.dev.sigstore.bundle'
_SIGNATURE_HEAD, _SIGNATURE_MIDDLE = b'{"host": "', b'", "process": '
_MOST_SIGNATURE = 1024
_HEAD = 64


def foreign_leftover(held: Held, stem: str) -> str:
    """Return why a leftover of the target called `stem` is not ours, as the rest of a sentence; "" where it is."""
    if not held.is_file and not held.is_folder:
        return f"is {kind_of(held.state.st_mode)}"
    if held.state.st_uid not in (os.geteuid(), os.fstat(held.folder).st_uid):
        return f"belongs to user {held.state.st_uid}"
    if held.is_folder:
        return foreign_content(held, stem)
    if held.state.st_nlink > 1:
        return "is a link to a file that has another name"
    return "" if _is_staged_file(held) else "is not what a writer leaves"


def foreign_content(held: Held, stem: str = "") -> str:
    """Return why a folder is not one that holds a checkpoint, whole or not, and nothing else; "" where it is.

    A leftover of the target called `stem` must be ours in every part, and a second name of a file be that in the
    target, which a writer gives. Of what is replaced on request one file may be damaged at its very beginning, as
    long as another one tells whose it is.
    """
    names = sorted(os.listdir(held.file))
    if strange := next((name for name in names if name not in CONTENTS), None):
        return f"holds '{printable(strange, 60)}', which is no part of a checkpoint"
    doubts, told = [], False
    for name in names:
        with hold_open(held.file, name) as file:
            if file is None:
                continue
            if not file.is_file:
                return f"holds {name}, which is {kind_of(file.state.st_mode)}"
            if stem and file.state.st_nlink > 1 and not _is_in_target(held, stem, file):
                return f"holds {name}, which has another name elsewhere"
            head = os.pread(file.file, _HEAD, 0)
            if not _begins(name, head) and not _parses(name, held.file):
                doubts.append(name)
            else:
                told = told or bool(head.strip(b"\0"))
    if doubts and (stem or not told):
        return f"holds {doubts[0]}, which no writer of checkpoints wrote"
    return ""


def _is_in_target(held: Held, stem: str, file: Held) -> bool:
    if file.state.st_nlink > 2:
        return False
    with hold_open(held.folder, stem) as target:
        return target is not None and target.is_folder and file.is_at(file.name, target.file)


def read_whole(folder: int, where: str) -> Manifest | None:
    """Return the manifest of the checkpoint in a folder, None unless every file is there, a plain one in full."""
    try:
        manifest = parse_manifest(read_manifest(folder, where=where), where=where)
        check_content(manifest, where=where)
        for name, entry in manifest.files.items():
            if is_there(folder, compressed_name(name)):
                continue
            file, size = open_file(folder, name, where=where)
            release(file)
            if size != entry.bytes:
                return None
    except CkptError:
        return None
    return manifest


def is_signature(data: bytes) -> bool:
    """Return whether a lock file that holds `data` may be one of ours: signed, or as a writer that died left it."""
    if len(data) > _MOST_SIGNATURE:
        return False
    if not data.strip(b"\0") or _SIGNATURE_HEAD.startswith(data):
        return True
    if not data.startswith(_SIGNATURE_HEAD):
        return False
    host, _, rest = data[len(_SIGNATURE_HEAD) :].partition(b'"')
    if b"\n" in host or len(host) > 255:
        return False
    rest = b'"' + rest
    if _SIGNATURE_MIDDLE.startswith(rest):
        return True
    digits = rest.removeprefix(_SIGNATURE_MIDDLE).removesuffix(b"}")
    return rest.startswith(_SIGNATURE_MIDDLE) and digits.isdigit() and len(digits) < 10 and not digits.startswith(b"0")


def _is_staged_file(held: Held) -> bool:
    """Return whether a file beside a target is a manifest or a companion before its exchange, or a retired lock."""
    head = os.pread(held.file, _HEAD, 0)
    if any(_agree(head, form) for form in (_MANIFEST_HEAD, _COMPANION_HEAD)):
        return True
    return is_signature(os.pread(held.file, _MOST_SIGNATURE + 1, 0))


def _begins(name: str, head: bytes) -> bool:
    if name == MANIFEST:
        return _agree(head, _MANIFEST_HEAD)
    if name.endswith(".zst"):
        return _agree(head, _ZSTD_HEAD)
    return int.from_bytes(head[:8], "little") <= MAX_HEADER and _agree(head[8:], _WEIGHTS_HEAD)


def _agree(head: bytes, form: bytes) -> bool:
    """Return whether a file that begins with `head` begins as `form` does, ends within it, or holds zeros."""
    return not head.strip(b"\0") or head.startswith(form) or form.startswith(head)


def _parses(name: str, folder: int) -> bool:
    """Return whether it is the manifest of another writer, which may order its fields in another way."""
    if name != MANIFEST:
        return False
    try:
        parse_manifest(read_manifest(folder, where=name), where=name)
    except CkptError:
        return False
    return True
