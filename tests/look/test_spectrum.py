import numpy as np
import pytest

from ckptfmt.look.spectrum import spectrum_of


def test_singular_values_fall_and_their_effective_rank_is_how_many_equal_ones_would_do():
    found = spectrum_of(np.diag([3.0, 3.0, 3.0, 0.0]))
    assert found.values == pytest.approx((3, 3, 3, 0))
    assert found.effective_rank == pytest.approx(3)
    assert spectrum_of(np.ones((4, 6), np.float32)).effective_rank == pytest.approx(1)


def test_kernels_are_a_row_for_each_filter():
    kernels = np.random.default_rng(0).normal(size=(8, 4, 3, 3))
    expected = np.linalg.svd(kernels.reshape(8, 36), compute_uv=False)
    assert spectrum_of(kernels).values == pytest.approx(tuple(expected))


@pytest.mark.parametrize(
    "values",
    [
        np.ones(4),
        np.ones((2, 2), np.int64),
        np.full((2, 2), np.nan),
        np.ones((0, 3)),
        np.zeros((2100, 2100), "f4"),
        np.array([[1e308, -1e308], [1e308, 1e308]]),
    ],
    ids=["one dimension", "integers", "not finite", "empty", "too large", "beyond float64"],
)
def test_what_has_no_spectrum_that_a_page_could_show_is_left_out(values):
    assert spectrum_of(values) is None


def test_zeros_have_no_direction():
    assert spectrum_of(np.zeros((3, 3))).effective_rank == 0
