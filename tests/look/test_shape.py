import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ckptfmt
from ckptfmt.look import shape
from ckptfmt.look.shape import BINS, shape_of


def shape_of_array(path, values, **given):
    with ckptfmt.save(path / "ck", {"x": values}) as checkpoint:
        return shape_of(checkpoint, "x", **given)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=300))
def test_counts_are_those_of_a_histogram_over_a_symmetric_range(tmp_path_factory, numbers):
    values = np.array(numbers, np.float32)
    found = shape_of_array(tmp_path_factory.mktemp("shape"), values)
    reach = float(np.abs(values).max())
    assert found.reach == reach
    assert sum(found.counts) == (len(numbers) if reach else 0)
    # Where an edge falls on a value, rounding decides: each value is in the bin it belongs to, or beside it.
    for value in values[:20] if reach else ():
        place = int((float(value) / reach + 1) * BINS / 2)
        assert any(found.counts[max(0, place - 1) : place + 2])


@pytest.mark.parametrize("held", [True, False], ids=["read once", "read twice"])
def test_a_tensor_of_several_blocks_has_the_figures_of_the_whole(tmp_path, monkeypatch, held):
    if not held:
        monkeypatch.setattr(shape, "_HELD", 0)
    values = np.random.default_rng(0).standard_normal((37, 1001)).astype(np.float32)
    found = shape_of_array(tmp_path, values)
    wide = values.astype(np.float64)
    reach = np.abs(wide).max()
    assert found.counts == tuple(np.histogram(wide, BINS, (-reach, reach))[0])
    np.testing.assert_allclose(found.norms, np.linalg.norm(wide, axis=1), rtol=1e-12)
    assert found.stats.mean == pytest.approx(wide.mean(), rel=1e-9)
    assert found.stats.std == pytest.approx(wide.std(), rel=1e-9)


def test_few_values_are_kept_and_those_that_are_not_finite_are_counted(tmp_path):
    found = shape_of_array(tmp_path, np.array([[1, np.nan], [-2, np.inf]], np.float32))
    assert found.values == (1.0, -2.0)
    assert (found.stats.non_finite, found.reach, sum(found.counts)) == (2, 2.0, 2)


@pytest.mark.parametrize("most", [5e-324, 1.7e308])
def test_the_smallest_and_the_largest_numbers_have_their_bins(tmp_path, most):
    found = shape_of_array(tmp_path, np.array([-most, 0.0, most]))
    assert [place for place, count in enumerate(found.counts) if count] == [0, BINS // 2, BINS - 1]


def test_a_wider_range_lays_two_tensors_over_each_other(tmp_path):
    found = shape_of_array(tmp_path, np.array([1.0, -1.0], np.float32), reach=2.0)
    assert (found.reach, found.counts.index(1)) == (2.0, BINS // 4)
