import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ckptfmt.format.numeric import BLOCK, blocks
from ckptfmt.look.stats import TensorStats, checkpoint_stats, tensor_stats
from ckptfmt.store.checkpoint import Checkpoint

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures"


def test_figures_are_those_of_numpy_over_many_blocks():
    values = np.random.default_rng(0).standard_normal(3 * BLOCK + 17).astype("<f4") + 5
    values[[1, BLOCK]] = 0
    found = tensor_stats([values.tobytes()], "F32")
    exact = values.astype("f8")
    assert (found.min, found.max) == (float(exact.min()), float(exact.max()))
    assert found.mean == pytest.approx(float(exact.mean()), rel=1e-12)
    assert found.std == pytest.approx(float(exact.std()), rel=1e-12)
    assert (found.zeros, found.non_finite) == (2, 0)


def test_what_is_not_finite_is_counted_and_left_out():
    values = np.array([1, math.nan, 3, math.inf, -math.inf], "<f8")
    assert tensor_stats([values.tobytes()], "F64") == TensorStats(1.0, 3.0, 2.0, 1.0, 0, 3)


@pytest.mark.parametrize("values", [[], [math.nan]])
def test_without_finite_elements_there_are_no_figures(values):
    found = tensor_stats([np.array(values, "<f4").tobytes()], "F32")
    assert found == TensorStats(None, None, None, None, 0, len(values))


def test_every_dtype_has_figures():
    with Checkpoint(FIXTURES / "valid" / "unknown-network" / "checkpoint") as checkpoint:
        stats = checkpoint_stats(checkpoint)
    assert stats["numbers.bfloat16"] == TensorStats(-2.0, 1.0, -0.5, 1.5, 0, 0)
    assert stats["numbers.float8"] == TensorStats(-2.0, 2.0, 1 / 3, pytest.approx(math.sqrt(26 / 9)), 0, 0)
    assert stats["numbers.bool"] == TensorStats(0.0, 1.0, 0.5, 0.5, 1, 0)
    assert stats["numbers.uint8"].max == 5
    assert stats["scalar"].mean == 7
    assert stats["empty"] == TensorStats(None, None, None, None, 0, 0)


def test_elements_of_less_than_a_byte_have_none():
    assert tensor_stats([b"\x12"], "F4") is None


@given(npst.arrays("<f8", st.integers(0, 40), elements=st.floats(-1e6, 1e6)))
def test_the_mean_lies_between_the_extremes(values):
    found = tensor_stats([values.tobytes()], "F64")
    if values.size:
        assert found.min - 1e-6 <= found.mean <= found.max + 1e-6
        assert found.std >= 0


@given(st.lists(st.binary(max_size=20)), st.integers(1, 9))
def test_blocks_are_the_same_bytes_in_other_parts(chunks, size):
    cut = list(blocks(chunks, size))
    assert b"".join(cut) == b"".join(chunks)
    assert all(len(block) == size for block in cut[:-1])
