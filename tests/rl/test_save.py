import copy
import io
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.errors import CkptError, WeightsError
from ckptfmt.families.atari_dqn.config import ARCHITECTURES, ModelConfig
from ckptfmt.families.encoder import Conv, Encoder
from ckptfmt.rl.envs import Environment, make_env
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.load import load_legacy_checkpoint, load_model_checkpoint
from ckptfmt.rl.save import refuse_nan, save_model_checkpoint

SMALL = Encoder((Conv(8, (8, 8), (4, 4)), Conv(8, (4, 4), (2, 2)), Conv(8, (3, 3), (1, 1))))
# What a save fills in where nobody did.
UNSIGNED = {"created_at": None, "model_version": None, "framework_version": None, "training_config_hash": None}
INFO = {"frame_idx": 200, "best_eval_reward": float("-inf"), "training_config": {"lr": 1e-4}}


def small_config(architecture, **changes):
    atoms = {"n_atoms": 11, "v_min": -5.0, "v_max": 5.0} if "distributional" in architecture else {}
    fields = {
        "n_action": 4,
        "input_shape": (4, 36, 36),
        "hidden_size": 16,
        "encoder": SMALL,
        "dueling_dqn": "dueling" in architecture,
        "distributional_dqn": "distributional" in architecture,
        "noisy_networks": "noisy" in architecture,
    }
    return ModelConfig(**{**fields, **atoms, **changes})


def make_model(architecture="dqn", **changes):
    torch.manual_seed(1)
    config = small_config(architecture, **changes)
    return create_model_from_config(config), config


def frames(config, batch=3):
    return torch.rand(batch, *config.input_shape, generator=torch.Generator().manual_seed(2))


def assert_same(model, loaded):
    mine, theirs = model.state_dict(), loaded.state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_was_saved_is_what_is_loaded(architecture, tmp_path):
    model, config = make_model(architecture, double_dqn=True, game="ALE/Pong-v5")
    manifest = save_model_checkpoint(model, config, INFO, tmp_path / "a")
    loaded, loaded_config, info = load_model_checkpoint(tmp_path / "a")
    assert manifest.architecture.name == architecture
    assert loaded_config.replace(**UNSIGNED) == config
    assert info == {"game": "ALE/Pong-v5", **INFO}
    assert_same(model, loaded)
    x = frames(config)
    assert torch.equal(model.eval().get_q_values(x), loaded.get_q_values(x))
    assert torch.equal(model(x), loaded(x))
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in loaded.parameters()]
    assert ckptfmt.validate(tmp_path / "a").valid


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_legacy_pickle_gives_the_same_network(architecture, tmp_path):
    config = small_config(architecture, encoder="nature", input_shape=(4, 84, 84), hidden_size=512)
    torch.manual_seed(1)
    model = create_model_from_config(config)
    torch.save(model.state_dict(), tmp_path / "old.pth")
    loaded, loaded_config, _ = load_model_checkpoint(tmp_path / "old.pth")
    assert loaded_config.get_architecture_name() == architecture
    assert loaded_config.replace(training_config_hash=None) == config.replace(input_scale=loaded_config.input_scale)
    assert_same(model, loaded)
    x = frames(config, 1)
    assert torch.equal(model.eval().get_q_values(x), loaded.get_q_values(x))


def test_a_legacy_file_takes_its_facts_from_the_environment(tmp_path):
    config = small_config("distributional", n_action=3, encoder="nature", input_shape=(4, 36, 36), hidden_size=512)
    model = create_model_from_config(config)
    torch.save(model.state_dict(), tmp_path / "old.pth")
    env = make_env(Environment(id="ckptfmt/Catch-v0"))
    _, loaded, _ = load_legacy_checkpoint(tmp_path / "old.pth", env)
    assert (loaded.n_action, loaded.input_shape) == (3, (4, 36, 36))


def test_a_damaged_tensor_is_named(tmp_path):
    model, config = make_model("dueling")
    save_model_checkpoint(model, config, None, tmp_path / "a")
    file = tmp_path / "a" / "weights.safetensors"
    data = bytearray(file.read_bytes())
    entry = ckptfmt.open(tmp_path / "a").info(
        "fc.0.weight" if "fc.0.weight" in model.state_dict() else "value_stream.2.bias"
    )
    start = len(data) - max(t.offset + 4 * int(np.prod(t.shape)) for t in entries(tmp_path / "a").values())
    data[start + entry.offset] ^= 1
    file.write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        load_model_checkpoint(tmp_path / "a")
    assert str(caught.value) == (
        f"{file}: value_stream.2.bias: bytes do not match the manifest; copy it again or re-save it"
    )
    loaded, *_ = load_model_checkpoint(tmp_path / "a", verify=False)
    assert not torch.equal(loaded.value_stream[2].bias, model.value_stream[2].bias)


def entries(path):
    with ckptfmt.open(path) as checkpoint:
        return dict(checkpoint.manifest.weights.tensors)


def test_noise_that_a_file_leaves_out_is_made_anew(tmp_path):
    model, config = make_model("noisy")
    tensors = {name: tensor for name, tensor in model.state_dict().items() if "epsilon" not in name}
    ckptfmt.save(tmp_path / "a", tensors, config).close()
    loaded, *_ = load_model_checkpoint(tmp_path / "a")
    epsilon = loaded.fc[0].epsilon_input
    assert epsilon.shape == model.fc[0].epsilon_input.shape
    assert torch.isfinite(epsilon).all()
    assert epsilon.std() > 0
    x = frames(config)
    assert torch.equal(model.eval().get_q_values(x), loaded.get_q_values(x))


def test_nan_weights_are_refused_unless_told(tmp_path):
    model, config = make_model()
    with torch.no_grad():
        model.fc[0].bias[0] = float("nan")
        model.fc[2].bias[0] = float("inf")
    with pytest.raises(WeightsError) as caught:
        save_model_checkpoint(model, config, None, tmp_path / "a")
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: fc.0.bias and 1 more tensors hold NaN or infinite numbers; "
        "save an earlier network, or pass allow_nan=True"
    )
    assert not (tmp_path / "a").exists()
    save_model_checkpoint(model, config, None, tmp_path / "a", allow_nan=True)


def test_wrapped_models_are_saved_under_their_plain_names(tmp_path):
    model, config = make_model("dueling")
    wrapped = torch.compile(torch.nn.DataParallel(model), backend="eager")
    manifest = save_model_checkpoint(wrapped, config, None, tmp_path / "a")
    assert sorted(manifest.weights.tensors) == sorted(model.state_dict())


def test_tied_tensors_are_stored_once_and_tied_again(tmp_path):
    model, config = make_model("dueling")
    model.advantage_stream[0] = model.value_stream[0]
    manifest = save_model_checkpoint(model, config, None, tmp_path / "a")
    assert manifest.weights.tied == {
        "advantage_stream.0.weight": "value_stream.0.weight",
        "advantage_stream.0.bias": "value_stream.0.bias",
    }
    loaded, *_ = load_model_checkpoint(tmp_path / "a")
    assert loaded.advantage_stream[0].weight is loaded.value_stream[0].weight
    assert_same(model, loaded)


def test_the_environment_given_must_fit(tmp_path):
    model, config = make_model()
    save_model_checkpoint(model, config, None, tmp_path / "a")
    env = make_env(Environment(id="ckptfmt/Catch-v0", frame_stack=2))
    with pytest.raises(CkptError) as caught:
        load_model_checkpoint(tmp_path / "a", env=env)
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: network and environment do not match: actions 4 (network) and 3 (environment), "
        "frames 4×36×36 (network) and 2×36×36 (environment); make the environment that the network was trained on"
    )


def test_an_unknown_architecture_asks_for_a_model(tmp_path):
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    save_model_checkpoint(net, None, {"steps": 3}, tmp_path / "a")
    with pytest.raises(CkptError) as caught:
        load_model_checkpoint(tmp_path / "a")
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: its architecture is unknown; pass the network that these weights belong to as model="
    )
    other = copy.deepcopy(net)
    torch.nn.init.zeros_(other[0].weight)
    loaded, config, info = load_model_checkpoint(tmp_path / "a", model=other)
    assert (config, info) == (None, {"steps": 3})
    assert_same(net, loaded)
    with pytest.raises(WeightsError) as caught:
        load_model_checkpoint(tmp_path / "a", model=net[0])
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: the weights are not those of the model given: the file has no weight"
    )


def test_half_precision_weights_keep_their_dtype(tmp_path):
    model, config = make_model()
    save_model_checkpoint(model.bfloat16(), config, None, tmp_path / "a")
    loaded, *_ = load_model_checkpoint(tmp_path / "a")
    assert_same(model, loaded)
    assert loaded(frames(config)).dtype == torch.bfloat16


def test_the_manifest_says_where_a_checkpoint_came_from(tmp_path):
    model, config = make_model(n_action=3)
    env = make_env(Environment(id="ckptfmt/Catch-v0"))
    manifest = save_model_checkpoint(model, config, None, tmp_path / "a", environment=env)
    assert manifest.environment["id"] == "ckptfmt/Catch-v0"
    assert manifest.environment["frame_stack"] == 4
    assert manifest.lineage.kind == "trained"
    assert manifest.created_by["torch"] == torch.__version__


_RANKS = """
import os, sys, torch
torch.set_num_threads(1)
from torch import distributed, nn
from ckptfmt.errors import CkptError
from ckptfmt.rl.save import refuse_nan, save_model_checkpoint
distributed.init_process_group("gloo")
rank = distributed.get_rank()
torch.manual_seed(rank)
net = nn.parallel.DistributedDataParallel(nn.Linear(3, 2))
with torch.no_grad():
    net.module.bias.fill_(rank)
manifest = save_model_checkpoint(net, None, {"rank": rank}, sys.argv[1])
assert manifest.training_info["rank"] == 0
try:
    save_model_checkpoint(net, None, {"rank": rank}, sys.argv[1])
except CkptError as e:
    # One write: what the two print unbuffered goes into one pipe.
    sys.stdout.write(f"{rank} {e.code}\\n")
# What still uses the group when it goes can abort the process.
del net
distributed.destroy_process_group()
"""


def test_under_torchrun_rank_0_writes_and_the_others_wait(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(_RANKS)
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*command, str(script), str(tmp_path / "a")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split("\n")) == ["", "0 write.exists", "1 write.other-rank"]
    with ckptfmt.open(tmp_path / "a") as checkpoint:
        assert checkpoint.tensors["bias"].tolist() == [0.0, 0.0]


def test_loading_a_legacy_file_runs_nothing_of_it(tmp_path):
    buffer = io.BytesIO()
    torch.save({"conv.0.weight": torch.zeros(1), "x": _Bomb()}, buffer)
    (tmp_path / "old.pth").write_bytes(buffer.getvalue())
    with pytest.raises(CkptError):
        load_model_checkpoint(tmp_path / "old.pth")
    assert not (tmp_path / "boom").exists()


class _Bomb:
    def __reduce__(self):
        return eval, ("open('boom', 'w')",)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_finite_numbers_whose_sum_is_not_are_saved_and_one_that_is_not_is_found(dtype):
    largest = torch.full((8,), torch.finfo(dtype).max).to(dtype)
    refuse_nan({"w": largest}, "")
    wrong = torch.ones(8)
    wrong[3] = float("nan")
    with pytest.raises(WeightsError, match="w holds NaN or infinite numbers"):
        refuse_nan({"w": wrong.to(dtype)}, "")
