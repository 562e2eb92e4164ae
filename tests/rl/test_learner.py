import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.encoder import Conv, Encoder
from ckptfmt.families.implicit_quantile_q import ImplicitQuantileConfig
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.training.batch import Batch
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.learner import Learner, project
from ckptfmt.rl.training.quantiles import middles, quantile_losses
from ckptfmt.rl.training.replay import Replay

POINT = Encoder((Conv(1, (1, 1), (1, 1)),))
ACTIONS = 3
SUPPORT = [-2.0, -1.0, 0.0, 1.0, 2.0]


def make_learner(online, target, **flags):
    """Return a learner whose networks say `online` and `target` (outputs by action) of the one frame there is."""
    torch.manual_seed(1)
    atoms = {"n_atoms": 5, "v_min": -2.0, "v_max": 2.0} if flags.get("distributional_dqn") else {}
    config = ModelConfig(
        input_shape=(1, 1, 1), n_action=ACTIONS, encoder=POINT, hidden_size=2, distributional_dqn=bool(atoms), **atoms
    )
    learner = Learner(create_model_from_config(config), TrainConfig(**flags))
    for network, outputs in ((learner.online, online), (learner.target, target)):
        with torch.no_grad():
            network.fc[2].weight.zero_()
            network.fc[2].bias.copy_(torch.tensor(outputs).reshape(-1))
    return learner


def make_batch(actions, returns, discounts, weights=None):
    size = len(actions)
    return Batch(
        stacks=np.zeros((size, 2, 1, 1, 1), dtype=np.float32),
        actions=np.array(actions),
        returns=np.array(returns, dtype=np.float32),
        discounts=np.array(discounts, dtype=np.float32),
        weights=np.array(weights or [1.0] * size, dtype=np.float32),
        indices=np.arange(size),
    )


def huber(error):
    return error * error / 2 if abs(error) < 1 else abs(error) - 0.5


# The online network finds action 2 the best, the target network action 1.
ONLINE, TARGET = [0.25, -0.5, 1.0], [0.5, 2.0, -4.0]


@pytest.mark.parametrize(("double", "bootstrap"), [(False, 2.0), (True, -4.0)])
def test_a_target_is_the_return_and_the_discounted_value_of_the_best_action_behind_it(double, bootstrap):
    learner = make_learner(ONLINE, TARGET, double_dqn=double)
    batch = make_batch([0, 1, 2], [1.0, -1.0, 0.5], [0.5, 0.25, 0.0], [1.0, 0.5, 0.25])
    loss, errors = learner.update(batch)
    targets = [1.0 + 0.5 * bootstrap, -1.0 + 0.25 * bootstrap, 0.5]
    expected = [value - target for value, target in zip(ONLINE, targets, strict=True)]
    assert errors.tolist() == pytest.approx(expected)
    weighted = [huber(error) * weight for error, weight in zip(expected, (1.0, 0.5, 0.25), strict=True)]
    assert loss == pytest.approx(sum(weighted) / 3)


def test_an_update_moves_the_value_of_the_action_taken_toward_its_target_and_the_target_network_stays():
    learner = make_learner(ONLINE, TARGET, learning_rate=0.01)
    learner.update(make_batch([0, 1], [1.0, -1.0], [0.5, 0.0]))
    moved = learner.online(torch.zeros(1, 1, 1, 1))[0].tolist()
    assert moved[0] > ONLINE[0]  # its target is 2
    assert moved[1] < ONLINE[1]  # its target is -1
    assert moved[2] == pytest.approx(ONLINE[2])
    assert learner.target(torch.zeros(1, 1, 1, 1))[0].tolist() == TARGET
    learner.sync_target()
    assert learner.target(torch.zeros(1, 1, 1, 1))[0].tolist() == moved


@pytest.mark.parametrize("double", [False, True])
def test_a_distribution_is_learnt_from_the_projected_one_of_the_best_action_behind_it(double):
    sure = [[9.0 if atom == place else -9.0 for atom in SUPPORT] for place in (0.0, 2.0, -2.0)]
    unsure = [[0.0, 0.5, 0.0, -0.5, 1.0], [-1.0] * 5, [0.0, 0.0, 0.0, 0.0, 2.0]]
    learner = make_learner(unsure, sure, distributional_dqn=True, double_dqn=double)
    # The target network is sure of a return of 2 for action 1, which it chooses, and of -2 for action 2, which the
    # online network chooses. 0.5 + 0.375 * 2 = 1.25 lies between the atoms 1 and 2, 0.5 - 0.75 between -1 and 0.
    loss, errors = learner.update(make_batch([0, 2], [0.5, -3.0], [0.375, 0.0]))
    shared = [0.0, 0.25, 0.75, 0.0, 0.0] if double else [0.0, 0.0, 0.0, 0.75, 0.25]
    logs = [logits - np.log(np.exp(logits).sum()) for logits in unsure]
    expected = [-np.dot(shared, logs[0]), -logs[2][0]]  # a return of -3 is below the support: its first atom takes it
    assert errors.tolist() == pytest.approx(expected, rel=1e-4)
    assert loss == pytest.approx(sum(expected) / 2, rel=1e-4)


@pytest.mark.parametrize("double", [False, True])
def test_every_weight_of_a_distribution_learns_in_bfloat16(double):
    zeros = [[0.0] * 5] * ACTIONS
    learner = make_learner(zeros, zeros, distributional_dqn=True, double_dqn=double, precision="bfloat16")
    learner.update(make_batch([0, 1], [1.0, -1.0], [0.5, 0.0]))
    assert all(parameter.grad is not None for parameter in learner.online.parameters())


def test_fractions_are_not_rounded_where_a_network_computes_in_bfloat16():
    config = ImplicitQuantileConfig(observation=(3,), n_action=2, n_cosines=64, n_taus=8)
    torch.manual_seed(1)
    network = create_model_from_config(config)
    seen, taus = torch.ones(1, 3), torch.rand(1, 200)
    given = []
    network.embedding.register_forward_pre_hook(lambda layer, inputs: given.append(inputs[0].float()))
    with torch.no_grad():
        network.at(seen, taus)
        with torch.autocast("cpu", torch.bfloat16):
            network.at(seen.bfloat16(), taus)
            network(seen, taus[0])
    for cosines in given[1:3]:
        assert (cosines - given[0]).abs().max() < 0.01


def test_the_atoms_of_a_distribution_tell_between_its_neighbours():
    skewed = [[0.0] * 5, [np.log(share) for share in (0.1, 0.1, 0.1, 0.2, 0.5)], [0.0] * 5]
    learner = make_learner(skewed, skewed, distributional_dqn=True)
    # 0.5 + 0.25 * atom: 0, 0.25, 0.5, 0.75 and 1, of which the atoms 0 and 1 get the shares by distance.
    _, errors = learner.update(make_batch([1], [0.5], [0.25]))
    at_zero = 0.1 + 0.1 * 0.75 + 0.1 * 0.5 + 0.2 * 0.25
    assert errors.tolist() == pytest.approx([-(at_zero * np.log(0.1) + (1 - at_zero) * np.log(0.2))])


def test_a_quantile_loss_worked_out_by_hand():
    predicted, target = torch.tensor([[0.0, 2.0]]), torch.tensor([[0.5, 4.0]])
    # Differences of samples and quantiles: 0.5 and 4 from the first, -1.5 and 2 from the second.
    first = (0.25 * huber(0.5) + 0.25 * huber(4.0)) / 2
    second = ((1 - 0.75) * huber(-1.5) + 0.75 * huber(2.0)) / 2
    losses = quantile_losses(predicted, middles(2, torch.device("cpu")), target)
    assert losses.tolist() == pytest.approx([first + second])


def test_quantiles_of_a_known_distribution_are_learnt():
    torch.manual_seed(1)
    quantiles = torch.zeros(1, 4, requires_grad=True)
    optimizer = torch.optim.SGD([quantiles], lr=0.5)
    for _ in range(600):
        samples = torch.rand(1, 64) * 8
        optimizer.zero_grad()
        quantile_losses(quantiles, middles(4, torch.device("cpu")), samples).sum().backward()
        optimizer.step()
    assert quantiles.detach()[0].tolist() == pytest.approx([1.0, 3.0, 5.0, 7.0], abs=0.5)


def test_projection_shares_out_between_neighbours():
    support = torch.linspace(-1, 1, 5)
    probabilities = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    atoms = torch.tensor([[0.25, 0.5], [-7.0, 9.0]])
    expected = torch.tensor([[0.0, 0.0, 0.1, 0.9, 0.0], [0.5, 0.0, 0.0, 0.0, 0.5]])
    torch.testing.assert_close(project(probabilities, atoms, support), expected)


def test_n_step_targets_of_an_episode_worked_out_by_hand():
    replay = Replay(32, (1, 1, 1), frame_dtype=np.float32, frame_stack=1, n_steps=3, gamma=0.5, seed=1)
    rewards = [1.0, 2.0, 4.0, 8.0]
    for step, reward in enumerate(rewards):
        frame = np.full((1, 1, 1), step, dtype=np.float32)
        replay.add(0, frame, step % ACTIONS, reward, step == 3, False, frame + 1)
    for _ in range(4):
        replay.add(0, np.full((1, 1, 1), 9, dtype=np.float32), 0, 16.0, False, False, frame)
    drawn = replay.sample(200)
    first = {int(drawn.observations[i, 0, 0, 0]): i for i in range(200)}
    batch = Batch(
        **{name: getattr(drawn, name)[[first[step] for step in range(4)]] for name in Batch.__dataclass_fields__}
    )
    learner = make_learner(ONLINE, TARGET)
    _, errors = learner.update(batch)
    # 1 + 2/2 + 4/4, then the value three steps on; the others meet the end of the episode, which is worth nothing.
    targets = [3.0 + 0.125 * 2.0, 2.0 + 4.0 / 2 + 8.0 / 4, 4.0 + 8.0 / 2, 8.0]
    assert errors.tolist() == pytest.approx([ONLINE[step % ACTIONS] - targets[step] for step in range(4)])
