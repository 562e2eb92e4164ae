"""An exported folder through the hub's own loaders."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
hub = pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")

import ckptfmt
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.rl.hub import Agent
from ckptfmt.share.export import export

SUPPORT = {"n_atoms": 5, "v_min": -2.0, "v_max": 2.0}
KINDS = {
    "dqn": {},
    "dueling": {"dueling_dqn": True},
    "noisy": {"noisy_networks": True},
    "rainbow": {"dueling_dqn": True, "distributional_dqn": True, "noisy_networks": True, **SUPPORT},
}


@pytest.fixture(params=KINDS)
def exported(request, tmp_path):
    config = ModelConfig(n_action=6, input_scale=255.0, hidden_size=64, **KINDS[request.param])
    torch.manual_seed(0)
    model = ckptfmt.create_model_from_config(config)
    ckptfmt.save_model_checkpoint(model, config, {"step": 5}, tmp_path / "source")
    done = export(tmp_path / "source", tmp_path / "agent", to="hub", check=True)
    assert done.checked.endswith("loaded by PyTorchModelHubMixin")
    return tmp_path / "agent", model.eval()


def test_the_mixin_and_the_library_give_the_same_answers(exported):
    folder, model = exported
    frames = torch.randint(0, 256, (4, 4, 84, 84)).float()
    agent = Agent.from_pretrained(str(folder), strict=True)
    loaded, _, info = ckptfmt.load_model_checkpoint(folder)
    with torch.no_grad():
        assert torch.equal(agent(frames), model(frames))
        assert torch.equal(loaded(frames), model(frames))
    assert info["step"] == 5


def test_the_hubs_loader_of_state_dicts_fills_a_network(exported):
    folder, model = exported
    config = ckptfmt.open(folder).config
    fresh = ckptfmt.create_model_from_config(config)
    hub.load_torch_model(fresh, folder, strict=False)
    frames = torch.randint(0, 256, (4, 4, 84, 84)).float()
    with torch.no_grad():
        assert torch.equal(fresh.eval()(frames), model(frames))


def test_a_file_of_another_network_is_refused_by_the_mixin(exported, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, _ = exported
    tensors = load_file(folder / "model.safetensors")
    tensors["surplus"] = torch.zeros(3)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(RuntimeError, match="surplus"):
        Agent.from_pretrained(str(folder), strict=True)
