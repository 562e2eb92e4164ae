import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ckptfmt.errors import CkptError, WeightsError
from ckptfmt.rl.training.replay import Replay
from ckptfmt.rl.training.sumtree import SumTree

STACK = 3


def make_replay(**changes):
    settings = {"frame_dtype": np.int32, "frame_stack": STACK, "n_steps": 2, "gamma": 0.5, "seed": 4}
    return Replay(changes.pop("capacity", 40), (1, 1, 1), **{**settings, **changes})


class Play:
    """Fills a replay buffer with frames that count up, and remembers every transition as it was."""

    def __init__(self, replay, seed=0):
        self.replay, self.rng = replay, np.random.default_rng(seed)
        self.clock = 0
        self.stacks = [self.first() for _ in range(replay.num_envs)]
        self.steps = [[] for _ in range(replay.num_envs)]

    def frame(self):
        self.clock += 1
        return np.full((1, 1), self.clock, dtype=np.int32)

    def first(self):
        return np.repeat(self.frame()[None], STACK, axis=0)

    def step(self, env):
        action, reward = int(self.rng.integers(5)), float(self.rng.integers(-3, 4))
        terminated, truncated = self.rng.random() < 0.1, self.rng.random() < 0.1
        before = self.stacks[env]
        after = np.concatenate([before[1:], self.frame()[None]])
        self.replay.add(env, before, action, reward, terminated, truncated, after)
        self.steps[env].append((before, action, reward, terminated, truncated, after))
        self.stacks[env] = self.first() if terminated or truncated else after

    def expected(self, n_steps, gamma):
        """Return {newest frame: (stack, action, return, stack n steps later or None if it ended, discount)}."""
        found = {}
        for steps in self.steps:
            for i, (before, action, *_) in enumerate(steps):
                total, discount = 0.0, 1.0
                for *_, reward, terminated, truncated, after in steps[i : i + n_steps]:
                    total += discount * reward
                    discount *= gamma
                    ended, last = terminated, after
                    if terminated or truncated:
                        break
                found[before[-1].item()] = (before, action, total, last, 0.0 if ended else discount)
        return found


def test_stacks_made_on_a_device_are_those_made_here():
    common = {"prioritized": True, "num_envs": 2, "capacity": 60}
    here, there = make_replay(**common), make_replay(**common, device=torch.device("cpu"))
    plays = [Play(here), Play(there)]
    batch = None

    def draw(first, second, reuse):
        batch, sent = first.sample(8, 0.4, reuse), second.sample(8, 0.4, reuse)
        assert isinstance(sent.stacks, torch.Tensor)
        assert np.array_equal(batch.stacks, sent.stacks)
        assert np.array_equal(batch.indices, sent.indices)
        return batch

    # Round the ring three times, with draws of what has just changed.
    for step in range(90):
        for play in plays:
            play.step(step % 2)
            play.step(step % 2)
        if step > 10 and step % 7 == 0:
            batch = draw(here, there, batch)
    resumed = make_replay(**common, device=torch.device("cpu"))
    resumed.restore(there.state())
    draw(here, resumed, batch)


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("n_steps", [1, 2, 4])
def test_draws_are_the_transitions_that_were_played(prioritized, num_envs, n_steps):
    replay = make_replay(prioritized=prioritized, num_envs=num_envs, n_steps=n_steps, capacity=40 * num_envs)
    play = Play(replay)
    drawn = set()
    for step in range(150):
        for env in range(num_envs):
            play.step(env)
        if step < 10:
            continue
        expected = play.expected(n_steps, 0.5)
        batch = replay.sample(16)
        replay.update(batch.indices, np.ones(16))
        for i in range(16):
            stack, action, total, after, discount = expected[batch.observations[i, -1].item()]
            assert np.array_equal(batch.observations[i].reshape(-1), stack.reshape(-1))
            assert batch.actions[i] == action
            assert batch.returns[i] == pytest.approx(total)
            assert batch.discounts[i] == pytest.approx(discount)
            if discount:
                assert np.array_equal(batch.next_observations[i].reshape(-1), after.reshape(-1))
        drawn |= set(batch.observations[:, -1].reshape(-1).tolist())
    assert len(drawn) > 100


@pytest.mark.parametrize("prioritized", [False, True])
def test_a_restored_buffer_draws_the_same_batches(prioritized):
    replay, copy = make_replay(prioritized=prioritized), make_replay(prioritized=prioritized, seed=99)
    play = Play(replay)
    for _ in range(70):
        play.step(0)
    batch = replay.sample(8)
    replay.update(batch.indices, np.arange(8.0))
    state = replay.state()
    assert all(isinstance(array, np.ndarray) for array in state.values())
    copy.restore(state)
    for _ in range(5):
        mine, theirs = replay.sample(8, beta=0.4), copy.sample(8, beta=0.4)
        for name in ("stacks", "actions", "returns", "discounts", "weights", "indices"):
            assert np.array_equal(getattr(mine, name), getattr(theirs, name))
        for buffer in (replay, copy):
            buffer.update(mine.indices, np.linspace(0, 1, 8))
    play.step(0)


def test_a_buffer_that_is_not_full_stores_only_what_it_holds():
    replay = make_replay(capacity=1000)
    play = Play(replay)
    for _ in range(20):
        play.step(0)
    state = replay.state()
    assert len(state["0/frames"]) == replay.counts[0] < 40
    copy = make_replay(capacity=1000)
    copy.restore(state)
    assert np.array_equal(copy.sample(8).stacks, replay.sample(8).stacks)


def assert_draws_are_played(replay, play, n_steps):
    expected = play.expected(n_steps, 0.5)
    batch = replay.sample(40)
    for i in range(40):
        stack, action, total, after, discount = expected[batch.observations[i, -1].item()]
        assert np.array_equal(batch.observations[i].reshape(-1), stack.reshape(-1))
        assert (batch.actions[i], batch.returns[i]) == (action, pytest.approx(total))
        if discount:
            assert np.array_equal(batch.next_observations[i].reshape(-1), after.reshape(-1))
    replay.update(batch.indices, np.ones(40))
    return set(batch.observations[:, -1].reshape(-1).tolist())


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize(("length", "steps"), [(20, 133), (20, 10), (39, 40), (41, 57), (100, 39), (100, 133)])
def test_a_buffer_of_another_size_draws_only_what_was_played(prioritized, num_envs, length, steps):
    first = make_replay(prioritized=prioritized, num_envs=num_envs, capacity=40 * num_envs)
    play = Play(first)
    for _ in range(steps):
        for env in range(num_envs):
            play.step(env)
    play.replay = other = make_replay(prioritized=prioritized, num_envs=num_envs, capacity=length * num_envs)
    other.restore(first.state())
    drawn = set()
    for _ in range(50):
        drawn |= assert_draws_are_played(other, play, 2)
        for env in range(num_envs):
            play.step(env)
    assert len(drawn) > 50 * num_envs


def test_uniform_draws_cover_all_transitions_evenly():
    replay = make_replay(n_steps=1)
    play = Play(replay)
    for _ in range(200):
        play.step(0)
    counts = np.bincount(replay.sample(40_000).indices, minlength=40)
    drawn = counts[counts > 0]
    assert 25 <= len(drawn) <= 37
    assert drawn.min() > 0.8 * drawn.mean()
    assert drawn.max() < 1.2 * drawn.mean()


def test_prioritized_draws_follow_the_errors_and_weights_correct_for_them():
    replay = make_replay(prioritized=True, alpha=1.0, n_steps=1, capacity=400)
    play = Play(replay)
    for _ in range(100):
        play.step(0)
    slots = np.unique(replay.sample(2000).indices)
    replay.update(slots, np.where(np.arange(len(slots)) == 0, 9.0, 1.0))
    batch = replay.sample(20_000, beta=1.0)
    share = (batch.indices == slots[0]).mean()
    assert share == pytest.approx(9 / (9 + len(slots) - 1), rel=0.1)
    assert batch.weights.max() == 1.0
    assert batch.weights[batch.indices == slots[0]] == pytest.approx(1 / 9, rel=1e-3)


def test_a_reused_batch_is_overwritten_with_the_new_draw():
    replay, twin = make_replay(), make_replay()
    for buffer in (replay, twin):
        play = Play(buffer)
        for _ in range(30):
            play.step(0)
    first = replay.sample(8)
    again = replay.sample(8, reuse=first)
    twin.sample(8)
    assert np.shares_memory(first.stacks, again.stacks)
    assert np.array_equal(again.stacks, twin.sample(8).stacks)


def test_errors_say_what_is_wrong():
    with pytest.raises(CkptError) as caught:
        make_replay(capacity=6)
    assert str(caught.value) == "replay: a replay buffer of 6 frames is too small"
    with pytest.raises(CkptError) as caught:
        make_replay().sample(1)
    assert str(caught.value) == "replay: holds no transition that can be sampled yet"
    with pytest.raises(WeightsError) as caught:
        make_replay().restore(make_replay(num_envs=2).state())
    assert str(caught.value) == "replay: the replay buffer has other sizes, it is of 2 environments, not of 1"
    with pytest.raises(WeightsError) as caught:
        make_replay().restore(make_replay(frame_dtype=np.uint8).state())
    assert str(caught.value) == "replay: the replay buffer has other sizes, 0/frames is uint8(0, 1, 1, 1)"
    with pytest.raises(WeightsError) as caught:
        make_replay().restore({**make_replay().state(), "counts": np.array([5])})
    assert str(caught.value) == "replay: the replay buffer has other sizes, 0/frames is int32(0, 1, 1, 1)"


@pytest.mark.parametrize("size", [1, 64, 65, 5000, 300_000])
def test_sum_tree_finds_the_leaf_of_every_share(size):
    rng = np.random.default_rng(size)
    tree, leaves = SumTree(size), np.zeros(size)
    for _ in range(20):
        some = rng.integers(size, size=100)
        values = rng.random(100) * (rng.random(100) < 0.7)
        tree.update(some, values)
        leaves[some] = values
    assert np.array_equal(tree.leaves, leaves)
    tree.update(np.array([size // 2]), np.array([1.0]))
    leaves[size // 2] = 1.0
    assert tree.total == pytest.approx(leaves.sum())
    targets = np.concatenate([rng.random(500), [0.0, 1.0]]) * tree.total
    found = tree.find(targets)
    assert (leaves[found] > 0).all()
    running = leaves.cumsum()
    assert (running[found] >= targets - 1e-9).all()
    assert (running[found] - leaves[found] <= targets + 1e-9).all()


def test_a_restored_sum_tree_has_the_very_same_sums():
    rng = np.random.default_rng(1)
    tree, copy = SumTree(10_000), SumTree(10_000)
    for _ in range(50):
        tree.update(rng.integers(10_000, size=32), rng.random(32))
    copy.restore(tree.leaves)
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(tree._levels, copy._levels, strict=True))
