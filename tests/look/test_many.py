"""Many checkpoints are looked at as one is, in their order, with and without an executor."""

from concurrent.futures import Future, ThreadPoolExecutor
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


class Losing(ThreadPoolExecutor):
    """Loses the worker of whatever holds the dueling network, as Dask does: an error of its own, and it goes on."""

    def submit(self, do, work, things):
        if str(PATHS[2]) not in things:
            return super().submit(do, work, things)
        future: Future[list[object]] = Future()
        future.set_exception(KeyError("worker"))
        return future


def test_what_workers_die_of_is_not_looked_at_in_the_process_that_asks() -> None:
    with Losing(2) as executor:
        reports = list(ckptfmt.validate_many(PATHS[:3], executor=executor))
        told = list(ckptfmt.summarize_many(PATHS[:3], executor=executor))
    assert [report.valid for report in reports] == [True, False, False]
    assert [problem.code for problem in reports[2].problems] == ["convert.worker"]
    assert isinstance(told[2], CkptError)
    assert str(told[2]) == f"{PATHS[2]}: two workers that looked at it died; look at it alone to see why"
