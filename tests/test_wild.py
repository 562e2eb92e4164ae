"""Networks as people write and save them, each built here: the same Q-values come out, or no claim is made."""

import warnings
from collections import OrderedDict
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from torch import nn  # noqa: E402

import ckptfmt  # noqa: E402
from ckptfmt.convert.convert import Conversion, convert  # noqa: E402
from ckptfmt.errors import ConversionError  # noqa: E402

FRAMES = (4, 84, 84)


class Plain(nn.Module):
    """Layers as attributes, a functional ReLU unless `activation` is a module."""

    def __init__(self, activation: nn.Module | None = None, padding: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(4, 32, 8, 4, padding=padding)
        self.conv2 = nn.Conv2d(32, 64, 4, 2)
        self.conv3 = nn.Conv2d(64, 64, 3, 1)
        self.fc1 = nn.Linear(3136, 16)
        self.fc2 = nn.Linear(16, 6)
        if activation is not None:
            self.activation = activation

    def forward(self, x):
        active = getattr(self, "activation", torch.relu)
        for conv in (self.conv1, self.conv2, self.conv3):
            x = active(conv(x))
        return self.fc2(active(self.fc1(x.flatten(1))))


class Streams(nn.Module):
    """Two streams under names of the caller's choice, each with a hidden layer of its own."""

    def __init__(self, one: str, many: str, rows: int = 1) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(4, 32, 8, 4), nn.Conv2d(32, 64, 4, 2), nn.Conv2d(64, 64, 3, 1)
        for name, outputs in ((one, rows), (many, 6)):
            setattr(self, name, nn.Sequential(nn.Linear(3136, 16), nn.ReLU(), nn.Linear(16, outputs)))


def sequence(*layers: nn.Module, features: int = 3136, active: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 16), active(), nn.Linear(16, 6))


def nature(active: type[nn.Module] = nn.ReLU, **first) -> list[nn.Module]:
    return [
        nn.Conv2d(4, 32, 8, 4, **first), active(),
        nn.Conv2d(32, 64, 4, 2), active(),
        nn.Conv2d(64, 64, 3, 1), active(),
    ]  # fmt: skip


def save(saved: object, folder: Path) -> Path:
    file = folder / "model.pt"
    torch.save(saved, file)
    return file


def agrees(network: nn.Module, result: Conversion, shape: tuple[int, int, int] = FRAMES) -> bool:
    frames = torch.randn(3, *shape, generator=torch.Generator().manual_seed(5))
    rebuilt, _, _ = ckptfmt.load_model_checkpoint(result.dest)
    with torch.no_grad():
        return torch.allclose(rebuilt.get_q_values(frames), network.eval()(frames), atol=1e-5)


PADDED = [
    nn.Conv2d(4, 32, 8, 4, padding=2), nn.ReLU(),
    nn.Conv2d(32, 64, 4, 2, padding=1), nn.ReLU(),
    nn.Conv2d(64, 64, 3, 1, padding="same"), nn.ReLU(),
]  # fmt: skip
SMALL = [nn.Conv2d(4, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2), nn.ReLU(), nn.Conv2d(32, 32, 5, 2), nn.ReLU()]
WHOLE = {
    "elu": (sequence(*nature(nn.ELU), active=nn.ELU), FRAMES),
    "leaky relu": (Plain(nn.LeakyReLU()), FRAMES),
    "tanh": (Plain(nn.Tanh()), FRAMES),
    "dropout": (sequence(*nature(), nn.Dropout(0.5)), FRAMES),
    "padding that gives as many features": (Plain(padding=1), FRAMES),
    "padded": (sequence(*PADDED, features=6400), FRAMES),
    "small kernels": (sequence(*SMALL, features=32 * 49), FRAMES),
    "another screen": (sequence(*nature(), features=1024), (4, 64, 64)),
}


@pytest.mark.parametrize("case", WHOLE)
def test_what_a_whole_module_says_of_its_layers_is_not_assumed(case, tmp_path):
    network, shape = WHOLE[case]
    result = convert(save(network, tmp_path), tmp_path / "out", architecture="dqn")
    assert agrees(network, result, shape)
    # Strides and paddings are seen of every convolution, an activation only in a Sequential.
    seen = case not in ("padding that gives as many features", "leaky relu", "tanh")
    assert result.config_origin["encoder"] == ("inferred" if seen else "assumed")


STRANGERS = {
    "a LeakyReLU of its own": Plain(nn.LeakyReLU(0.2)),
    "a SELU": Plain(nn.SELU()),
    "a MaxPool2d": sequence(
        nn.Conv2d(4, 32, 8, 4, padding=2), nn.MaxPool2d(2), nn.Conv2d(32, 64, 4, 2, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, 1, padding=1), features=1600,
    ),
    "an AdaptiveAvgPool2d": sequence(*nature(), nn.AdaptiveAvgPool2d(1), features=64),
    "an InstanceNorm2d": sequence(*nature(), nn.InstanceNorm2d(64)),
    "both relu and tanh": sequence(*nature(), active=nn.Tanh),
    "the activation tanh behind its head": sequence(*nature()).append(nn.Tanh()),
    "a convolution of which the dilation is (2, 2)": sequence(
        nn.Conv2d(4, 32, 8, 4), nn.Conv2d(32, 64, 4, 2), nn.Conv2d(64, 64, 3, padding=2, dilation=2), features=64 * 81
    ),
    "a convolution of which the padding_mode is circular": sequence(*nature(padding=1, padding_mode="circular")),
}  # fmt: skip


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("wrap", [lambda network: network, lambda network: {"agent": {"net": network}}])
def test_a_layer_that_none_of_the_eight_has_is_no_claim(stranger, wrap, tmp_path):
    result = convert(save(wrap(STRANGERS[stranger]), tmp_path), tmp_path / "out")
    assert result.architecture is None
    assert result.classification.refusal == f"its module has {stranger}, which no Atari DQN has"


def test_a_softmax_at_the_end_is_a_policy(tmp_path):
    result = convert(save(sequence(*nature()).append(nn.Softmax(1)), tmp_path), tmp_path / "out")
    assert result.classification.refusal == "its module ends in a softmax, as a policy does; it has the shapes of dqn"


def test_a_scripted_module_says_which_layers_it_has(tmp_path):
    pooled = sequence(*nature(), nn.AdaptiveAvgPool2d(1), features=64).eval()
    active = sequence(*nature(nn.ELU), active=nn.ELU).eval()
    for i, (network, said) in enumerate(((pooled, "an AdaptiveAvgPool2d"), (active, "an ELU of which the constants"))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.save(torch.jit.trace(network, torch.zeros(1, *FRAMES)), tmp_path / f"{i}.pt")
        assert said in convert(tmp_path / f"{i}.pt", tmp_path / f"out{i}").classification.refusal


@pytest.mark.parametrize(("one", "many"), [("fc_v", "fc_1"), ("aux", "q"), ("V", "Q"), ("v", "a"), ("first", "second")])
def test_streams_that_are_not_called_value_and_advantage_are_left_to_the_user(one, many, tmp_path):
    file = save(Streams(one, many).state_dict(), tmp_path)
    with pytest.raises(ConversionError) as caught:
        convert(file, tmp_path / "out")
    assert caught.value.what.startswith("two streams, one of which ends in a single row, are the shapes of a dueling")
    assert "architecture=" in caught.value.fix
    assert convert(file, tmp_path / "out", architecture="dueling").architecture == "dueling"


@pytest.mark.parametrize(
    ("one", "many"), [("fc_v", "fc_p"), ("state_value", "action"), ("values", "probs"), ("c", "pi")]
)
def test_streams_that_are_called_actor_and_critic_are_no_q_network(one, many, tmp_path):
    file = save(Streams(one, many).state_dict(), tmp_path)
    result = convert(file, tmp_path / "out")
    if result.architecture is not None:
        assert (result.family, result.architecture) == ("actor-critic", "categorical")
        return
    assert "as the actor of an actor-critic" in result.classification.refusal or "of actor-critics" in (
        result.classification.refusal
    )
    assert convert(file, tmp_path / "given", architecture="dueling").architecture == "dueling"


STREAMS = [("value", "advantage"), ("fc_val", "fc_adv"), ("v_stream", "a_stream"), ("V", "A"), ("vout", "advout")]


@pytest.mark.parametrize(("one", "many"), STREAMS)
def test_streams_that_are_called_so_are_told(one, many, tmp_path):
    assert convert(save(Streams(one, many).state_dict(), tmp_path), tmp_path / "out").architecture == "dueling"


def test_a_stream_of_sigmas_makes_no_noisy_layers(tmp_path):
    file = save(Streams("std_net", "mean_net", rows=6).state_dict(), tmp_path)
    result = convert(file, tmp_path / "out")
    assert (result.architecture, "so it is no sigma but a stream of its own" in result.classification.refusal) == (
        None,
        True,
    )


CLASSIFIERS = {
    "digits": [nn.Conv2d(1, 10, 5), nn.Conv2d(10, 20, 5), nn.Linear(320, 50), nn.Linear(50, 10)],
    "pictures": [nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5), nn.Linear(400, 120), nn.Linear(120, 10)],
    "more pictures": [nn.Conv2d(3, 64, 3), nn.Conv2d(64, 128, 3), nn.Linear(8192, 32), nn.Linear(32, 10)],
}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_classifier_of_pictures_is_no_q_network(kind, tmp_path):
    with pytest.raises(
        ConversionError,
        match=r"no known encoder has .* kernels of [\d, ]+ pixels; give input_shape=, or keep the weights",
    ):
        convert(save(nn.Sequential(*CLASSIFIERS[kind]).state_dict(), tmp_path), tmp_path / "out")


def chain(*names: str) -> nn.Sequential:
    """Convolutions of which the last two have the same shape, under these names."""
    layers = OrderedDict(zip(names, (nn.Conv2d(4, 32, 8, 4), nn.Conv2d(32, 32, 3), nn.Conv2d(32, 32, 3)), strict=True))
    return nn.Sequential(layers | {"flat": nn.Flatten(), "hidden": nn.Linear(32 * 256, 16), "q": nn.Linear(16, 6)})


@pytest.mark.parametrize("names", [("conv1", "conv2", "conv3"), ("first", "second", "third")])
def test_convolutions_of_one_shape_follow_their_numbers_or_the_file(names, tmp_path):
    network = chain(*names)
    result = convert(save(network.state_dict(), tmp_path), tmp_path / "out")
    assert [name for name in result.renamed if name.endswith("weight")][:3] == [f"{name}.weight" for name in names]


def test_convolutions_of_one_shape_whose_names_and_order_disagree_are_not_guessed(tmp_path):
    result = convert(save(chain("conv_in", "conv_mid", "conv_last").state_dict(), tmp_path), tmp_path / "out")
    assert result.classification.refusal == (
        "nothing shows the order of the convolutions conv_in.weight, conv_mid.weight and conv_last.weight"
    )
    ordered = dict(sorted(chain("a_in", "a_last", "a_mid").state_dict().items()))
    result = convert(save(ordered, tmp_path), tmp_path / "sorted")
    assert (result.architecture, result.classification.refusal.startswith("nothing shows the order of ")) == (
        None,
        True,
    )


def test_the_user_can_describe_the_trunk(tmp_path):
    network = sequence(*SMALL, features=32 * 49)
    file = save(network.state_dict(), tmp_path)
    with pytest.raises(ConversionError, match=r"3 combinations of usual strides and paddings .* give encoder="):
        convert(file, tmp_path / "out", architecture="dqn", input_shape=(4, 84, 84))
    convs = [{"channels": channels, "kernel": [5, 5], "stride": [2, 2]} for channels in (16, 32, 32)]
    settings = {"encoder": {"convs": convs}}
    facts = {"architecture": "dqn", "input_shape": (4, 84, 84)}
    result = convert(file, tmp_path / "out", settings=settings, **facts)
    assert result.config_origin["encoder"] == "given"
    rebuilt, _, _ = ckptfmt.load_model_checkpoint(tmp_path / "out")
    assert [conv.stride for conv in rebuilt.conv if isinstance(conv, nn.Conv2d)] == [(2, 2)] * 3
    with pytest.raises(ConversionError, match="the encoder that is given has other convolutions than the file"):
        convert(file, tmp_path / "other", settings={"encoder": "nature"})
