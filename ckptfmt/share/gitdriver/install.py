"""Write the attributes and drivers of checkpoints into a repository, or into the user's configuration."""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.record import record
from ckptfmt.store.write.newfile import write_new

__all__ = ["ATTRIBUTES", "Installation", "install"]

ATTRIBUTES = (
    "manifest.json diff=ckpt merge=ckpt",
    "*.safetensors diff=ckpt-weights -merge",
)
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
    for name, value in settings.items():
        _git(where, "config", scope, name, value)
    return Installation(str(file), tuple(_add_attributes(file)), tuple(settings))


def _settings() -> dict[str, str]:
    """Return the settings of the drivers; they name this very Python, since an environment may not be active."""
    ckpt = f"{shlex.quote(sys.executable)} -P -m ckptfmt git"
    return {
        "diff.ckpt.textconv": f"{ckpt} textconv",
        "diff.ckpt.cachetextconv": "true",
        "diff.ckpt-weights.textconv": f"{ckpt} textconv",
        "diff.ckpt-weights.cachetextconv": "true",
        "diff.ckpt-weights.command": f"{ckpt} diff",
        "merge.ckpt.name": "checkpoints of one network, their evaluations united",
        "merge.ckpt.driver": f"{ckpt} merge %O %A %B %P",
    }


def _add_attributes(file: Path) -> Sequence[str]:
    """Add the lines that are missing; what is there for the same patterns gives way, other lines stay."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    missing = [line for line in ATTRIBUTES if line not in lines]
    kept = [
        _without_driver(line) if line.partition(" ")[0] in _OURS and line not in ATTRIBUTES else line for line in lines
    ]
    # `git lfs track` puts its own drivers behind ours when it is run later, and the last line wins.
    if missing or kept != lines:
        file.parent.mkdir(parents=True, exist_ok=True)
        # A stranger's repository may hold a link under any name that can be guessed.
        with write_new(os.fspath(file), overwrite=True) as staged, open(staged, "w", encoding="utf-8") as text:
            text.write("\n".join([*kept, *missing]) + "\n")
    return missing


def _without_driver(line: str) -> str:
    """Return an attribute line without its diff and merge, for Git LFS keeps its filter beside our drivers."""
    words = line.split()
    return " ".join(word for word in words if not word.lstrip("-!").startswith(("diff", "merge")))


def _users_attributes(where: str) -> Path:
    named = _git(where, "config", "--global", "--default", "", "--type", "path", "--get", "core.attributesFile")
    if named.strip():
        return Path(named.rstrip("\n"))
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(home, "git", "attributes")


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
