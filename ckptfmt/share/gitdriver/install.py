"""Write the attributes and drivers of checkpoints into a repository, or into the user's configuration."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.files import open_file, open_near, read_exactly, release
from ckptfmt.format.record import record
from ckptfmt.store.write.newfile import write_new

__all__ = ["ATTRIBUTES", "Installation", "install"]

ATTRIBUTES = (
    "manifest.json diff=ckpt merge=ckpt",
    "*.safetensors diff=ckpt-weights -merge",
)
# git reads no larger file of attributes (100 MB); one of a tenth of that is no longer written by people.
_MOST = 10 << 20
_OURS = tuple(line.partition(" ")[0] for line in ATTRIBUTES)


@record
class Installation:
    """What was written: the file of attributes with the lines added to it, and the settings of git."""

    attributes: str
    added: tuple[str, ...]
    settings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the result of `ckpt git install --json`."""
        return {"attributes": self.attributes, "added": list(self.added), "settings": list(self.settings)}


def install(folder: str | os.PathLike[str] = ".", *, everywhere: bool = False) -> Installation:
    """Let git diff and merge the checkpoints of the repository around `folder`, or of all with `everywhere`.

    Lines for other files stay as they are in the attributes; `diff=lfs` of tensor files gives way, since git
    hands a driver the content and not the pointer. Raises `CkptError` where there is no repository or no git.
    """
    where = os.fspath(folder)
    top = None if everywhere else _git(where, "rev-parse", "--show-toplevel").rstrip("\n")
    file = _users_attributes(where) if top is None else Path(top, ".gitattributes")
    scope = "--local" if top is not None else "--global"
    settings = _settings()
    # The file first: lines that name a driver which is not there change nothing.
    added = tuple(_add_attributes(file))
    for name, value in settings.items():
        _git(where, "config", scope, name, value)
    return Installation(str(file), added, tuple(settings))


def _settings() -> dict[str, str]:
    """Return the settings of the drivers; they name this very Python, since an environment may not be active."""
    ckpt = f"{shlex.quote(sys.executable)} -P -m ckptfmt git"
    merge = ckpt.replace("%", "%%")
    # git would keep what it was told of a pointer of Git LFS after the content came; and it keeps that as notes, for
    # which it ends with an error where nobody has told it who is reading.
    kept = "false"
    return {
        "diff.ckpt.textconv": f"{ckpt} textconv",
        "diff.ckpt.cachetextconv": kept,
        "diff.ckpt-weights.textconv": f"{ckpt} textconv",
        "diff.ckpt-weights.cachetextconv": kept,
        "diff.ckpt-weights.command": f"{ckpt} diff",
        "merge.ckpt.name": "checkpoints of one network, their evaluations united",
        "merge.ckpt.driver": f"{merge} merge %O %A %B %P",
    }


def _add_attributes(file: Path) -> Sequence[str]:
    """Add the lines that are missing; what is there for the same patterns gives way, other lines stay."""
    lines = _lines(file)
    missing = [line for line in ATTRIBUTES if line not in lines]
    kept = [
        _without_driver(line) if line.partition(" ")[0] in _OURS and line not in ATTRIBUTES else line for line in lines
    ]
    # `git lfs track` puts its own drivers behind ours when it is run later, and the last line wins.
    if missing or kept != lines:
        file.parent.mkdir(parents=True, exist_ok=True)
        # A stranger's repository may hold a link under any name that can be guessed.
        with write_new(os.fspath(file), overwrite=True) as staged, open(staged, "wb") as text:
            text.write(os.fsencode("\n".join([*kept, *missing]) + "\n"))
    return missing


def _lines(file: Path) -> list[str]:
    """Return the lines of a file of attributes, whose names are bytes; [] where there is none."""
    if not os.path.lexists(file):
        return []
    parent = os.fspath(file.parent)
    folder = open_near(parent)
    try:
        opened, size = open_file(folder, file.name, where=parent)
    finally:
        release(folder)
    try:
        if size > _MOST:
            fix = "name checkpoints in another file of attributes"
            raise CkptError(
                f"is {size:,} bytes, more than attributes are", where=str(file), fix=fix, code="git.refused"
            )
        data = read_exactly(opened, 0, size, where=str(file))
    finally:
        release(opened)
    return [os.fsdecode(line) for line in data.splitlines()]


def _without_driver(line: str) -> str:
    """Return an attribute line without its diff and merge, for Git LFS keeps its filter beside our drivers."""
    words = line.split()
    return " ".join(word for word in words if not word.lstrip("-!").startswith(("diff", "merge")))


def _users_attributes(where: str) -> Path:
    named = _git(where, "config", "--global", "--default", "", "--type", "path", "--get", "core.attributesFile")
    if named.strip():
        return Path(os.path.realpath(named.rstrip("\n")))
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    # One's own files often lie elsewhere, behind links.
    return Path(os.path.realpath(os.path.join(home, "git", "attributes")))


def _git(where: str, *words: str) -> str:
    # The repository's own configuration may name programs to run; none of those is needed here.
    command = ["git", "-C", where, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *words]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_PAGER": "cat"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise CkptError("git is not installed", where=where, fix="install git", code="git.missing") from None
    if done.returncode:
        said = printable(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it said nothing")
        raise CkptError(f"git refused: {said}", where=where, fix="run it inside a repository", code="git.refused")
    return done.stdout
