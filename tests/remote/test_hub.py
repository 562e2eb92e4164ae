"""The hub, by its own client: a checkpoint is committed, read in parts, and proved without a download."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")

import ckptfmt
from ckptfmt.errors import printable
from tests.remote import hub as hubs
from tests.remote.conftest import ckpt, make_checkpoint


@pytest.fixture
def hub():
    with hubs.serving() as running:
        yield running


@pytest.fixture
def environment(hub, tmp_path):
    return hubs.environment(hub, tmp_path / "home")


def python(text: str, *words: str, **environment: str) -> str:
    """Run a program in a process of its own: the hub's client reads its settings when it is imported."""
    import os

    done = subprocess.run(
        [sys.executable, "-c", text, *words], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_checkpoint_goes_to_the_hub_and_comes_back(hub, environment, checkpoint, tmp_path):
    done = ckpt("push", str(checkpoint), "hf://owner/agent", "--message", "First", "--json", **environment)
    assert done.returncode == 0, done.stderr
    pushed = json.loads(done.stdout)["result"]["checkpoints"][0]
    assert pushed["status"] == "pushed"
    assert pushed["commit"] == hub.branches["owner/agent"]["main"]
    assert ckpt("validate", "hf://owner/agent", **environment).stdout.endswith("1 checkpoint, valid\n")
    done = ckpt("pull", f"hf://owner/agent@{pushed['commit']}", str(tmp_path / "back"), **environment)
    assert done.returncode == 0, done.stderr
    assert {file.name: file.read_bytes() for file in checkpoint.iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "back").iterdir()
    }


def test_a_second_push_of_the_same_is_no_commit(hub, environment, checkpoint):
    ckpt("push", str(checkpoint), "hf://owner/agent", **environment)
    before = hub.branches["owner/agent"]["main"]
    done = ckpt("push", str(checkpoint), "hf://owner/agent", **environment)
    assert (done.returncode, done.stdout.split()[0]) == (0, "there")
    assert hub.branches["owner/agent"]["main"] == before


def test_a_second_push_mends_what_is_not_there_any_more(hub, environment, checkpoint):
    ckpt("push", str(checkpoint), "hf://owner/agent", **environment)
    files = hub.commits[hub.branches["owner/agent"]["main"]]
    weights = files.pop("weights.safetensors")
    done = ckpt("push", str(checkpoint), "hf://owner/agent", **environment)
    assert (done.returncode, done.stdout.split()[0]) == (0, "pushed")
    assert hub.commits[hub.branches["owner/agent"]["main"]]["weights.safetensors"] == weights


def test_another_checkpoint_takes_its_place_only_when_asked(hub, environment, checkpoint, tmp_path):
    other = make_checkpoint(tmp_path / "other", 2, compress=True, state={"m": __import__("numpy").zeros(99_999)})
    ckpt("push", str(other), "hf://owner/agent", **environment)
    done = ckpt("push", str(checkpoint), "hf://owner/agent", **environment)
    assert done.returncode == 2
    assert done.stderr == (
        "error: hf://owner/agent: holds another checkpoint; add --force to commit this one over it; "
        "the history keeps the old one\n"
    )
    done = ckpt("push", str(checkpoint), "hf://owner/agent", "--force", **environment)
    assert done.returncode == 0, done.stderr
    assert sorted(hub.commits[hub.branches["owner/agent"]["main"]]) == ["manifest.json", "weights.safetensors"]
    assert ckpt("validate", "hf://owner/agent", **environment).returncode == 0


def test_the_identity_is_proved_without_a_download(hub, environment, checkpoint):
    ckpt("push", str(checkpoint), "hf://owner/agent", **environment)
    hub.asked.clear()
    assert ckpt("validate", "hf://owner/agent", "--fast", **environment).returncode == 0
    fetched = [path for _, path in hub.asked if path.endswith("weights.safetensors")]
    # The header alone.
    assert len(fetched) <= 1
    files = hub.commits[hub.branches["owner/agent"]["main"]]
    files["weights.safetensors"] = files["weights.safetensors"][:-1] + b"?"
    done = ckpt("validate", "hf://owner/agent", "--fast", **environment)
    assert done.returncode == 1
    assert "the store knows it by another SHA-256" in done.stdout


def test_a_branch_and_a_folder_of_a_repository_are_named(hub, environment, checkpoint):
    done = ckpt("push", str(checkpoint), "hf://owner/agent@trials/best", **environment)
    assert done.returncode == 0, done.stderr
    assert "best/manifest.json" in hub.commits[hub.branches["owner/agent"]["trials"]]
    assert ckpt("validate", "hf://owner/agent@trials/best", **environment).returncode == 0


def test_a_private_repository_needs_a_token(hub, environment, checkpoint):
    ckpt("push", str(checkpoint), "hf://owner/secret", "--private", **environment)
    assert hub.private == {"owner/secret"}
    assert ckpt("validate", "hf://owner/secret", **environment).returncode == 0
    done = ckpt("validate", "hf://owner/secret", **{**environment, "HF_TOKEN": ""})
    assert done.returncode == 2
    assert done.stderr == (
        "error: hf://owner/secret: the hub shows no such repository; check its name; "
        "one that is private needs a token: hf auth login, or HF_TOKEN\n"
    )


def test_a_revision_that_is_not_there_is_told(hub, environment, checkpoint):
    ckpt("push", str(checkpoint), "hf://owner/agent", **environment)
    done = ckpt("inspect", "hf://owner/agent@nothing", **environment)
    assert (done.returncode, done.stderr) == (
        2,
        "error: hf://owner/agent@nothing: the hub has no such revision; check its name\n",
    )


def test_a_wrong_token_is_told_and_not_shown(hub, environment, checkpoint):
    done = ckpt("push", str(checkpoint), "hf://owner/agent", **{**environment, "HF_TOKEN": "hf_wrongToken987654321"})
    assert done.returncode == 2
    assert done.stderr == (
        "error: hf://owner/agent: the hub refuses it (401); log in with: hf auth login, or set HF_TOKEN\n"
    )


def test_of_two_commits_on_one_the_second_fails(hub, environment, checkpoint, tmp_path):
    ckpt("push", str(checkpoint), "hf://owner/agent", **environment)
    other = make_checkpoint(tmp_path / "other", 2)
    commit = hub.commit

    def slower(*arguments):
        hub.commit = commit
        commit("owner/agent", "main", [{"key": "file", "value": {"path": "note.txt", "content": "aGk="}}], None)
        return commit(*arguments)

    hub.commit = slower
    done = ckpt("push", str(other), "hf://owner/agent", "--force", **environment)
    assert (done.returncode, done.stderr) == (
        2,
        "error: hf://owner/agent: another writer was faster; run it again\n",
    )


def test_what_is_sent_is_what_was_looked_at_whoever_takes_its_name_meanwhile(hub, environment, checkpoint, tmp_path):
    (checkpoint / "README.md").write_text("an agent that plays Pong")
    (tmp_path / "id_rsa").write_text("a key that stays at home")
    said = python(
        "import pathlib, sys, huggingface_hub\n"
        "from ckptfmt.share.push import push\n"
        "create = huggingface_hub.HfApi.create_repo\n"
        "def swapped(*words, **options):\n"
        "    card = pathlib.Path(sys.argv[1], 'README.md')\n"
        "    card.unlink()\n"
        "    card.symlink_to(sys.argv[2])\n"
        "    return create(*words, **options)\n"
        "huggingface_hub.HfApi.create_repo = swapped\n"
        "print(push(sys.argv[1], 'hf://owner/agent').status)",
        str(checkpoint), str(tmp_path / "id_rsa"), **environment,
    )  # fmt: skip
    assert said == "pushed\n"
    assert hub.commits[hub.branches["owner/agent"]["main"]]["README.md"] == b"an agent that plays Pong"


def test_what_the_hubs_client_downloads_opens_as_it_is(hub, environment, checkpoint):
    ckpt("push", str(checkpoint), "hf://owner/agent", **environment)
    said = python(
        "import huggingface_hub, ckptfmt\n"
        "path = huggingface_hub.snapshot_download('owner/agent')\n"
        "print(ckptfmt.validate(path).valid, len(ckptfmt.open(path).names()))",
        **environment,
    )
    assert said == "True 8\n"


def test_an_exported_folder_is_a_checkpoint_with_a_card_that_the_hub_reads(hub, environment, tmp_path):
    pytest.importorskip("yaml")
    source = make_played(tmp_path / "pong")
    done = ckpt("export", str(source), str(tmp_path / "dqn-pong"), "--to", "hub", "--no-check")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "dqn-pong"
    assert {"manifest.json", "model.safetensors", "config.json", "README.md", "replay.mp4"} <= {
        file.name for file in folder.iterdir()
    }
    assert ckptfmt.validate(folder).problems == ()
    assert ckptfmt.open(folder).manifest.content_digest == ckptfmt.open(source).manifest.content_digest
    said = python(
        "import json, sys\n"
        "from huggingface_hub import metadata_load\n"
        "from huggingface_hub.repocard_data import model_index_to_eval_results\n"
        "told = metadata_load(sys.argv[1])\n"
        "name, results = model_index_to_eval_results(told['model-index'])\n"
        "one = results[0]\n"
        "print(json.dumps([name, one.task_type, one.dataset_name, one.metric_type, one.metric_value, told['tags']]))",
        str(folder / "README.md"),
        **environment,
    )
    assert json.loads(said) == [
        "dqn", "reinforcement-learning", "ALE/Pong-v5", "mean_reward", "-20.50 +/- 0.50",
        ["ALE/Pong-v5", "dqn", "deep-reinforcement-learning", "reinforcement-learning", "ckptfmt"],
    ]  # fmt: skip
    text = (folder / "README.md").read_text()
    assert "ckpt play dqn-pong" in text
    assert "\n# `dqn` on `ALE/Pong-v5`\n" in text
    assert "| sticky_actions | `0.25` |" in text
    assert ckpt("push", str(folder), "hf://owner/dqn-pong", **environment).returncode == 0
    assert ckpt("validate", "hf://owner/dqn-pong", **environment).returncode == 0


def test_an_export_replaces_an_export_and_nothing_else(tmp_path):
    source = make_played(tmp_path / "pong")
    words = ["export", str(source), str(tmp_path / "out"), "--to", "hub", "--no-check"]
    assert ckpt(*words).returncode == 0
    assert ckpt(*words).returncode == 2
    assert ckpt(*words, "--force").returncode == 0
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    assert ckpt(*words, "--force").returncode == 2
    assert (tmp_path / "out" / "thesis.tex").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pong"]


def test_a_film_that_is_a_link_to_something_of_the_users_stays_at_home(tmp_path):
    source = make_played(tmp_path / "pong")
    (tmp_path / "id_rsa").write_text("a key")
    (source / "film.mp4").unlink()
    (source / "film.mp4").symlink_to(tmp_path / "id_rsa")
    assert ckpt("export", str(source), str(tmp_path / "out"), "--to", "hub", "--no-check").returncode == 0
    assert not (tmp_path / "out" / "replay.mp4").exists()
    assert "film" not in (tmp_path / "out" / "README.md").read_text()


def test_numbers_that_are_not_finite_are_exported_as_they_are(tmp_path):
    import numpy

    source = make_played(tmp_path / "pong")
    with ckptfmt.open(source) as checkpoint:
        tensors, config = dict(checkpoint.tensors), checkpoint.config
    (source / "film.mp4").unlink()
    odd = {**tensors, "fc.2.bias": numpy.full(4, numpy.nan, "f4")}
    ckptfmt.save(source, odd, config, overwrite=True).close()
    assert ckpt("export", str(source), str(tmp_path / "out"), "--to", "hub", "--no-check").returncode == 0
    assert numpy.isnan(ckptfmt.open(tmp_path / "out").tensors["fc.2.bias"]).all()


@pytest.mark.parametrize(
    "text",
    ["a: b\n---\n# head", "](http://x) <script>", "`id` $(id)", "\x1b[31m", '"quoted"', "www.evil.example a@b.de"],
)
def test_no_text_of_a_manifest_is_more_than_text_in_the_card(tmp_path, text):
    yaml = pytest.importorskip("yaml")
    source = make_played(tmp_path / "pong", game=text)
    assert ckpt("export", str(source), str(tmp_path / "out"), "--to", "hub", "--no-check").returncode == 0
    card = (tmp_path / "out" / "README.md").read_text()
    _, head, body = card.split("---\n", 2)
    assert yaml.safe_load(head)["library_name"] == "ckptfmt"
    assert len([line for line in body.splitlines() if line.startswith("# ")]) == 1
    # All of it is one span of code, in which nothing means anything.
    shown = printable(text).replace("`", "\\x60")
    assert f" on `{shown}`\n" in body
    assert "\x1b" not in card


def make_played(path: Path, game: str = "ALE/Pong-v5") -> Path:
    """A checkpoint of a small network that says how it was evaluated, with a film beside it."""
    import numpy

    from ckptfmt.families.atari_dqn.config import ModelConfig

    config = ModelConfig(n_action=4, input_shape=(4, 36, 36), hidden_size=16, input_scale=255.0)
    shapes = {
        "conv.0.weight": (32, 4, 8, 8), "conv.0.bias": (32,), "conv.2.weight": (64, 32, 4, 4), "conv.2.bias": (64,),
        "conv.4.weight": (64, 64, 3, 3), "conv.4.bias": (64,), "fc.0.weight": (16, 64), "fc.0.bias": (16,),
        "fc.2.weight": (4, 16), "fc.2.bias": (4,),
    }  # fmt: skip
    numbers = numpy.random.default_rng(0)
    tensors = {name: numbers.standard_normal(shape).astype("f4") for name, shape in shapes.items()}
    played = {
        "mean": -20.5, "std": 0.5, "protocol": {"name": "machado2018", "epsilon": 0.05, "sticky_actions": 0.25},
        "episodes": [{"return": -21.0}, {"return": -20.0}], "step": 14_000,
    }  # fmt: skip
    told = {"training_info": {"step": 14_000}, "environment": {"id": game}, "evaluation": [played]}
    ckptfmt.save(path, tensors, config, state={"m": numpy.zeros(5)}, **told).close()
    (path / "film.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42")
    return path
