"""Whatever an evaluation came to, and whatever lies beside: it is written down whole, or the checkpoint stays."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.rl.play import Episode, Evaluation
from ckptfmt.rl.player import add_evaluation
from ckptfmt.rl.protocol import Protocol
from tests.store.test_property import NEIGHBOURS, TEXT, assert_kept, fresh

EPISODES = st.lists(st.builds(Episode, st.floats(), st.integers(), st.integers()), min_size=1, max_size=3)
PROTOCOLS = st.builds(Protocol, epsilon=st.floats(0, 1), name=st.none() | TEXT) | st.just(Protocol())


@settings(max_examples=60)
@given(episodes=EPISODES, protocol=PROTOCOLS, neighbour=NEIGHBOURS)
def test_an_evaluation_is_written_whole_or_is_an_error(episodes, protocol, neighbour):
    folder, root = fresh(True)
    with folder, warnings.catch_warnings():
        # The mean of infinities of both signs is none, which NumPy says too.
        warnings.simplefilter("ignore", RuntimeWarning)
        evaluation = Evaluation(tuple(episodes), protocol)
        with ckptfmt.open(root / "out") as checkpoint:
            played = checkpoint.manifest
        assert_kept(root, root / "out", lambda: add_evaluation(root / "out", evaluation, played=played), neighbour)
