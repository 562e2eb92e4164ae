import json
import os
import signal
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from ckptfmt.cli.main import main

import ckptfmt
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.training.exact import assert_resume_exact
from ckptfmt.store.manager.steps import step_name
from ckptfmt.store.write.place import hold_place

CATCH = [
    "--env",
    "ckptfmt/Catch-v0",
    "--encoder",
    "nips",
    "--hidden-size",
    "16",
    "--frame-stack",
    "2",
    "--learning-starts",
    "100",
    "--replay-size",
    "2000",
    "--device",
    "cpu",
    "--batch-size",
    "8",
    "--eval-episodes",
    "3",
    "--no-tensorboard",
]


def command(*words):
    return [sys.executable, "-P", "-c", "import sys; from ckptfmt.cli.main import main; sys.exit(main())", *words]


def ckpt(*words):
    return subprocess.run(command(*map(str, words)), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "catch"
    done = ckpt("train", *CATCH, "--total-steps", 400, "--eval-every", 200, "--save-every", 200, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    return out, done.stdout


def test_train_says_what_it_does_and_leaves_sound_checkpoints(trained):
    out, text = trained
    lines = text.splitlines()
    assert lines[0] == "dqn on ckptfmt/Catch-v0, 14,963 parameters, cpu, seed 1"
    said = [line.split()[:2] for line in lines[1:]]
    saved = [["saved", f"{out}/{step_name(step)}"] for step in (200, 400)]
    assert sorted(said) == [*saved, ["step", "200"], ["step", "400"]]
    assert "steps/s" not in text  # nothing was reported before the first evaluation, so no speed is known
    for name in ("best", step_name(200), step_name(400)):
        assert ckptfmt.validate(out / name).valid


def test_an_interrupted_training_saves_and_says_how_to_go_on(tmp_path):
    out = tmp_path / "a"
    words = ["train", *CATCH, "--total-steps", "1000000", "--out", str(out), "--json", "--log-every", "100"]
    process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if json.loads(line).get("step", 0) >= 300:
            break
    process.send_signal(signal.SIGINT)
    rest, error = process.communicate(timeout=60)
    last = json.loads(rest.splitlines()[-1])
    assert process.returncode == 130
    assert error == f"stopped; go on with: ckpt train --resume {last['saved']}\n"
    done = ckpt("train", "--resume", last["saved"], "--total-steps", last["step"] + 50)
    assert done.returncode == 0
    assert done.stderr == ("resume: has optimizer, target, rng, generators, environments, counters, replay; exact\n")
    words = ["--learning-rate", 5e-4, "--gamma", 0.9, "--total-steps", last["step"] + 60]
    done = ckpt("train", "--resume", last["saved"], *words)
    assert done.stderr.endswith(
        "counters, replay; not exact, learning_rate is 0.0005 and was 0.0001, gamma is 0.9 and was 0.99\n"
    )
    done = ckpt("train", "--resume", last["saved"], "--hidden-size", 32)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: {last['saved']}: hidden_size stays 16, the network in the checkpoint was made with it; "
        "leave it out, or start a new training\n",
    )


def test_a_training_whose_reader_goes_away_saves(tmp_path):
    out = tmp_path / "a"
    words = ["train", *CATCH, "--total-steps", "1000000", "--out", str(out), "--json", "--log-every", "100"]
    process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=60)
    [saved] = list(out.iterdir())
    assert ckptfmt.validate(saved).valid


def test_resuming_from_the_command_line_is_exact(tmp_path):
    words = ["--total-steps", 300, "--eval-every", 200, "--save-every", 150, "--save-replay", "always"]
    assert ckpt("train", *CATCH, *words, "--out", tmp_path / "one").returncode == 0
    assert ckpt("train", "--resume", tmp_path / "one" / step_name(150), "--out", tmp_path / "two").returncode == 0
    assert_resume_exact(tmp_path / "one" / step_name(300), tmp_path / "two" / step_name(300))


def test_a_dry_run_prints_every_setting(tmp_path):
    (tmp_path / "a.yaml").write_text("seed: 5\ngamma: 0.9\n")
    done = ckpt("train", "--config", tmp_path / "a.yaml", "--rainbow", "--gamma", "0.8", "--dry-run", "--json")
    settings = json.loads(done.stdout)["result"]
    assert (settings["seed"], settings["gamma"], settings["noisy_networks"]) == (5, 0.8, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "error: ckpt train: --out is missing; see: ckpt train --help"),
        (["--gamma", "3", "--n-steps", "0", "--out", "x"], "error: training config: 2 settings are wrong: "),
        (["--env", "ALE/Nothing-v5", "--out", "x"], "error: environment: the environment ALE/Nothing-v5 cannot be"),
    ],
)
def test_what_is_wrong_is_said_before_the_first_step(words, sentence, tmp_path):
    done = subprocess.run(command("train", *words), capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(sentence)
    assert list(tmp_path.iterdir()) == []


def test_a_compiler_that_is_not_there_is_said(tmp_path):
    words = ["train", *CATCH, "--total-steps", "200", "--compile", "--out", str(tmp_path / "run")]
    # Its own cache, or what was compiled before would be taken.
    around = {**os.environ, "CXX": "/nowhere/c++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(command(*words), capture_output=True, text=True, check=False, env=around)
    assert (done.returncode, done.stderr) == (
        2,
        "error: training: torch cannot compile the losses: InvalidCxxCompiler: No working C++ compiler found in "
        "torch._inductor.config.cpp.cxx: (None, '/nowhere/c++'); install what it needs, such as a C++ compiler, "
        "or train without compile\n",
    )


def test_a_training_on_ale_ends_without_a_word_of_what_its_bindings_still_hold(tmp_path):
    pytest.importorskip("ale_py")
    small = ("--encoder", "nips", "--screen-size", 24, "--hidden-size", 16, "--no-tensorboard", "--device", "cpu")
    done = ckpt("train", *small, "--total-steps", 20, "--out", tmp_path / "pong")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_that_takes_no_checkpoint_is_told_before_the_first_step(capsys):
    assert main(["train", *CATCH, "--total-steps", "20", "--out", "/proc/x"]) == 2
    assert capsys.readouterr() == ("", "error: /proc/x: cannot be written: No such file or directory\n")
    assert main(["train", *CATCH, "--total-steps", "20", "--out", "https://example.org/x"]) == 2
    assert capsys.readouterr() == ("", "error: https://example.org/x: is read only; write to s3://, gs:// or az://\n")


def test_play_repeats_the_evaluation_of_the_manifest(trained):
    out, _ = trained
    with ckptfmt.open(out / "best") as checkpoint:
        known = checkpoint.manifest.evaluation[-1]
    done = ckpt("play", out / "best", "--episodes", 3, "--seed", 10_001, "--epsilon", 0.001, "--json", "--expect")
    answer = json.loads(done.stdout)
    assert answer["result"]["episodes"] == known["episodes"]
    assert answer["result"]["as_expected"] is True
    assert done.returncode == 0


def test_play_shows_the_network_and_records_a_film(trained, tmp_path):
    out, _ = trained
    done = ckpt("play", out / step_name(400), "--episodes", 2, "--record", tmp_path / "a.mp4")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "dqn, 2×36×36 -> 3 actions, 14,963 parameters"
    assert lines[-3].startswith("episode 1")
    assert lines[-1].startswith("2 episodes: ")
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize("option", ["--record", "--trace"])
def test_what_is_in_the_way_is_told_before_the_first_episode(option, trained, tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"mine")
    words = ["play", trained[0] / "best", "--episodes", 1, option, tmp_path / "a.mp4"]
    assert main([*map(str, words)]) == 2
    told = f"error: {tmp_path}/a.mp4: exists; add --force to replace it, or choose another name\n"
    assert capsys.readouterr() == ("", told)
    assert main([*map(str, words), "--force"]) == 0
    assert (tmp_path / "a.mp4").read_bytes() != b"mine"


def test_a_checkpoint_that_is_being_written_is_told_before_the_first_episode(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained[0])
    with hold_place("best"):
        assert main(["evaluate", "best"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: best: is being written by process ")


def test_evaluate_says_whether_it_wrote(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained[0])
    name = step_name(400)
    dry = (["--dry-run"], "nothing written; run again without --dry-run")
    for more, told in (dry, ([], f"wrote {name}/manifest.json")):
        assert main(["evaluate", name, "--episodes", "1", *more]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == told


def test_evaluate_writes_into_the_manifest_and_leaves_the_weights(trained, tmp_path):
    out, _ = trained
    before = ckptfmt.open(out / step_name(200)).manifest
    done = ckpt("evaluate", out / step_name(200), "--episodes", 2, "--json")
    after = ckptfmt.open(out / step_name(200)).manifest
    assert done.returncode == 0
    assert len(after.evaluation) == len(before.evaluation) + 1
    assert after.evaluation[-1]["episodes"] == json.loads(done.stdout)["result"]["episodes"]
    assert (after.content_digest, after.files) == (before.content_digest, before.files)
    assert ckptfmt.validate(out / step_name(200)).valid


def test_a_legacy_file_is_played_with_a_game(tmp_path):
    torch.manual_seed(1)
    model = create_model_from_config(ModelConfig(n_action=6))
    torch.save(model.state_dict(), tmp_path / "old.pth")
    done = ckpt("play", tmp_path / "old.pth", "--game", "ALE/Pong-v5", "--episodes", 1, "--max-steps", 20, "--json")
    assert json.loads(done.stdout)["result"]["episodes"][0]["steps"] == 20
    done = ckpt("play", tmp_path / "old.pth", "--episodes", 1)
    assert done.returncode == 2
    assert done.stderr.endswith(
        "does not say which environment it plays; name it with --game, for example ALE/Pong-v5\n"
    )


def test_a_network_too_small_for_the_usual_convolutions_is_played(tmp_path):
    changes = ("--screen-size", 24, "--total-steps", 120, "--out", tmp_path / "small")
    assert ckpt("train", *CATCH, *changes).returncode == 0
    (saved,) = (tmp_path / "small").glob("step-*")
    played = ckpt("play", saved, "--episodes", 1, "--json")
    assert played.stderr == ""
    assert json.loads(played.stdout)["result"]["environment"]["screen_size"] == 24


def test_what_is_expected_is_asked_for_before_a_game_is_played(tmp_path):
    config = ModelConfig(n_action=6, game="ALE/Pong-v5")
    ckptfmt.save_model_checkpoint(create_model_from_config(config), config, {}, tmp_path / "new")
    done = ckpt("play", tmp_path / "new", "--expect")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: ckpt play: --expect needs an evaluation in the manifest; make one with: ckpt evaluate; "
        "see: ckpt play --help\n"
    )
