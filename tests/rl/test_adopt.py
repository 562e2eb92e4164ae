import copy

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn

import ckptfmt
from ckptfmt.errors import ConversionError
from ckptfmt.families.atari_dqn.config import ARCHITECTURES
from ckptfmt.rl.envs import Environment, make_env
from ckptfmt.rl.integrations.adopt import adopt
from ckptfmt.rl.load import load_model_checkpoint
from ckptfmt.rl.save import save_model_checkpoint

from .test_save import make_model

torch.set_num_threads(1)


@pytest.fixture
def env():
    return make_env(Environment(id="ckptfmt/Catch-v0"))


class Net(nn.Module):
    """Names and wiring of our own; frames are divided by `scale`."""

    def __init__(self, scale=1.0, activation=nn.ReLU):
        super().__init__()
        torch.manual_seed(1)
        self.scale = scale
        self.trunk = nn.Sequential(
            nn.Conv2d(4, 32, 8, stride=4), activation(), nn.Conv2d(32, 64, 4, stride=2), activation(),
            nn.Conv2d(64, 64, 3), activation(), nn.Flatten(),
        )  # fmt: skip
        self.hidden, self.out, self.act = nn.Linear(64, 32), nn.Linear(32, 3), activation()

    def forward(self, x):
        return self.out(self.act(self.hidden(self.trunk(x / self.scale))))


@pytest.mark.parametrize("scale", [255.0, 1.0])
def test_whether_a_network_scales_its_frames_is_found_by_trying(env, scale):
    adopted = adopt(Net(scale), env)
    assert (adopted.config.get_architecture_name(), adopted.config.input_scale) == ("dqn", scale)
    assert (adopted.config.n_action, adopted.config.hidden_size) == (3, 32)
    assert list(adopted.state_dict())[:2] == ["conv.0.weight", "conv.0.bias"]


def test_a_network_of_silent_names_and_a_trunk_of_its_own_is_adopted_for_what_it_computes(env):
    torch.manual_seed(1)
    trunk = nn.Conv2d(4, 24, 8, stride=4), nn.ReLU(), nn.Conv2d(24, 48, 4, stride=2), nn.ReLU(), nn.Flatten()
    network = nn.Sequential(*trunk, nn.Linear(48 * 9, 16), nn.ReLU(), nn.Linear(16, 3))
    adopted = adopt(network, env)
    assert (adopted.config.get_architecture_name(), adopted.config.n_action) == ("dqn", 3)


def test_an_adopted_network_is_saved_as_it_is_at_that_time(env, tmp_path):
    net = Net(255.0)
    adopted = adopt(net, env)
    with torch.no_grad():
        net.out.bias.fill_(7)
    save_model_checkpoint(adopted, adopted.config, {"frame_idx": 1}, tmp_path / "a", environment=env)
    loaded, _, info = load_model_checkpoint(tmp_path / "a", env=env)
    x = torch.randint(0, 256, (3, 4, 36, 36)).float()
    assert torch.equal(loaded.get_q_values(x), net(x))
    assert info == {"frame_idx": 1}
    assert ckptfmt.validate(tmp_path / "a").valid


def test_a_network_that_computes_something_else_is_refused(env):
    with pytest.raises(ConversionError) as caught:
        adopt(Net(activation=nn.Tanh), env)
    assert str(caught.value) == (
        "Net: the network has the tensors of dqn and computes other Q-values from them; give q_values= where its "
        "forward returns something else, or save its state_dict with no config"
    )


def test_another_scale_than_the_given_one_is_refused(env):
    with pytest.raises(ConversionError):
        adopt(Net(255.0), env, input_scale=1.0)


def test_a_network_without_an_opinion_leaves_its_scale_to_the_user(env):
    net = Net()
    nn.init.zeros_(net.out.weight)
    with pytest.raises(ConversionError) as caught:
        adopt(net, env)
    assert str(caught.value) == "Net: its Q-values do not show what it divides its input by; give input_scale="
    assert adopt(net, env, input_scale=255.0).config.input_scale == 255.0


def test_a_network_of_no_known_family_is_refused_by_name(env):
    with pytest.raises(ConversionError) as caught:
        adopt(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), env)
    assert str(caught.value).startswith("Sequential: the network is of no known family: ")


def test_actions_that_are_not_the_environments_are_refused():
    with pytest.raises(ConversionError):
        adopt(Net(), make_env(Environment(id="ALE/Pong-v5", screen_size=36)))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_of_the_eight_is_adopted_from_a_copy_with_other_names(architecture, env):
    model, config = make_model(architecture, n_action=3, input_scale=255.0)
    net = nn.Module()
    net.body = copy.deepcopy(model).train()
    adopted = adopt(net, env, q_values=net.body.get_q_values, v_min=config.v_min, v_max=config.v_max)
    assert adopted.config.get_architecture_name() == architecture
    mine = model.state_dict()
    assert all(torch.equal(tensor, mine[name]) for name, tensor in adopted.state_dict().items())
    assert net.body.training


class Categorical(nn.Module):
    """C51 with the names that CleanRL gives it; there is no forward at all."""

    def __init__(self, n=3, n_atoms=11):
        super().__init__()
        torch.manual_seed(1)
        self.n, self.n_atoms = n, n_atoms
        self.register_buffer("atoms", torch.linspace(-2.0, 6.0, n_atoms))
        self.network = nn.Sequential(
            nn.Conv2d(4, 32, 8, stride=4), nn.ReLU(), nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(),
            nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, n * n_atoms),
        )  # fmt: skip

    def q_values(self, x):
        logits = self.network(x / 255.0).view(len(x), self.n, self.n_atoms)
        return (logits.softmax(dim=2) * self.atoms).sum(dim=2)


def test_a_distribution_of_returns_is_adopted_with_its_support(env):
    net = Categorical()
    config = adopt(net, env, q_values=net.q_values).config
    assert (config.get_architecture_name(), config.n_atoms) == ("distributional", 11)
    assert (config.v_min, config.v_max, config.input_scale) == (-2.0, 6.0, 255.0)


def test_a_distribution_in_another_order_of_rows_is_refused(env):
    net = Categorical()

    def atoms_first(x):
        logits = net.network(x / 255.0).view(len(x), net.n_atoms, net.n)
        return (logits.softmax(dim=1) * net.atoms[:, None]).sum(dim=1)

    with pytest.raises(ConversionError):
        adopt(net, env, q_values=atoms_first)


def test_a_compiled_network_is_adopted_under_its_plain_names(env):
    adopted = adopt(torch.compile(Net(255.0), backend="eager"), env)
    assert {placement.source for placement in adopted.placements} == set(Net().state_dict())


def test_a_part_that_was_compiled_by_itself_leaves_no_mark_in_the_names(env, tmp_path):
    model, config = make_model(n_action=3)
    plain = sorted(model.state_dict())
    model.conv = torch.compile(model.conv, backend="eager")
    assert sorted(model.state_dict()) != plain
    manifest = save_model_checkpoint(model, config, None, tmp_path / "a")
    assert sorted(manifest.weights.tensors) == plain


def test_adopting_draws_nothing_from_the_shared_generator(env):
    net = Net()
    before = torch.get_rng_state()
    adopt(net, env)
    assert torch.equal(torch.get_rng_state(), before)


class Agent(nn.Module):
    """A policy and a value with names and wiring of our own."""

    def __init__(self, activation=nn.Tanh, real=False):
        super().__init__()
        torch.manual_seed(1)
        size = 1 if real else 2
        self.actor = nn.Sequential(nn.Linear(3 if real else 4, 16), activation(), nn.Linear(16, size))
        self.critic = nn.Sequential(nn.Linear(3 if real else 4, 16), activation(), nn.Linear(16, 1))
        if real:
            self.actor_log_std = nn.Parameter(torch.zeros(1, 1))

    def outputs(self, x):
        return {"logits": self.actor(x), "value": self.critic(x).squeeze(-1)}

    def acts(self, x):
        mean = self.actor(x)
        return {"mean": mean, "action": mean.tanh(), "log_std": self.actor_log_std.expand_as(mean)}


@pytest.mark.parametrize(("activation", "name"), [(nn.Tanh, "tanh"), (nn.ELU, "elu"), (nn.ReLU, "relu")])
def test_an_actor_critic_is_adopted_with_the_activation_that_gives_its_answers(activation, name, tmp_path):
    env, agent = make_env(Environment(id="CartPole-v1", frame_stack=1)), Agent(activation)
    adopted = adopt(agent, env, outputs=agent.outputs)
    assert (adopted.config.family, adopted.config.policy, adopted.config.activation) == (
        "actor-critic",
        "categorical",
        name,
    )
    save_model_checkpoint(adopted, adopted.config, None, tmp_path / "a", environment=env)
    loaded, _, _ = load_model_checkpoint(tmp_path / "a", env=env)
    x = torch.randn(3, 4)
    assert torch.allclose(loaded.outputs(x)["logits"], agent.outputs(x)["logits"], atol=1e-6)


def test_what_the_answers_do_not_show_is_asked_for():
    env, agent = make_env(Environment(id="Pendulum-v1", frame_stack=1)), Agent(real=True)
    with pytest.raises(ConversionError) as caught:
        adopt(agent, env, outputs=lambda x: {"mean": agent.actor(x)})
    assert str(caught.value) == (
        "Agent: its answers do not show deviation_is and deviation_range and squash and action_scale; give these "
        "fields among the settings"
    )
    shown = adopt(agent, env, outputs=agent.acts, settings={"deviation_range": None}).config
    assert (shown.squash, shown.action_scale, shown.deviation_is) == ("tanh", 1.0, "log")


def test_an_agent_that_computes_something_else_is_refused():
    agent = Agent(nn.Sigmoid)
    with pytest.raises(ConversionError) as caught:
        adopt(agent, make_env(Environment(id="CartPole-v1", frame_stack=1)), outputs=agent.outputs)
    assert str(caught.value) == (
        "Agent: the network has the tensors of categorical and computes other answers from them; give outputs= where "
        "its forward returns something else, or save its state_dict with no config"
    )


def test_layers_whose_caller_says_that_they_give_q_values_are_a_q_network():
    net = nn.Sequential(nn.Linear(4, 8), nn.ELU(), nn.Linear(8, 2))
    config = adopt(net, make_env(Environment(id="CartPole-v1", frame_stack=1)), q_values=net).config
    assert (config.family, config.activation) == ("q-network", "elu")


def test_a_recurrent_network_is_adopted_over_time():
    torch.manual_seed(1)
    net = nn.ModuleDict({"lstm": nn.LSTM(4, 8), "q_values": nn.Linear(8, 2)})
    env = make_env(Environment(id="CartPole-v1", frame_stack=1))
    config = adopt(net, env, q_values=lambda x: net["q_values"](net["lstm"](x)[0])).config
    assert (config.family, config.n_action) == ("recurrent-q", 2)
