import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("lightning", reason="lightning is not installed")

import warnings

import lightning
from torch import nn

import ckptfmt
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.rl.envs import Environment, make_env
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.integrations.adopt import adopt
from ckptfmt.rl.integrations.lightning import SaveCheckpoints
from ckptfmt.rl.load import load_model_checkpoint
from ckptfmt.store.manager import CheckpointManager

torch.set_num_threads(1)


class Agent(lightning.LightningModule):
    """A Q-network that is fitted to noise: what it learns does not matter here."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.q_network = create_model_from_config(
            ModelConfig(n_action=3, input_shape=(4, 36, 36), hidden_size=16, input_scale=255)
        )

    def training_step(self, batch, _):
        loss = nn.functional.mse_loss(self.q_network.get_q_values(batch[0]), batch[1])
        self.log("reward", -loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-3)


def fit(agent, steps, *callbacks):
    data = torch.utils.data.TensorDataset(torch.randint(0, 256, (64, 4, 36, 36)).float(), torch.rand(64, 3))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    trainer = lightning.Trainer(
        max_steps=steps, callbacks=list(callbacks), accelerator="cpu", devices=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice about data loaders and devices
        trainer.fit(agent, loader)


@pytest.fixture
def env():
    return make_env(Environment(id="ckptfmt/Catch-v0"))


def test_a_module_is_saved_while_lightning_trains_it(env, tmp_path):
    agent = Agent()
    fit(agent, 10, SaveCheckpoints(tmp_path / "run", adopt(agent.q_network, env), every=4, training_info={"seed": 1}))
    manager = CheckpointManager(tmp_path / "run")
    assert manager.steps() == [10, 8, 4]
    loaded, config, info = load_model_checkpoint(manager.path(10), env=env)
    assert (config.get_architecture_name(), config.input_scale) == ("dqn", 255.0)
    assert (info["frame_idx"], info["seed"], info["device_used"]) == (10, 1, "cpu")
    x = torch.rand(2, 4, 36, 36)
    assert torch.equal(loaded.get_q_values(x), agent.q_network.get_q_values(x))
    digests = {ckptfmt.open(manager.path(step)).manifest.content_digest for step in manager.steps()}
    assert len(digests) == 3


def test_a_manager_keeps_the_best_by_what_the_module_logs(env, tmp_path):
    agent = Agent()
    manager = CheckpointManager(tmp_path / "run", keep_last=1, keep_best=1, metric="reward")
    fit(agent, 12, SaveCheckpoints(manager, adopt(agent.q_network, env), every=3))
    assert manager.steps()[0] == 12
    assert len(manager.steps()) <= 2
    best = manager.best()
    assert best is not None
    best.close()
