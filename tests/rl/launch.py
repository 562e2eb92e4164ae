"""Scripts of several processes, started as a user does."""

import os
import subprocess
import sys
from pathlib import Path


def torchrun(folder: Path, script: str, *words: object, ranks: int = 2) -> dict[tuple[str, int], str]:
    """Run a script in several processes; return {(name, rank): what it said}, of lines `name rank text`."""
    file = folder / f"train-{len(list(folder.iterdir()))}.py"
    file.write_text(script)
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    done = subprocess.run(
        [*command, str(file), *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return dict(map(_parted, done.stdout.splitlines()))


def _parted(line: str) -> tuple[tuple[str, int], str]:
    name, rank, text = line.split(" ", 2)
    return (name, int(rank)), text
