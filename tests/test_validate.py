"""Every problem is found, and nothing is written: held by the cases of `fixtures/valid` and `fixtures/invalid`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ckptfmt.errors import CkptError
from ckptfmt.validate import validate

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
CASES = sorted(path for kind in ("valid", "invalid") for path in (FIXTURES / kind).iterdir())


def look(case: Path) -> dict:
    try:
        report = validate(case / "checkpoint")
    except CkptError as e:
        where = e.where.removeprefix(f"{case}/")
        return {"error": {"code": e.code, "severity": "fatal", "where": where, "message": e.what}}
    keys = ("code", "severity", "where", "message")
    problems = [{key: problem.to_dict()[key] for key in keys} for problem in report.problems]
    return {"valid": report.valid, "problems": problems}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_exactly_the_expected_problems_are_found(case):
    assert look(case) == json.loads((case / "expected.json").read_text())
