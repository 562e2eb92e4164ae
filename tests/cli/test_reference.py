"""docs/cli.md says what `--help` says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_reference_is_not_stale():
    run = subprocess.run(
        [sys.executable, "-P", str(ROOT / "docs/make_cli_reference.py"), "--check"], capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (0, "")
