"""ckpt git: git understands checkpoints."""

import os
from collections.abc import Iterator

import click

from ckptfmt.errors import CkptError
from ckptfmt.look.diff import diff as compare
from ckptfmt.share.gitdriver import are_manifests, describe, install, merge, merge_text
from ckptfmt.share.gitdriver.describe import pointer
from ckptfmt.store.write.newfile import write_new

from ..differences import show_diff
from ..options import argument, command, option
from ..output import Output

__all__ = ["git"]

_ACTIONS = ("install", "textconv", "diff", "merge")
# How many files git hands to each driver: gitattributes(5).
_WORDS = {"install": (0,), "textconv": (1,), "diff": (1, 7, 9), "merge": (4,)}


@command(examples=["ckpt git install", "ckpt git install --global"])
@argument("action", "install; the others are for git itself.", type=click.Choice(_ACTIONS))
@argument("words", "What git passes to a driver.", nargs=-1, type=click.Path())
@option("--global", "everywhere", is_flag=True, help="Install for all of your repositories, not for this one.")
def git(output: Output, action: str, words: tuple[str, ...], everywhere: bool) -> int:
    """Make git diff, log and merge understand checkpoints.

    install sets up .gitattributes and three drivers. git diff then shows how far each tensor changed, git log -p
    one line per tensor, and git merge combines the evaluations of the same network.
    """
    if len(words) not in _WORDS[action]:
        raise click.UsageError(f"{action} takes {_WORDS[action][0]} arguments from git, not {len(words)}")
    return {"install": _install, "textconv": _textconv, "diff": _diff, "merge": _merge}[action](
        output, words, everywhere
    )


def _install(output: Output, words: tuple[str, ...], everywhere: bool) -> int:
    done = install(os.curdir, everywhere=everywhere)
    output.result({"action": "install", **done.to_dict()})
    output.line("drivers     ", ", ".join(sorted({name.rpartition(".")[0] for name in done.settings})))
    output.line("attributes  ", done.attributes)
    for line in done.added:
        output.line("          + ", line)
    return 0


def _textconv(output: Output, words: tuple[str, ...], everywhere: bool) -> int:
    lines = _lines(words[0])
    if output.as_json:
        output.result({"action": "textconv", "lines": list(lines)})
        return 0
    for line in lines:
        output.line(line)
    return 0


def _lines(path: str) -> Iterator[str]:
    try:
        yield from describe(path)
    except (CkptError, OSError) as e:
        # git ends where a driver fails, and one broken file would hide the rest of a history.
        yield f"cannot be shown: {e.what if isinstance(e, CkptError) else e.strerror}"


def _diff(output: Output, words: tuple[str, ...], everywhere: bool) -> int:
    """Show what changed in one file. git ends at a driver that fails, so a failure is a line of the answer."""
    output.result({"action": "diff"})
    output.line(output.paint(f"diff --ckpt {words[0]}", "bold"))
    if len(words) == 1:
        output.line("unmerged")
        return 0
    old, new = words[1], words[4]
    try:
        _show_change(output, old, new)
    except (CkptError, OSError) as e:
        output.line("cannot be compared: ", str(e))
    return 0


def _show_change(output: Output, old: str, new: str) -> None:
    one_sided = os.devnull in (old, new)
    pointers = [pointer(path) for path in (old, new) if path != os.devnull]
    if one_sided or any(pointers):
        for sign, path in (("removed", old), ("added", new)):
            for line in () if path == os.devnull else describe(path):
                output.line(output.sign(sign), " ", line)
        return
    found = compare(old, new)
    output.result({"action": "diff", "diff": found.to_dict()})
    show_diff(output, found)


def _merge(output: Output, words: tuple[str, ...], everywhere: bool) -> int:
    base, ours, theirs, _ = words
    if not are_manifests(base, ours, theirs):
        merged = merge_text(base, ours, theirs)
        output.result({"action": "merge", "bytes": os.path.getsize(ours)})
        return 0 if merged else 1
    data = merge(base, ours, theirs)
    with write_new(ours, overwrite=True) as staged, open(staged, "wb") as file:
        file.write(data)
    output.result({"action": "merge", "bytes": len(data)})
    return 0
