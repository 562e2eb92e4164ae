"""Write docs/cli.md from what `ckpt --help` says; with --check, fail where it is stale."""

import subprocess
import sys
from pathlib import Path

from ckptfmt.cli.main import COMMANDS

PAGE = Path(__file__).with_name("cli.md")
INTRODUCTION = """\
# The command line

Made from `--help` by `docs/make_cli_reference.py`; change the help text, then run that again.

The answer goes to stdout and nothing else does; progress, warnings, hints and errors go to stderr.

| Exit code | Means |
|---|---|
| 0 | done; valid; no difference |
| 1 | looked, and the answer is no: invalid, differs, something would have to be assumed |
| 2 | could not look: wrong option, missing or damaged file, refused, cannot tell |
| 130 | stopped by Ctrl-C |
| 141 | whoever read the output closed it |

An error is one line, `error: where: what; how to mend`; `CKPT_DEBUG=1` adds the traceback. With `--json` stdout
holds exactly one document, on failure too, as `ckpt schema report` describes. `ckpt convert --out-dir` and
`ckpt serve` write objects before it, one a line; a training of `ckpt train` writes such lines alone, and a document
only where it fails. Colour is decided by `--color`, then `NO_COLOR`, `FORCE_COLOR`, `TERM=dumb`, then by whether the
stream is a terminal.
"""


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION, _section("ckpt", [])]
    parts += [_section(f"ckpt {name}", [name]) for section in COMMANDS.values() for name in section]
    return "\n".join(parts)


def _section(title: str, words: list[str]) -> str:
    run = subprocess.run(
        [sys.executable, "-P", "-m", "ckptfmt", *words, "--help"], capture_output=True, text=True, check=True
    )
    return f"## {title}\n\n```text\n{run.stdout}```\n"


def main() -> int:
    """Write the page, or compare it."""
    if sys.argv[1:] == ["--check"]:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
            sys.stderr.write("docs/cli.md is stale; run: python docs/make_cli_reference.py\n")
            return 1
        return 0
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
