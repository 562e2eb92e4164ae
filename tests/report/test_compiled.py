"""Templates are compiled once, and a page needs no place to keep them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jinja2")

_PAGE = "from ckptfmt.report.render import render; print(render('message', {'title': 't', 'message': 'x', 'nav': ()}))"


def _run(prefix: Path, **environment: str) -> str:
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    settings = plain | {"PYTHONPYCACHEPREFIX": str(prefix)} | environment
    done = subprocess.run([sys.executable, "-c", _PAGE], env=settings, capture_output=True, text=True, check=True)
    return done.stdout


def _kept(prefix: Path) -> list[Path]:
    return sorted(prefix.rglob("*.jinja"))


def test_the_second_process_compiles_nothing_and_makes_the_same_page(tmp_path):
    page = _run(tmp_path)
    kept = {file: file.stat().st_mtime_ns for file in _kept(tmp_path)}
    assert kept
    assert _run(tmp_path) == page
    assert {file: file.stat().st_mtime_ns for file in _kept(tmp_path)} == kept


def test_what_was_kept_and_is_damaged_is_made_anew(tmp_path):
    page = _run(tmp_path)
    for file in _kept(tmp_path):
        file.write_bytes(file.read_bytes()[:40])
    assert _run(tmp_path) == page


def test_nothing_is_kept_where_python_keeps_no_bytecode_or_has_no_place(tmp_path):
    page = _run(tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert not _kept(tmp_path)
    (tmp_path / "file").write_text("")
    assert _run(tmp_path / "file") == page
