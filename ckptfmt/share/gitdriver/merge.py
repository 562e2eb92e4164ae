"""Two manifests of one network merged field by field; two different networks are never merged."""

import os
import subprocess
from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import CkptError
from ckptfmt.format import jsontext
from ckptfmt.format.digest import manifest_digest
from ckptfmt.format.files import MANIFEST, MAX_MANIFEST
from ckptfmt.format.parse import parse_manifest, raw_manifest
from ckptfmt.look.diff.changes import inner_path
from ckptfmt.share.gitdriver.describe import is_manifest, read_start

__all__ = ["MergeConflict", "are_manifests", "merge", "merge_text"]

_MISSING: Any = object()
# What git-merge-file(1) and the shell exit with from here on is an error.
_REFUSED = 128
# Made anew from the rest, and the list that is united.
_APART = frozenset({"manifest_digest", "evaluation"})
# By what and when a manifest was written says nothing of the network; the version that is merged into stands.
_VOLATILE = frozenset({"created_at", "created_by"})


class MergeConflict(CkptError, ValueError):
    """Both sides changed the same thing, and somebody must choose."""

    code = "git.conflict"


def merge(base: str | os.PathLike[str], ours: str | os.PathLike[str], theirs: str | os.PathLike[str]) -> bytes:
    """Return the bytes of the manifest that unites what `ours` and `theirs` made of `base`.

    Each is a file that git wrote: `base` may be empty where both sides added the checkpoint. Evaluations of
    both sides are kept. Raises `MergeConflict` where the networks differ or both changed one field.
    """
    place = os.fspath(ours)
    old = _read(base, place) if os.path.getsize(base) else {}
    a, b = _read(ours, place), _read(theirs, place)
    if a.get("content_digest") != b.get("content_digest"):
        raise MergeConflict(
            "two different networks", where=place, fix="take one folder as a whole: git checkout --ours or --theirs"
        )
    united = _united(old, a, b)
    united["manifest_digest"] = manifest_digest(united)
    data = jsontext.render(united).encode("utf-8")
    # What git is given is what a reader would take, or there is no merge.
    parse_manifest(data, where=place)
    return data


def are_manifests(*paths: str | os.PathLike[str]) -> bool:
    """Whether all files that are not empty are manifests of checkpoints: web applications have such names too."""
    # Each is read, whatever the others are: git itself would wait for a pipe.
    texts = [_bytes(path) for path in paths]
    return all(map(is_manifest, filter(None, texts)))


def merge_text(base: str | os.PathLike[str], ours: str | os.PathLike[str], theirs: str | os.PathLike[str]) -> bool:
    """Merge files of text into `ours` as git does it without a driver; return whether nothing is left to be chosen.

    Where something is, its places are marked in the file. Raises `CkptError` where git cannot do it.
    """
    labels = [word for label in ("ours", "base", "theirs") for word in ("-L", label)]
    command = ["git", "merge-file", "-q", *labels, "--", *(os.fspath(path) for path in (ours, base, theirs))]
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
    # How many conflicts there are, or more than any file may have.
    if 0 <= done.returncode < _REFUSED:
        return done.returncode == 0
    raise CkptError("git cannot merge it", where=MANIFEST, fix="choose one side", code="git.refused")


def _united(old: Mapping[str, Any], a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(a)
    for name in dict.fromkeys((*a, *b)):
        if name not in _APART | _VOLATILE:
            value = _three_way(old.get(name, _MISSING), a.get(name, _MISSING), b.get(name, _MISSING), f"$.{name}")
            _set(merged, name, value)
    evaluations = _all_evaluations(old, a, b)
    _set(merged, "evaluation", evaluations or _MISSING)
    return merged


def _all_evaluations(old: Mapping[str, Any], a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Any]:
    """Return the evaluations of both sides in their order, without those that one side took away."""
    # Told apart by their text: there may be hundreds of thousands.
    before, mine, others = ([(jsontext.render(one), one) for one in side.get("evaluation", [])] for side in (old, a, b))
    known, theirs = dict(mine), dict(others)
    gone = {text for text, _ in before if text not in known or text not in theirs}
    united = mine + [(text, one) for text, one in others if text not in known]
    return [one for text, one in united if text not in gone]


def _three_way(old: Any, a: Any, b: Any, path: str) -> Any:
    if a == b or b == old:
        return a
    if a == old:
        return b
    if isinstance(a, dict) and isinstance(b, dict):
        before = old if isinstance(old, dict) else {}
        merged: dict[str, Any] = {}
        for name in dict.fromkeys((*a, *b)):
            before_it, mine, others = (side.get(name, _MISSING) for side in (before, a, b))
            _set(merged, name, _three_way(before_it, mine, others, inner_path(path, name)))
        return merged
    raise MergeConflict(
        f"{path} was changed on both sides", where="manifest.json", fix="choose one side, then: ckpt validate"
    )


def _set(target: dict[str, Any], name: str, value: Any) -> None:
    if value is _MISSING:
        target.pop(name, None)
    else:
        target[name] = value


def _read(path: str | os.PathLike[str], where: str) -> dict[str, Any]:
    data = _bytes(path)
    parse_manifest(data, where=where)
    return dict(raw_manifest(data, where=where)[0])


def _bytes(path: str | os.PathLike[str]) -> bytes:
    # One more than there may be, so that who parses it refuses it.
    return read_start(path, MAX_MANIFEST + 1)
