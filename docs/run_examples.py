"""Run the examples of a Markdown page as a reader would, and compare what they print.

`console` blocks hold commands behind `$ ` and their output; `...` stands for anything. `python` blocks are run as
scripts and may end in a `text` block with their output. All blocks of a page share one folder, in which
`docs` and `fixtures` are the project's own. A block after the comment `<!-- not run: why -->` is left out,
and so is one after `<!-- ckptfmt/module.py, place -->`: a part of that module, which the recipes' tests put there.

    python docs/run_examples.py README.md docs/migrate.md
"""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(
    r"(?P<skip><!-- (?:not run: |ckptfmt/)[^\n]*-->\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Example:
    """A command or script, the line it stands at, and what it must print (None: anything)."""

    line: int
    command: list[str]
    expected: str | None


def read_examples(text: str) -> list[Example]:
    """Return the examples of a page in their order."""
    found: list[Example] = []
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("body")) + 1
        kind, body = match["kind"], match["body"]
        if match["skip"]:
            continue
        if kind == "console":
            found += _commands(body, line)
        elif kind == "python":
            found.append(Example(line, [sys.executable, "-P", "-c", body], None))
        elif kind == "text" and found and found[-1].command[0] == sys.executable:
            found[-1] = Example(found[-1].line, found[-1].command, body)
    return found


def _commands(body: str, line: int) -> list[Example]:
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    examples = []
    for part in parts:
        command, _, output = part.partition("\n")
        examples.append(Example(line, ["bash", "-c", command], output))
    return examples


def matches(expected: str, actual: str) -> bool:
    """Return whether `actual` is `expected` but for what `...` stands for and space at the ends of lines."""
    wanted, got = ("\n".join(line.rstrip() for line in text.strip().splitlines()) for text in (expected, actual))
    pattern = ".*?".join(re.escape(piece) for piece in wanted.split("..."))
    return re.fullmatch(pattern, got, re.DOTALL) is not None


def run_page(page: Path) -> list[str]:
    """Run a page's examples; return a description of each that went wrong."""
    failures = []
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in ("docs", "fixtures"):
            (Path(folder) / name).symlink_to(ROOT / name)
        for example in read_examples(page.read_text()):
            run = subprocess.run(
                example.command, cwd=folder, env=environment, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600,
            )  # fmt: skip
            wrong = run.returncode not in (0, 1, 2) or "Traceback" in run.stdout
            if example.expected is None:
                wrong = wrong or run.returncode != 0
            elif not matches(example.expected, run.stdout):
                wrong = True
            if wrong:
                shown = example.command[-1].strip()
                failures.append(f"{page.name}:{example.line}: {shown}\nprinted ({run.returncode}):\n{run.stdout}")
    return failures


def main() -> int:
    pages = [Path(name) for name in sys.argv[1:]] or [ROOT / "README.md"]
    failures = []
    for page in pages:
        found = run_page(page)
        print(f"{page}: {len(read_examples(page.read_text()))} examples, {len(found)} wrong")
        failures += found
    print("\n\n".join(failures), end="")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
