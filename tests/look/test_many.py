"""Many checkpoints are looked at as one is, in their order, with and without an executor."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ckptfmt
from ckptfmt.errors import CkptError

VALID = Path(__file__).parents[2] / "fixtures" / "valid"
PATHS = [VALID / "dqn" / "checkpoint", VALID / "nothing", VALID / "dueling" / "checkpoint"] * 12


@pytest.mark.parametrize("workers", [0, 2])
def test_reports_and_summaries_come_in_order(workers: int) -> None:
    executor = ThreadPoolExecutor(workers) if workers else None
    reports = list(ckptfmt.validate_many(PATHS, executor=executor, deep=False))
    assert [report.path for report in reports] == list(map(str, PATHS))
    assert [report.valid for report in reports] == [True, False, True] * 12
    assert reports[1].problems[0].code == "layout.missing"
    told = list(ckptfmt.summarize_many(PATHS, executor=executor))
    assert isinstance(told[1], CkptError)
    assert [found.algorithm for found in (told[0], told[2])] == ["dqn", "dueling"]
    if executor is not None:
        executor.shutdown()
