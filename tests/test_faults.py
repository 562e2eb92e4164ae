import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_no_fault_breaks_a_save_and_every_broken_protocol_is_found():
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", "--short"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.splitlines()[-1]
    assert re.search(r", 0 violations; (\d+) of \1 broken protocols found", last), last
