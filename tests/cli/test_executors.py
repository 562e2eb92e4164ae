"""Conversions on the workers of a Dask cluster, with a scheduler of its own in processes of its own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="distributed is not installed")

FOREIGN = Path(__file__).resolve().parents[2] / "fixtures" / "foreign"
CLUSTER = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:
        print(cluster.scheduler_address.removeprefix("tcp://"), flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def scheduler(tmp_path):
    """The host and port of a scheduler with two workers, which end when its input does."""
    (tmp_path / "cluster.py").write_text(CLUSTER)
    run = [sys.executable, "-P", tmp_path / "cluster.py"]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        yield cluster.stdout.readline().strip()


def test_the_files_of_a_folder_are_converted_by_the_workers_of_a_cluster(ckpt, tmp_path, scheduler):
    sources = tmp_path / "old"
    sources.mkdir()
    for name in ("dqn", "noisy", "dueling"):
        shutil.copy(next((FOREIGN / name).glob("*.p*")), sources / f"{name}.pth")
    (sources / "broken.pth").write_bytes(b"PK\x03\x04 cut off")
    words = ["convert", sources, "--out-dir", tmp_path / "new", "--executor", f"dask://{scheduler}", "--json"]
    run = ckpt(*words)
    told = {Path(one["source"]).stem: one["status"] for one in map(json.loads, run.out.splitlines()) if "source" in one}
    assert (run.code, told) == (
        1,
        {"dqn": "converted", "noisy": "converted", "dueling": "converted", "broken": "failed"},
    )
    assert sorted(path.parent.name for path in (tmp_path / "new").rglob("manifest.json")) == ["dqn", "dueling", "noisy"]
    again = [json.loads(line) for line in ckpt(*words).out.splitlines()]
    assert sorted(one["status"] for one in again if "source" in one) == [
        "failed",
        "unchanged",
        "unchanged",
        "unchanged",
    ]
