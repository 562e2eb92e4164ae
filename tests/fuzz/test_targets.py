"""A short fuzzing of every target, the same each time; `run.py` beside it goes on for as long as it is let."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TARGETS = Path(__file__).with_name("targets.py")
TRIES = 400
# Runs in a process of its own: what watches it cannot be taken off again.
SCRIPT = """
import contextlib, json, random, sys
sys.path.insert(0, sys.argv[1])
import targets

def change(chance, data, others):
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(data))
        match chance.randrange(5):
            case 0: data[at:at] = chance.randbytes(chance.randint(1, 8))
            case 1: del data[at : at + chance.randint(1, 16)]
            case 2: data[at : at + 1] = bytes([1 << chance.randrange(8)])
            case 3: data[at : at + 4] = chance.choice([b"\\xff" * 4, bytes(4), b"\\xff" * 8, b"\\x01\\x00\\x00\\x80"])
            case _: data[at:at] = (other := chance.choice(others))[: chance.randint(1, len(other) or 1)]
    return bytes(data)

name, tries = sys.argv[2], int(sys.argv[3])
guard, target, chance = targets.Guard(), targets.TARGETS[name], random.Random(name)
seeds = [seed for seed in targets.seeds(name) if len(seed) < 1 << 16]
for seed in seeds:
    with contextlib.suppress(targets.CkptError):
        target(seed)
sys.addaudithook(guard.audit)
accepted = sum(guard.check(target, seed) for seed in seeds)
changed = sum(guard.check(target, change(chance, chance.choice(seeds), seeds)) for _ in range(tries))
targets.WORK.rmdir()
print(json.dumps({"seeds": len(seeds), "accepted": accepted, "changed": changed}))
"""


@pytest.mark.parametrize("name", ["archive", "file", "header", "json", "manifest", "pickle"])
def test_no_changed_input_breaks_a_promise(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, str(TARGETS.parent), name, str(TRIES)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert 0 < said["accepted"] <= said["seeds"]
    assert said["changed"] < TRIES
