"""Exports loaded by the libraries they are for; whoever loads them has nothing of this package."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
gymnasium = pytest.importorskip("gymnasium", reason="gymnasium is not installed")

import ckptfmt
from ckptfmt.errors import CkptError, ConversionError, ManifestError, TargetExists
from ckptfmt.families.atari_dqn.config import ARCHITECTURES, ModelConfig
from ckptfmt.families.encoder import DATA_EFFICIENT, Encoder
from ckptfmt.rl.envs import Environment
from ckptfmt.share.export import export
from ckptfmt.share.export.torchfile import StoredTensor, torch_bytes
from ckptfmt.store.write import update_manifest

SUPPORT = {"n_atoms": 5, "v_min": -2.0, "v_max": 2.0}


def make(path: Path, name: str = "dqn", env=None, **fields) -> ModelConfig:
    support = SUPPORT if "distributional" in name else {}
    config = ModelConfig(
        dueling_dqn="dueling" in name,
        distributional_dqn="distributional" in name,
        noisy_networks="noisy" in name,
        **{"n_action": 6, "input_scale": 255.0, **support, **fields},
    )
    torch.manual_seed(0)
    model = ckptfmt.create_model_from_config(config)
    ckptfmt.save_model_checkpoint(model, config, {"gamma": 0.97, "step": 1234}, path, environment=env)
    return config


def frames(config: ModelConfig, count: int = 4) -> "torch.Tensor":
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, *config.input_shape), dtype=torch.uint8, generator=generator)


def q_values(path: Path, pixels: "torch.Tensor") -> "torch.Tensor":
    model, _, _ = ckptfmt.load_model_checkpoint(path)
    with torch.no_grad():
        return model.get_q_values(pixels)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_torch_reads_the_state_dict_of_every_architecture_without_unpickling(tmp_path, name):
    make(tmp_path / "ck", name)
    done = export(tmp_path / "ck", tmp_path / "net.pth", to="torch", check=True)
    loaded = torch.load(tmp_path / "net.pth", weights_only=True, mmap=True)
    with ckptfmt.open(tmp_path / "ck") as checkpoint:
        assert loaded.keys() == set(checkpoint.names())
        assert all(np.array_equal(loaded[key].numpy(), array) for key, array in checkpoint.tensors.items())
    assert done.checked == f"{len(loaded)} tensors equal, bit for bit"


def test_plain_values_and_tensors_of_every_dtype_come_back_from_torch(tmp_path):
    arrays = {"F32": "f4", "F64": "f8", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U8": "u1"}
    given = {name: np.arange(6).reshape(2, 3).astype(kind) for name, kind in arrays.items()}
    tensors = {name: StoredTensor(name, array.shape, array.tobytes) for name, array in given.items()}
    rest = {"n": 2**40, "neg": -5, "x": 0.25, "t": (1, "ü", None), "l": [True, False], 3: {}}
    loaded = torch.load(io.BytesIO(torch_bytes({**tensors, **rest})), weights_only=True)
    assert {key: loaded[key] for key in rest} == rest
    assert all(loaded[name].dtype == torch.from_numpy(array).dtype for name, array in given.items())
    assert all(np.array_equal(loaded[name].numpy(), array) for name, array in given.items())


@pytest.mark.parametrize("name", ["dqn", "distributional"])
def test_cleanrls_own_networks_load_its_files(tmp_path, name):
    # C51 of CleanRL reads its sizes from `args`, beside the weights.
    config = make(tmp_path / "ck", name)
    done = export(tmp_path / "ck", tmp_path / "net.cleanrl_model", to="cleanrl", check=True)
    assert done.checked.startswith("Q-values of 32 frames equal")
    loaded = torch.load(tmp_path / "net.cleanrl_model", weights_only=True)
    if name == "distributional":
        assert loaded["args"] == {"env_id": None, **SUPPORT}
        loaded = loaded["model_weights"]
    assert loaded["network.9.bias"].shape == (config.n_action * (config.n_atoms or 1),)


class Noise(gymnasium.Env):
    """Frames of noise for five steps: enough for an agent of others to play and to learn on."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self.action_space = gymnasium.spaces.Discrete(6)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 5
        return self._frame(), {}

    def step(self, action):
        self.left -= 1
        return self._frame(), float(action == 2), self.left == 0, False, {}

    def _frame(self):
        return self.np_random.integers(0, 256, self.observation_space.shape, dtype=np.uint8)


def load_sb3(path: Path):
    return pytest.importorskip("stable_baselines3", reason="stable_baselines3 is not installed").DQN.load(
        path, device="cpu", custom_objects={"buffer_size": 200, "learning_starts": 10}
    )


def test_an_sb3_agent_has_our_q_values(tmp_path):
    config = make(tmp_path / "ck")
    agent_path = tmp_path / "agent.zip"
    pytest.importorskip("stable_baselines3", reason="stable_baselines3 is not installed")
    done = export(tmp_path / "ck", agent_path, to="sb3", check=True)
    assert (done.checked, done.loads_with) == (
        "Q-values of 32 frames equal, bit for bit",
        f'DQN.load("{agent_path}")',
    )
    agent = load_sb3(agent_path)
    pixels = frames(config)
    ours = q_values(tmp_path / "ck", pixels)
    with torch.no_grad():
        assert torch.equal(agent.q_net(pixels), ours)
    assert (agent.predict(pixels.numpy(), deterministic=True)[0] == ours.argmax(1).numpy()).all()
    assert (agent.gamma, agent.num_timesteps, agent.learning_rate) == (0.97, 1234, 1e-4)


@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_an_sb3_agent_plays_and_learns_on(tmp_path, scale):
    make(tmp_path / "ck", input_shape=(4, 36, 36), hidden_size=32, input_scale=scale)
    export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3", check=False)
    agent = load_sb3(tmp_path / "agent.zip")
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    env = Monitor(Noise((4, 36, 36)))
    assert 0 <= evaluate_policy(agent, env, n_eval_episodes=2)[0] <= 5
    agent.set_env(env)
    before = agent.q_net.q_net[0].weight.detach().clone()
    agent.learn(60, reset_num_timesteps=False)
    assert agent.num_timesteps == 1234 + 60
    assert not torch.equal(agent.q_net.q_net[0].weight, before)


def test_an_sb3_agent_that_comes_back_is_the_same_network(tmp_path):
    make(tmp_path / "ck")
    export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3", check=False)
    ckptfmt.convert(tmp_path / "agent.zip", tmp_path / "back")
    export(tmp_path / "back", tmp_path / "again.zip", to="sb3", check=False)
    ckptfmt.convert(tmp_path / "again.zip", tmp_path / "back2")
    with (
        ckptfmt.open(tmp_path / "ck") as a,
        ckptfmt.open(tmp_path / "back") as b,
        ckptfmt.open(tmp_path / "back2") as c,
    ):
        assert a.manifest.content_digest == b.manifest.content_digest == c.manifest.content_digest
        assert b.config.input_scale == 255


def test_the_pickles_of_an_sb3_zip_call_two_constructors_and_nothing_else(tmp_path):
    import base64
    import json
    import pickletools

    make(tmp_path / "ck")
    export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3", check=False)
    with zipfile.ZipFile(tmp_path / "agent.zip") as archive:
        data = json.loads(archive.read("data"))
    pickles = {k: base64.b64decode(v[":serialized:"]) for k, v in data.items() if isinstance(v, dict) and ":type:" in v}
    assert pickles.keys() == {"policy_class", "observation_space", "action_space"}
    assert all(len(pickle) < 120 for pickle in pickles.values())
    names = [op.name for pickle in pickles.values() for op, _, _ in pickletools.genops(pickle)]
    assert names.count("REDUCE") == 2


@pytest.mark.parametrize("to", ["onnx", "pt2"])
@pytest.mark.parametrize("name", ["dqn", "dueling+distributional+noisy"])
def test_graphs_give_our_q_values_for_any_batch(tmp_path, to, name):
    if to == "onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    make(tmp_path / "ck", name, input_shape=(4, 36, 36), hidden_size=16)
    done = export(tmp_path / "ck", tmp_path / "net", to=to, check=True)
    assert done.checked.startswith("Q-values")
    assert " of 32 frames equal" in done.checked
    assert str(Path(__file__).parent.parent.parent).encode() not in (tmp_path / "net").read_bytes()


def test_onnx_gives_the_distribution_beside_the_q_values(tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    config = make(tmp_path / "ck", "distributional", input_shape=(4, 36, 36), hidden_size=16)
    export(tmp_path / "ck", tmp_path / "net.onnx", to="onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    pixels = frames(config, 7)
    assert [item.name for item in session.get_outputs()] == ["q_values", "probabilities", "atom_logits"]
    values, chances, _ = session.run(None, {"frames": pixels.float().numpy()})
    np.testing.assert_allclose(values, q_values(tmp_path / "ck", pixels).numpy(), rtol=1e-4, atol=1e-5)
    assert chances.shape == (7, 6, 5)
    np.testing.assert_allclose(chances.sum(2), 1, rtol=1e-5)


ELU = Encoder.from_dict(
    {"convs": [conv.to_dict() for conv in ModelConfig(n_action=2).encoder.convs], "activation": "elu"}
)
UNFIT = {
    ("cleanrl", "dueling"): ({}, "CleanRL's DQN and C51 have no dueling streams"),
    ("cleanrl", "noisy"): ({}, "CleanRL's DQN and C51 have no noisy layers"),
    ("cleanrl", "dqn"): (
        {"input_scale": 1.0},
        "CleanRL's network divides pixels by 255, and those of this one are divided by 1",
    ),
    ("cleanrl", "distributional"): ({"hidden_size": 256}, "CleanRL's network has 512 hidden units"),
    ("sb3", "noisy"): ({}, "Stable-Baselines3's DQN is plain: no dueling, atoms or noise"),
    ("sb3", "dqn"): (
        {"input_scale": 256.0},
        "Stable-Baselines3 divides pixels by 255 or not at all, and not by 256",
    ),
}


@pytest.mark.parametrize(("to", "name"), UNFIT)
def test_what_a_target_cannot_hold_is_refused_before_a_byte_is_written(tmp_path, to, name):
    fields, what = UNFIT[to, name]
    make(tmp_path / "ck", name, **fields)
    with pytest.raises(ConversionError) as caught:
        export(tmp_path / "ck", tmp_path / "out", to=to)
    assert str(caught.value) == f"{tmp_path}/ck: {what}; export it to torch or onnx"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ck"]


@pytest.mark.parametrize("encoder", [DATA_EFFICIENT, ELU])
def test_other_trunks_are_no_networks_of_the_two_libraries(tmp_path, encoder):
    make(tmp_path / "ck", encoder=encoder)
    for to in ("cleanrl", "sb3"):
        with pytest.raises(ConversionError, match="has the convolutions of the Nature paper and ReLU"):
            export(tmp_path / "ck", tmp_path / "out", to=to)


def test_what_is_there_is_replaced_only_where_that_is_asked_for(tmp_path):
    make(tmp_path / "ck", input_shape=(4, 36, 36), hidden_size=16)
    out = tmp_path / "net.pth"
    out.write_text("mine")
    with pytest.raises(TargetExists) as caught:
        export(tmp_path / "ck", out, to="torch")
    assert caught.value.what == "exists"
    assert out.read_text() == "mine"
    export(tmp_path / "ck", out, to="torch", overwrite=True)
    assert torch.load(out, weights_only=True)
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(TargetExists):
        export(tmp_path / "ck", tmp_path / "link", to="torch", overwrite=True)


def test_a_damaged_weight_leaves_nothing_behind(tmp_path):
    make(tmp_path / "ck", input_shape=(4, 36, 36), hidden_size=16)
    weights = tmp_path / "ck" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    for to in ("torch", "pt2"):
        with pytest.raises(CkptError, match="bytes do not match the manifest"):
            export(tmp_path / "ck", tmp_path / "out", to=to)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ck"]


def test_an_environment_that_scales_counts_with_the_network(tmp_path):
    env = Environment(id="ckptfmt/Catch-v0", observation_scale=255.0)
    make(tmp_path / "ck", env=env, n_action=3, input_shape=(4, 36, 36), hidden_size=16, input_scale=1.0)
    pytest.importorskip("stable_baselines3", reason="stable_baselines3 is not installed")
    done = export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3", check=True)
    assert done.checked.startswith("Q-values of 32 frames equal")


@pytest.mark.parametrize("told", ["abc", [1], 0, -1, float("inf"), 10**400])
def test_a_scale_that_divides_nothing_is_refused_in_one_sentence(tmp_path, told):
    make(tmp_path / "ck", input_shape=(4, 36, 36), hidden_size=16)
    update_manifest(tmp_path / "ck", lambda m: replace(m, environment={"observation_scale": told}))
    for to in ("sb3", "pt2"):
        with pytest.raises(ManifestError) as caught:
            export(tmp_path / "ck", tmp_path / "out", to=to)
        assert str(caught.value).startswith(
            f"{tmp_path}/ck $.environment.observation_scale: must be a number greater than 0"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ck"]


def test_counters_that_are_none_become_sb3s_defaults(tmp_path):
    sb3 = pytest.importorskip("stable_baselines3", reason="stable_baselines3 is not installed")
    make(tmp_path / "ck", input_shape=(4, 36, 36), hidden_size=16)
    odd = {"step": 10**400, "gamma": float("nan"), "learning_rate": "fast"}
    update_manifest(tmp_path / "ck", lambda m: replace(m, training_info=odd))
    export(tmp_path / "ck", tmp_path / "agent.zip", to="sb3", check=False)
    agent = sb3.DQN.load(tmp_path / "agent.zip", device="cpu")
    assert (agent.num_timesteps, agent.gamma, agent.learning_rate) == (0, 0.99, 1e-4)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")
def test_a_checkpoint_is_read_by_torchs_distributed_reader_as_it_is(tmp_path):
    import torch.distributed.checkpoint as dcp

    config = make(tmp_path / "ck", input_shape=(4, 36, 36), hidden_size=16)
    fresh = ckptfmt.create_model_from_config(config)
    dcp.load(fresh.state_dict(), storage_reader=dcp.HuggingFaceStorageReader(str(tmp_path / "ck")))
    stored, _, _ = ckptfmt.load_model_checkpoint(tmp_path / "ck")
    assert all(torch.equal(tensor, fresh.state_dict()[name]) for name, tensor in stored.state_dict().items())
