"""Hostile files in the forms that agents are kept in: RLlib's folders, Paddle, d3rlpy, TensorDicts, shards."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("agents.py")
# What is opened is refused; bytes inside of a pickle that are no honest file stay bytes, which nobody reads.
OPENED = {"call": "source.unsafe", "deep": "source.limit", "lie": "source.pickle", "count": "convert.no-tensors",
          "cut": "source.truncated", "bomb": "source.pickle"}  # fmt: skip
INSIDE = dict.fromkeys(OPENED, "convert.no-tensors") | {"deep": "source.limit"}
ANSWERS = {
    **{f"{place} {attack}": code for place in ("rllib-old", "rllib-new", "paddle", "tensordict")
       for attack, code in OPENED.items()},
    **{f"{place} {attack}": code for place in ("rllib-worker", "d3") for attack, code in INSIDE.items()},
    "d3-bomb": "source.limit", "d3-in-d3": "convert.no-tensors", "d3-config": "convert.no-tensors",
    "tensordict-deep": "source.limit", "tensordict-call": "source.unsafe",
    **dict.fromkeys(("rllib-none", "rllib-many", "rllib-text"), "source.not-a-checkpoint"),
    "shard-overlap": "source.damaged", "shard-beyond": "source.damaged",
    **dict.fromkeys(("shard-hidden", "shard-twice", "shard-outside", "shard-deep", "shard-large"), "source.shard"),
    "shard-of-itself": "source.not-a-checkpoint", "shard-count": "source.limit", "shard-pickle": "source.unsafe",
}  # fmt: skip


def test_each_is_refused_by_its_code_within_the_budgets(tmp_path: Path) -> None:
    command = [sys.executable, "-P", str(SCRIPT), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, (peak, _) = map(json.loads, done.stdout.splitlines())
    assert dict(lines) == ANSWERS
    assert peak < 300
    assert not (tmp_path / "attacked").exists()
    assert not (tmp_path / "out").exists()
