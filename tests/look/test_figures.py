import pytest

from ckptfmt.look.figures import evaluation_points, finite, training_step


@pytest.mark.parametrize("value", [None, True, "3", [1], {}, 10**400, -(10**400), float("nan"), float("inf")])
def test_what_is_no_finite_number_says_nothing(value):
    assert finite(value) is None
    assert training_step({"step": value}) is None
    assert evaluation_points([{"mean": value}, {"return": value}]) == []


def test_the_first_counter_that_is_a_number_tells_the_step():
    assert training_step({"frames": 4, "frame_idx": 3, "step": "many"}) == 3
    assert training_step({}) is None


def test_evaluations_are_counted_where_they_tell_no_step():
    told = [{"mean": 1, "std": 0.5}, {"mean": "x"}, {"return": {"mean": 2}, "step": 10}, {"mean": 3, "std": 10**400}]
    assert evaluation_points(told) == [(0, 1.0, 0.5), (10.0, 2.0, 0.0), (3, 3.0, 0.0)]
