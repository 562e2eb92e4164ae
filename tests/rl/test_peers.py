"""What the ranks that save together leave behind."""

from weakref import ref

import pytest
from torch import distributed

from ckptfmt.rl.peers import Ranks


@pytest.fixture
def alone(tmp_path):
    """One process as a group of torch.distributed."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


def test_they_exchange_messages_of_any_length(alone):
    ranks = Ranks()
    for size in (0, 1, 4095, 4096, 4097, 70_000):
        assert ranks.exchange(b"a" * size) == [b"a" * size]


def test_groups_that_are_destroyed_are_gone_and_their_threads_with_them(alone):
    group = ref(distributed.group.WORLD)
    ranks = Ranks()
    ranks.exchange(b"saved")
    assert ranks.usable
    distributed.destroy_process_group()
    assert group() is None
    assert not ranks.usable


def test_a_group_made_anew_asks_for_other_ranks(alone, tmp_path):
    ranks = Ranks()
    distributed.destroy_process_group()
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/again", rank=0, world_size=1)
    assert not ranks.usable


def test_a_broken_group_is_not_used_again(alone):
    ranks = Ranks(patience=5)
    ranks.broken = True
    assert not ranks.usable
