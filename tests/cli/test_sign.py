from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed")

import ckptfmt

from .conftest import Run  # noqa: F401

FOREIGN = Path(__file__).resolve().parents[2] / "fixtures" / "foreign"


@pytest.fixture
def folder(signing) -> Path:
    ckptfmt.convert(FOREIGN / "dueling-v2" / "dqn_best.pth", signing / "ck")
    return signing
