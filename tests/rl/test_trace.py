"""Traces of real games, and two networks on the frames of one."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.look.trace import open_trace
from ckptfmt.rl.behaviour import compare_behaviour
from ckptfmt.rl.play import play_episodes
from ckptfmt.rl.player import open_player
from ckptfmt.rl.protocol import Protocol
from ckptfmt.rl.trace import TraceRecorder

CKPT = str(Path(sys.executable).parent / "ckpt")


def saved(path: Path, seed: int = 0, **config) -> Path:
    torch.manual_seed(seed)
    given = {"n_action": 6, "input_shape": (4, 84, 84), "hidden_size": 32, "game": "ALE/Pong-v5", **config}
    built = ckptfmt.ModelConfig(**given)
    model = ckptfmt.create_model_from_config(built)
    ckptfmt.save_model_checkpoint(model, built, None, path)
    return path


@pytest.fixture(scope="module")
def agents(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("agents")
    saved(folder / "a", 0)
    saved(folder / "b", 1)
    saved(folder / "rainbow", 2, dueling_dqn=True, distributional_dqn=True, n_atoms=11, v_min=-1.0, v_max=1.0)
    saved(folder / "dueling", 3, dueling_dqn=True)
    return folder


def record(path: Path, trace: Path, played: int = 24, **options) -> Path:
    with open_player(path, protocol=Protocol(max_steps=played), render_mode="rgb_array") as player:
        recorder = TraceRecorder(player, **options)
        list(play_episodes(player.model, player.env, player.protocol, episodes=2, watcher=recorder))
        recorder.save(trace)
    return trace


def test_a_trace_holds_what_the_network_saw_did_earned_and_said(agents, tmp_path):
    path = record(agents / "a", tmp_path / "a.trace")
    model, _, _ = ckptfmt.load_model_checkpoint(agents / "a")
    with ckptfmt.open(agents / "a") as checkpoint, open_trace(path) as trace:
        assert trace.told.content_digest == checkpoint.manifest.content_digest
        assert trace.told.actions == ("NOOP", "FIRE", "RIGHT", "LEFT", "RIGHTFIRE", "LEFTFIRE")
        assert (trace.steps, trace.shape("frames")) == (48, (48, 210, 160, 3))
        assert np.bincount(trace.episodes).tolist() == [24, 24]
        seen = torch.from_numpy(trace.rows("observations", 0, 48).copy())
        assert seen.dtype == torch.uint8
        values = model.get_q_values(seen.float() / 255).detach().numpy()
        assert np.allclose(values, trace.rows("outputs.q_values", 0, 48), atol=1e-6)
        assert np.array_equal(values.argmax(axis=1), trace.rows("actions", 0, trace.steps))
        assert trace.shape("saliency") == (12, 21, 21)
        assert trace.rows("saliency", 0, 12).max(axis=(1, 2)).tolist() == [255] * 12


def test_a_map_by_covering_is_strong_where_the_network_looks(tmp_path):
    # A network whose values hang on the upper left corner of the newest frame and on nothing else.
    config = ckptfmt.ModelConfig(n_action=6, input_shape=(4, 84, 84), hidden_size=8, game="ALE/Pong-v5")
    model = ckptfmt.create_model_from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.conv[0].weight[0, 3, 0, 0] = 1
        model.conv[2].weight[0, 0, 0, 0] = model.conv[4].weight[0, 0, 0, 0] = 1
        model.fc[0].weight[0, 0] = model.fc[2].weight[2, 0] = 1
        # So that no rectifier is off.
        model.conv[0].bias[0] = model.conv[2].bias[0] = model.conv[4].bias[0] = model.fc[0].bias[0] = 1
    ckptfmt.save_model_checkpoint(model, config, None, tmp_path / "corner")
    for how in ("gradient", "occlusion"):
        path = record(tmp_path / "corner", tmp_path / f"{how}.trace", 5, saliency=how, saliency_every=1)
        with open_trace(path) as trace:
            strong = trace.rows("saliency", 0, trace.steps).sum(axis=0)
        assert np.argwhere(strong).tolist() == [[0, 0]]


def test_streams_and_distributions_are_recorded(agents, tmp_path):
    with open_trace(record(agents / "rainbow", tmp_path / "r.trace", 4, saliency="none")) as trace:
        assert trace.outputs == ("atom_logits", "q_values")
        assert trace.shape("outputs.atom_logits") == (8, 6, 11)
        assert not trace.has("saliency")
    with open_trace(record(agents / "dueling", tmp_path / "d.trace", 4)) as trace:
        assert trace.outputs == ("advantages", "q_values", "value")
        value, advantages = trace.rows("outputs.value", 0, 8), trace.rows("outputs.advantages", 0, 8)
        centred = advantages - advantages.mean(axis=1, keepdims=True)
        assert np.allclose(value[:, None] + centred, trace.rows("outputs.q_values", 0, 8), atol=1e-6)


def test_no_more_steps_are_kept_than_asked_for(agents, tmp_path):
    with open_trace(record(agents / "a", tmp_path / "a.trace", 12, steps=7)) as trace:
        assert (trace.steps, trace.episodes.tolist()) == (7, [0] * 7)


def test_the_same_network_behaves_the_same_and_another_does_not(agents, tmp_path):
    trace = record(agents / "a", tmp_path / "a.trace", 10)
    same = compare_behaviour(agents / "a", agents / "a", trace)
    assert (same.steps, same.chosen_otherwise, same.largest_difference, same.choices) == (20, 0, 0.0, ())
    other = compare_behaviour(agents / "a", agents / "b", trace)
    assert other.compared == "q_values"
    assert other.chosen_otherwise == len(other.choices) > 0
    model_a, model_b = (ckptfmt.load_model_checkpoint(agents / name)[0] for name in "ab")
    with open_trace(trace) as opened:
        seen = torch.from_numpy(opened.rows("observations", 0, 20).copy()).float() / 255
    apart = (model_a.get_q_values(seen).argmax(1) != model_b.get_q_values(seen).argmax(1)).nonzero()[:, 0].tolist()
    assert [choice.step for choice in other.choices] == apart


def test_a_network_that_divides_itself_sees_the_same_frames(agents, tmp_path):
    trace = record(agents / "a", tmp_path / "a.trace", 6)
    model, config, _ = ckptfmt.load_model_checkpoint(agents / "a")
    ckptfmt.save_model_checkpoint(model, replace(config, input_scale=255.0), None, tmp_path / "own")
    found = compare_behaviour(agents / "a", tmp_path / "own", trace)
    assert found.chosen_otherwise == 0
    assert found.largest_difference < 1e-5


def test_frames_of_another_shape_are_refused(agents, tmp_path):
    small = saved(tmp_path / "small", input_shape=(4, 64, 64))
    trace = record(agents / "a", tmp_path / "a.trace", 3)
    with pytest.raises(CkptError) as raised:
        compare_behaviour(agents / "a", small, trace)
    assert raised.value.what == f"its observations are 4×84×84, and {small} takes 4×64×64"


def test_the_command_line_records_shows_and_compares(agents, tmp_path):
    def ckpt(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([CKPT, *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    played = ckpt("play", str(agents / "a"), "--episodes", "1", "--max-steps", "9", "--trace", "a.trace", "--json")
    assert json.loads(played.stdout)["result"]["trace"] | {"bytes": 0} == {"file": "a.trace", "steps": 9, "bytes": 0}
    again = ckpt("play", str(agents / "a"), "--episodes", "1", "--max-steps", "9", "--trace", "a.trace")
    assert (again.returncode, again.stderr) == (
        2,
        "error: a.trace: exists; add --force to replace it, or choose another name\n",
    )
    page = ckpt("report", "--trace", "a.trace", "-o", "a.html")
    assert (page.returncode, page.stderr) == (0, "")
    assert "agent-data" in (tmp_path / "a.html").read_text()
    found = ckpt("diff", str(agents / "a"), str(agents / "b"), "--frames", "a.trace")
    assert found.returncode == 1
    assert "of 9 frames" in found.stdout
    told = json.loads(ckpt("diff", str(agents / "a"), str(agents / "b"), "--frames", "a.trace", "--json").stdout)
    assert told["result"]["behaviour"]["steps"] == 9
