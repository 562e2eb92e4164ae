"""What a comparison of renamed tensors costs follows their number: counted in steps, not in time."""

import sys

import numpy as np
import pytest

import ckptfmt


def steps(work):
    """Return how many calls `work` makes, those of built-in functions among them."""
    count = 0

    def profile(*_):
        nonlocal count
        count += 1

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture
def renamed(tmp_path):
    def make(number):
        for prefix in ("a", "b"):
            tensors = {f"{prefix}{i}": np.full(2, i, np.float32) for i in range(number)}
            ckptfmt.save(tmp_path / f"{prefix}-{number}", tensors).close()
        return tmp_path / f"a-{number}", tmp_path / f"b-{number}"

    return make


def test_renamed_tensors_are_found_in_linear_time(renamed):
    pairs = [renamed(number) for number in (100, 200, 400)]
    found = [ckptfmt.diff(*pair, only=["weights"]) for pair in pairs]
    assert [diff.counts["renamed"] for diff in found] == [100, 200, 400]
    counted = [steps(lambda pair=pair: ckptfmt.diff(*pair, only=["weights"])) for pair in pairs]
    assert counted[2] - counted[1] < 2.2 * (counted[1] - counted[0])
