"""What is given to an executor in chunks comes back once each, whatever its workers do."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from ckptfmt.convert.spread import Spread, Undone


def pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The work, from a module that workers find as well."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return import_module("doubling").double


def test_each_comes_once_and_a_pool_that_was_given_stays_open(double: Callable[..., int]) -> None:
    with ThreadPoolExecutor(2) as executor:
        found = list(Spread(double, range(700), executor, 60))
        assert executor.submit(len, "abc").result() == 3
    assert sorted(found) == [(n, 2 * n) for n in range(700)]


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path, double: Callable[..., int]) -> None:
    work = partial(double, deadly=33, once=tmp_path / "died")
    assert sorted(Spread(work, range(40), pool, 60)) == [(n, 2 * n) for n in range(40)]


def test_what_its_workers_die_of_twice_is_given_up_alone(double: Callable[..., int]) -> None:
    found = dict(Spread(partial(double, deadly=33), range(40), pool, 60))
    assert found.pop(33) is Undone.DEADLY
    assert found == {n: 2 * n for n in range(40) if n != 33}


def test_a_pool_that_breaks_and_cannot_be_made_anew_gives_the_rest_back(double: Callable[..., int]) -> None:
    with pool() as executor:
        found = dict(Spread(partial(double, deadly=0), range(40), executor, 60))
    assert found[0] is Undone.LEFT
    assert found.keys() == set(range(40))


class Losing(ThreadPoolExecutor):
    """Loses the worker of whatever holds one thing, as Dask does: an error of its own, and the executor goes on."""

    def submit(self, do, work, things):
        if 5 not in things:
            return super().submit(do, work, things)
        future: Future[list[int]] = Future()
        future.set_exception(KeyError("worker"))
        return future


@pytest.mark.parametrize("count", [10, 300])
def test_an_executor_that_loses_workers_and_goes_on_loses_one_thing(count: int, double: Callable[..., int]) -> None:
    with Losing(2) as executor:
        found = dict(Spread(double, range(count), executor, 60))
    assert found.pop(5) is Undone.DEADLY
    assert found == {n: 2 * n for n in range(count) if n != 5}


def test_no_executor_that_is_made_is_left_open(double: Callable[..., int]) -> None:
    made: list[Executor] = []

    def make() -> Executor:
        made.append(ThreadPoolExecutor(1))
        return made[-1]

    assert len(list(Spread(double, range(5), make, 60))) == 5
    with pytest.raises(RuntimeError, match="after shutdown"):
        made[0].submit(len, "")
