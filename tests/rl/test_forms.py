"""What plays, evaluates, loads and goes on takes a checkpoint in any form, and gives the same answer."""

import json
import os
import shutil
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.errors import WeightsError
from ckptfmt.rl.stored import read_tensors
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.train import Trainer
from ckptfmt.store.forms import compress

FORMS = ("plain", "mixed", "compressed")
CONFIG = TrainConfig(
    env="ckptfmt/Catch-v0",
    encoder="nips",
    hidden_size=16,
    frame_stack=2,
    learning_starts=50,
    replay_size=500,
    batch_size=8,
    total_steps=150,
    save_every=1000,
    eval_every=1000,
    eval_episodes=1,
    device="cpu",
    tensorboard=False,
)


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    top = tmp_path_factory.mktemp("forms")
    last = Trainer(CONFIG, top / "plain").run()
    name = os.path.basename(last)
    for form in FORMS[1:]:
        shutil.copytree(top / "plain" / name, top / form / name)
        compress(top / form / name, everything=form == "compressed")
    return {form: top / form / name for form in FORMS}


def test_the_forms_are_three(forms):
    kinds = {form: sorted(name.rpartition(".")[2] for name in os.listdir(path)) for form, path in forms.items()}
    assert kinds["plain"] == ["json", "safetensors", "safetensors", "safetensors"]
    assert kinds["mixed"].count("zst") in (1, 2)
    assert kinds["compressed"] == ["json", "zst", "zst", "zst"]


def ckpt(*words):
    main = "import sys; from ckptfmt.cli.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-P", "-c", main, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return json.loads(done.stdout)["result"]


@pytest.mark.parametrize("form", FORMS[1:])
def test_the_network_that_is_loaded_is_the_same(forms, form):
    plain, config, training = ckptfmt.load_model_checkpoint(forms["plain"])
    other, *rest = ckptfmt.load_model_checkpoint(forms[form])
    assert rest == [config, training]
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


@pytest.mark.parametrize("form", FORMS[1:])
@pytest.mark.parametrize("words", ["play", "evaluate"])
def test_what_plays_gives_the_same_returns(forms, tmp_path, words, form):
    answers = []
    for one in ("plain", form):
        shutil.copytree(forms[one], tmp_path / one)
        found = ckpt(words, str(tmp_path / one), "--episodes", "2", "--seed", "3", "--json")
        answers.append([episode["return"] for episode in found["episodes"]])
        assert ckptfmt.validate(tmp_path / one).valid
    assert answers[0] == answers[1]
    assert len(answers[0]) == 2


@pytest.mark.parametrize("form", FORMS[1:])
def test_a_training_goes_on_to_the_same_weights(forms, tmp_path, form):
    digests = []
    for one in ("plain", form):
        with ckptfmt.open(Trainer.resume(forms[one], tmp_path / one, total_steps=180).run()) as checkpoint:
            digests.append(checkpoint.manifest.content_digest)
    assert digests[0] == digests[1]


def test_loading_all_of_a_file_finds_a_bit_that_no_tensor_shows(forms, tmp_path):
    shutil.copytree(forms["compressed"], tmp_path / "out")
    stored = tmp_path / "out" / "weights.safetensors.zst"
    data = bytearray(stored.read_bytes())
    data[data.rindex(bytes.fromhex("502a4d18")) + 8] ^= 1
    stored.write_bytes(data)
    with ckptfmt.open(tmp_path / "out") as checkpoint, pytest.raises(WeightsError) as caught:
        read_tensors(checkpoint)
    assert caught.value.code == "weights.stored"
