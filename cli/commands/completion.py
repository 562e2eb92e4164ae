"""ckpt completion: tab completion."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from ckptfmt.errors import CkptError

from ..options import argument, command, option
from ..output import Output

__all__ = ["completion"]

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_CKPT_COMPLETE"
_BEGIN = "# Completion of ckpt, from: ckpt completion"
# A script that is sourced by .zshrc needs zsh's completion to be loaded first.
_ZSH_FIRST = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"


@command(examples=["ckpt completion bash", "ckpt completion fish > ckpt.fish", "ckpt completion zsh --install"])
@argument("shell", "Your shell: bash, zsh or fish.", type=click.Choice(SHELLS))
@option("--install", is_flag=True, help="Append it to your shell's startup file.")
def completion(output: Output, shell: str, install: bool) -> int:
    """Print the script that lets your shell complete ckpt commands."""
    script = _script(shell)
    if not install:
        output.result({"shell": shell, "script": script})
        output.raw(script)
        return 0
    file = _startup_file(shell)
    added = _append(file, f"{_BEGIN} {shell}\n{script}")
    output.result({"shell": shell, "file": str(file), "added": added})
    output.line("added to " if added else "is already in ", output.paint(str(file), "bold"))
    output.note("it works in every new shell")
    return 0


def _script(shell: str) -> str:
    kind = get_completion_class(shell)
    if kind is None:
        raise CkptError(f"this click knows no {shell}", fix="install a newer click", code="install.missing")
    made = kind(click.Command("ckpt"), {}, "ckpt", _VARIABLE)
    script = (made.source_template % made.source_vars()).strip() + "\n"
    return _ZSH_FIRST + script if shell == "zsh" else script


def _startup_file(shell: str) -> Path:
    home = Path.home()
    if shell == "fish":
        return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish" / "completions" / "ckpt.fish"
    if shell == "zsh":
        return Path(os.environ.get("ZDOTDIR") or home) / ".zshrc"
    return home / ".bashrc"


def _append(file: Path, text: str) -> bool:
    """Append text to a file unless it is there already; one call, so that no half of it is ever left."""
    present = file.read_text(encoding="utf-8", errors="surrogateescape") if file.exists() else ""
    if _BEGIN in present:
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "a", encoding="utf-8") as stream:
        stream.write(("\n" if present and not present.endswith("\n\n") else "") + text)
    return True
