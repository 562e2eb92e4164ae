"""Hostile containers: what two readers see differently is refused, in one sentence, by the command as well."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy import open as container

FIXTURES = Path(__file__).parents[2] / "fixtures"
CASES = sorted(
    folder
    for kind in ("zip", "tar", "packed", "safetensors", "msgpack", "baselines2", "torch7")
    for folder in (FIXTURES / "hostile").glob(f"{kind}-*")
    if (folder / "expected.json").is_file()
)


def test_the_fixtures_are_those_that_the_script_makes() -> None:
    spec = importlib.util.spec_from_file_location("make_containers", FIXTURES / "make_hostile_containers.py")
    assert spec is not None
    assert spec.loader is not None
    made = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert {folder.name for folder in CASES} == set(made.CASES)
    for name, case in made.CASES.items():
        folder = FIXTURES / "hostile" / name
        assert (folder / "expected.json").read_text() == made.expected(case)
        # Another zlib packs the same content into other bytes.
        if not name.startswith("packed-") and "bomb" not in name:
            assert (folder / f"case.{case.ext}").read_bytes() == case.data


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_a_hostile_container_gets_its_answer(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    file = next(folder.glob("case.*"))
    with pytest.raises(SourceError) as caught, container.read(file) as opened:
        opened.check_unchanged()
    assert caught.value.code == expected["code"]
    assert str(caught.value).replace(str(file), "{path}") == expected["error"]


def test_a_folder_of_them_gives_one_line_each_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "ckptfmt", "convert", *map(str, CASES), "--out-dir", str(tmp_path / "out")]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (1, "")
    assert sum(line.startswith("✗ ") for line in lines) == len(CASES)
    assert lines[-1].startswith(f"{len(CASES)} files: {len(CASES)} failed")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
