import subprocess
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed")

import ckptfmt

from .conftest import Run  # noqa: F401

FOREIGN = Path(__file__).resolve().parents[2] / "fixtures" / "foreign"


@pytest.fixture
def folder(tmp_path) -> Path:
    make = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "private.pem"]
    subprocess.run(make, check=True, capture_output=True)
    take = ["openssl", "ec", "-in", tmp_path / "private.pem", "-pubout", "-out", tmp_path / "public.pem"]
    subprocess.run(take, check=True, capture_output=True)
    ckptfmt.convert(FOREIGN / "dueling-v2" / "dqn_best.pth", tmp_path / "ck")
    return tmp_path
