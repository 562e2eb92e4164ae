"""What lies in a store is asked for ahead of whoever takes the results, and no further than that is worth."""

import threading

import pytest

from ckptfmt.remote.ahead import ahead, each


def test_results_come_in_the_order_of_the_things():
    first = threading.Event()

    def work(thing):
        if thing == 1:
            first.wait(10)
        if thing == 3:
            first.set()
        return thing

    assert list(ahead(work, range(200))) == list(range(200))


def test_the_first_comes_before_the_second_is_asked_for_and_what_is_known_ahead_is_bounded():
    asked = []

    def things():
        for thing in range(1000):
            asked.append(thing)
            yield thing

    results = ahead(lambda thing: thing, things())
    assert next(results) == 0
    assert asked == [0]
    furthest = 0
    for taken in results:
        furthest = max(furthest, len(asked) - taken)
    assert furthest == 32


def test_what_the_work_raises_comes_in_its_turn():
    def work(thing):
        return 1 / (thing - 5)

    results = ahead(work, range(20))
    assert len([next(results) for _ in range(5)]) == 5
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_who_takes_no_more_ends_the_threads():
    before = threading.active_count()
    results = ahead(lambda thing: thing, range(1000))
    assert [next(results) for _ in range(20)] == list(range(20))
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before


def test_paths_of_this_machine_are_looked_at_by_the_thread_that_asks():
    here = threading.get_ident()
    paths = ["a", "s3://bucket/b", "s3:/lost-a-slash", "c"]
    found = each(lambda path: (path, threading.get_ident() == here), paths)
    assert list(found) == [("a", True), ("s3://bucket/b", False), ("s3:/lost-a-slash", True), ("c", True)]
