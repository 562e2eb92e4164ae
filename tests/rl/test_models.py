import gzip
import io
import itertools
import json
import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ckptfmt.errors import CkptError
from ckptfmt.families.atari_dqn.config import ARCHITECTURES, ModelConfig
from ckptfmt.families.encoder import Conv, Encoder
from ckptfmt.rl.families.describe import describe
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.families.noisy import NoisyLinear
from ckptfmt.rl.load import load_model_checkpoint
from ckptfmt.rl.save import save_model_checkpoint

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
SMALL = Encoder((Conv(4, (5, 5), (3, 3)), Conv(6, (3, 3), (2, 2), (1, 1))))


def small_config(architecture, **changes):
    atoms = {"n_atoms": 7, "v_min": -3.0, "v_max": 3.0} if "distributional" in architecture else {}
    fields = {
        "input_shape": (2, 20, 24),
        "n_action": 3,
        "hidden_size": 16,
        "encoder": SMALL,
        "dueling_dqn": "dueling" in architecture,
        "distributional_dqn": "distributional" in architecture,
        "noisy_networks": "noisy" in architecture,
    }
    return ModelConfig(**{**fields, **atoms, **changes})


@pytest.fixture(params=ARCHITECTURES)
def model(request):
    torch.manual_seed(3)
    return create_model_from_config(small_config(request.param))


def frames(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def test_forward_gives_q_values_or_probabilities(model):
    output = model(frames(5, 2, 20, 24))
    if model.config.distributional_dqn:
        assert output.shape == (5, 3, 7)
        torch.testing.assert_close(output.sum(dim=2), torch.ones(5, 3))
        torch.testing.assert_close(model.log_probabilities(frames(5, 2, 20, 24)).exp(), output)
    else:
        assert output.shape == (5, 3)


def test_q_values_are_the_expectation_of_the_forward(model):
    x = frames(5, 2, 20, 24)
    output = model(x)
    if model.config.distributional_dqn:
        output = torch.stack([(output[..., atom] * model.support[atom]) for atom in range(7)]).sum(0)
    torch.testing.assert_close(model.get_q_values(x), output)


def test_noise_changes_training_outputs_and_is_off_in_eval(model):
    x = frames(1, 2, 20, 24)
    before = model(x)
    model.reset_noise()
    assert torch.equal(before, model(x)) is not model.config.noisy_networks
    model.eval()
    quiet = model(x)
    model.reset_noise()
    assert torch.equal(quiet, model(x))


def test_compiles_without_a_graph_break(model):
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    x = frames(2, 2, 20, 24)
    torch.testing.assert_close(compiled(x), model(x))


def test_tensor_names_are_canonical():
    model = create_model_from_config(small_config("dueling+distributional+noisy"))
    layers = [f"{stream}.{index}" for stream in ("value_stream", "advantage_stream") for index in (0, 2)]
    parts = ["weight_mu", "weight_sigma", "bias_mu", "bias_sigma", "epsilon_input", "epsilon_output"]
    convs = [f"conv.{index}.{part}" for index in (0, 2) for part in ("weight", "bias")]
    heads = [f"{layer}.{part}" for layer, part in itertools.product(layers, parts)]
    assert list(model.state_dict()) == ["support", *convs, *heads]
    plain = create_model_from_config(small_config("dqn"))
    assert list(plain.state_dict())[-4:] == ["fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias"]


def test_dueling_subtracts_the_mean_advantage():
    model = create_model_from_config(small_config("dueling"))
    x = frames(4, 2, 20, 24)
    features = model.conv(x).flatten(1)
    torch.testing.assert_close(model(x).mean(dim=1, keepdim=True), model.value_stream(features))
    with torch.no_grad():
        model.advantage_stream[2].bias += 5.0
    torch.testing.assert_close(model(x).mean(dim=1, keepdim=True), model.value_stream(features))


def test_distributional_heads_are_action_major():
    model = create_model_from_config(small_config("distributional"))
    with torch.no_grad():
        model.fc[2].weight.zero_()
        model.fc[2].bias.copy_(torch.eye(3, 7).flatten() * 100)
    probabilities = model(frames(1, 2, 20, 24))[0]
    torch.testing.assert_close(probabilities, torch.eye(3, 7))


def test_noisy_layer_is_the_outer_product_of_the_paper():
    torch.manual_seed(0)
    layer = NoisyLinear(6, 4, std_init=0.5)
    x = frames(3, 6)
    epsilon = torch.outer(layer.epsilon_output, layer.epsilon_input)
    weight = layer.weight_mu + layer.weight_sigma * epsilon
    bias = layer.bias_mu + layer.bias_sigma * layer.epsilon_output
    torch.testing.assert_close(layer(x), x @ weight.T + bias)
    assert torch.all(layer.weight_sigma == 0.5 / math.sqrt(6))
    assert torch.all(layer.bias_sigma == 0.5 / math.sqrt(6))
    assert layer.weight_mu.abs().max() <= 1 / math.sqrt(6)
    assert "in_features=6" in repr(layer)


def test_noise_is_the_signed_root_of_a_gaussian():
    torch.manual_seed(0)
    layer = NoisyLinear(20000, 1)
    gaussian = layer.epsilon_input.sign() * layer.epsilon_input**2
    assert abs(gaussian.mean().item()) < 0.03
    assert abs(gaussian.std().item() - 1) < 0.03


def test_input_scale_divides_inside_the_network():
    torch.manual_seed(5)
    inside = create_model_from_config(small_config("dqn", input_scale=255))
    outside = create_model_from_config(small_config("dqn"))
    outside.load_state_dict(inside.state_dict())
    pixels = torch.arange(2 * 20 * 24).reshape(1, 2, 20, 24).remainder(256).to(torch.uint8)
    torch.testing.assert_close(inside(pixels), outside(pixels.float() / 255))
    assert inside.double()(pixels).dtype == torch.float64


def test_encoder_activation_and_padding_are_honoured():
    encoder = Encoder((Conv(4, (3, 5), (2, 1), (1, 2)),), "elu")
    model = create_model_from_config(small_config("dqn", encoder=encoder))
    conv = model.conv[0]
    assert (conv.kernel_size, conv.stride, conv.padding) == ((3, 5), (2, 1), (1, 2))
    assert isinstance(model.conv[1], torch.nn.ELU)
    assert isinstance(model.fc[1], torch.nn.ELU)
    assert model.fc[0].in_features == model.config.feature_size


def test_describe_counts_every_parameter(model):
    table = describe(model.config)
    assert table.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert table.architecture == model.config.get_architecture_name()


def test_describe_prints_a_table():
    assert describe(ModelConfig(n_action=4)).text() == (
        "dqn, 4×84×84 -> 4 actions, 1,686,180 parameters\n"
        "layer   kind                  output    parameters\n"
        "conv.0  conv 8×8, stride 4×4  32×20×20       8,224\n"
        "conv.2  conv 4×4, stride 2×2  64×9×9        32,832\n"
        "conv.4  conv 3×3, stride 1×1  64×7×7        36,928\n"
        "fc.0    linear                512        1,606,144\n"
        "fc.2    linear                4              2,052"
    )
    assert describe(ModelConfig(n_action=4)).to_dict()["layers"][0] == {
        "name": "conv.0",
        "kind": "conv 8×8, stride 4×4",
        "output": [32, 20, 20],
        "tensors": {"weight": [32, 4, 8, 8], "bias": [32]},
        "parameters": 8224,
    }


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "hpu", "xla"])
def test_unknown_device_is_refused_in_a_sentence(device):
    reason = "is no device" if device == "gpu" else "is not on this machine"
    with pytest.raises(CkptError) as caught:
        create_model_from_config(ModelConfig(n_action=4), device)
    assert str(caught.value) == f"device: {device} {reason}; use cpu, or auto"


def test_weights_are_not_loaded_to_where_there_are_no_numbers(tmp_path):
    config = ModelConfig(n_action=4)
    save_model_checkpoint(create_model_from_config(config), config, {}, tmp_path / "c")
    with pytest.raises(CkptError) as caught:
        load_model_checkpoint(tmp_path / "c", device="meta")
    assert str(caught.value) == "device: meta holds shapes and no numbers; use cpu, or auto"


def reference_files():
    index = CORPUS / "INDEX.json"
    entries = json.loads(index.read_text()) if index.exists() else []
    return [entry for entry in entries if entry["file"].startswith("reference/") and "golden" in entry]


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus of real files is not beside this repository")
@pytest.mark.parametrize("entry", reference_files(), ids=lambda entry: Path(entry["file"]).name)
def test_q_values_equal_those_of_the_code_that_wrote_the_file(entry):
    raw = (CORPUS / entry["file"]).read_bytes()
    raw = gzip.decompress(raw) if entry["compressed"] else raw
    content = torch.load(io.BytesIO(raw), weights_only=False, map_location="cpu")
    tensors = content.get("model_state_dict", content)
    model = create_model_from_config(reference_config(entry["expected"], tensors))
    model.load_state_dict(tensors)
    shape = entry["golden"]["input_shape"]
    x = (31 * torch.arange(math.prod(shape))).remainder(256).reshape(shape) / 255
    with torch.no_grad():
        q_values = model.eval().get_q_values(x)[0]
    torch.testing.assert_close(q_values, torch.tensor(entry["golden"]["q_values"]), rtol=1e-4, atol=1e-6)


def reference_config(expected, tensors):
    support = tensors.get("support")
    return ModelConfig(
        input_shape=expected["input_shape"],
        n_action=expected["n_action"],
        dueling_dqn="dueling" in expected["architecture"],
        distributional_dqn="distributional" in expected["architecture"],
        noisy_networks="noisy" in expected["architecture"],
        n_atoms=None if support is None else len(support),
        v_min=None if support is None else support[0].item(),
        v_max=None if support is None else support[-1].item(),
    )


JOINED = {
    "mean": [-2.0, 2.0, 6.0],
    "max": [-6.0, -2.0, 2.0],
    "sum": [2.0, 6.0, 10.0],
    "inverted": [6.0, 2.0, -2.0],
}


@pytest.mark.parametrize("join", JOINED)
def test_value_and_advantage_are_joined_as_the_config_says(join):
    model = create_model_from_config(small_config("dueling", dueling_join=join))
    with torch.no_grad():
        for head, biases in ((model.value_stream[2], [2.0]), (model.advantage_stream[2], [0.0, 4.0, 8.0])):
            head.weight.zero_()
            head.bias.copy_(torch.tensor(biases))
        assert model.get_q_values(torch.zeros(1, 2, 20, 24)).tolist() == [JOINED[join]]


def test_atoms_of_a_dueling_network_are_joined_one_by_one():
    def scores(join):
        torch.manual_seed(3)
        model = create_model_from_config(small_config("dueling+distributional", dueling_join=join)).eval()
        return model.log_probabilities(torch.ones(1, 2, 20, 24)), model

    mean, model = scores("mean")
    features = model.conv(torch.ones(1, 2, 20, 24)).flatten(1)
    value = model.value_stream(features).unsqueeze(1)
    advantage = model.advantage_stream(features).unflatten(1, (-1, value.shape[2]))
    inverted = (value - advantage + advantage.mean(1, keepdim=True)).log_softmax(2)
    torch.testing.assert_close(scores("inverted")[0], inverted)
    assert not torch.allclose(mean, inverted)
