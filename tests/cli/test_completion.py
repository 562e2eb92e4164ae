"""Completion, as the shells ask for it."""

import shutil
import subprocess

import pytest

from .conftest import CKPT, environment

SHELLS = ("bash", "zsh", "fish")


def complete(folder, line, **changes):
    words = line.split()
    position = len(words) if line.endswith(" ") else len(words) - 1
    run = subprocess.run(
        [CKPT],
        cwd=folder,
        env=environment(_CKPT_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=str(position), **changes),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stderr == ""
    return [item.removeprefix("plain,") for item in run.stdout.split()]


@pytest.fixture
def runs(tmp_path):
    for name in ("runs/a-1", "runs/a-2", "runs/deep/er/b-1", "runs/.hidden"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text(
            '{"files": {"weights.safetensors": {"tensors": {"conv.0.weight": {}, "fc.0.bias": {}}}}}'
        )
    (tmp_path / "runs/no-checkpoint").mkdir()
    (tmp_path / "other").mkdir()
    return tmp_path


def test_commands_complete_without_being_imported(tmp_path):
    assert complete(tmp_path, "ckpt val") == ["validate"]
    assert {"convert", "diff", "inspect", "schema"} <= set(complete(tmp_path, "ckpt "))


def test_options_complete(tmp_path):
    assert complete(tmp_path, "ckpt schema --js") == ["--json"]
    assert complete(tmp_path, "ckpt schema --color n") == ["never"]


def test_schemas_complete(tmp_path):
    assert complete(tmp_path, "ckpt schema actor-") == ["actor-critic", "actor-q"]


@pytest.mark.parametrize("command", ["validate", "inspect", "diff"])
def test_paths_complete_to_folders_that_hold_a_manifest(runs, command):
    assert complete(runs, f"ckpt {command} runs/a") == ["runs/a-1", "runs/a-2"]
    assert complete(runs, f"ckpt {command} ") == ["runs/a-1", "runs/a-2", "runs/deep/er/b-1"]
    assert complete(runs, f"ckpt {command} runs/n") == []


def test_tensor_names_complete_from_the_checkpoint(runs):
    assert complete(runs, "ckpt inspect runs/a-1 --tensor co") == ["conv.0.weight"]
    assert complete(runs, "ckpt inspect runs/no-checkpoint --tensor ") == []


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_the_shell_accepts(ckpt, tmp_path, shell):
    run = ckpt("completion", shell)
    assert (run.code, run.err) == (0, "")
    assert "_CKPT_COMPLETE" in run.out
    if not (program := shutil.which(shell)):
        pytest.skip(f"{shell} is not installed")
    checked = subprocess.run([program, "-n"], input=run.out, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_bash_offers_what_the_script_says(ckpt, runs):
    script = ckpt("completion", "bash").out
    ask = "COMP_WORDS=(ckpt validate runs/a) COMP_CWORD=2 && _ckpt_completion ckpt && echo ${COMPREPLY[@]}"
    env = environment()
    env["PATH"] = f"{CKPT.rpartition('/')[0]}:{env['PATH']}"
    run = subprocess.run(["bash", "-c", script + ask], cwd=runs, env=env, capture_output=True, text=True)
    assert run.stdout == "runs/a-1 runs/a-2\n"


def test_installing_appends_once(ckpt, tmp_path):
    rc = tmp_path / ".bashrc"
    rc.write_text("alias ll='ls -l'\n")
    first = ckpt("completion", "bash", "--install", HOME=str(tmp_path))
    assert (first.code, first.out) == (0, f"added to {rc}\n")
    text = rc.read_text()
    assert text.startswith("alias ll='ls -l'\n\n# Completion of ckpt, from: ckpt completion bash\n")
    assert ckpt("completion", "bash", "--install", HOME=str(tmp_path)).out == f"is already in {rc}\n"
    assert rc.read_text() == text
    assert ckpt("completion", "fish", "--install", HOME=str(tmp_path), XDG_CONFIG_HOME="").code == 0
    assert (tmp_path / ".config/fish/completions/ckpt.fish").read_text().count("complete --no-files") == 1
