"""What nothing says of a network is measured by playing, where its agent plays well; else nothing is changed."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from jsonschema import Draft202012Validator

import ckptfmt
from ckptfmt.errors import CkptError, WriteError
from ckptfmt.families import registry
from ckptfmt.families.alternatives import alternatives
from ckptfmt.families.encoder import Conv, Encoder
from ckptfmt.format.schemas import load_schema
from ckptfmt.rl.play import play_episodes
from ckptfmt.rl.player import open_player
from ckptfmt.rl.protocol import Protocol
from ckptfmt.rl.settle import _student
from ckptfmt.rl.settlement import fields_to_measure
from ckptfmt.store.write import update_manifest

CKPT = str(Path(sys.executable).parent / "ckpt")
SIDE = 36
GAME = "ckptfmt/Catch-v0"


def catcher(scale=255.0, join="mean"):
    """Return a dueling network that catches every ball, by hand, where its pixels are divided by `scale`.

    Units 2c and 2c + 1 see the column c above the paddle: one whether a ball is there, the other whether its pixels
    are brighter than any after division, which turns the choice round. Units behind them see where the paddle is.
    """
    trunk = [{"kind": "mlp", "sizes": [36]}]
    config = registry.find("q-network").config.from_dict({
        "observation": [1, SIDE, SIDE], "n_action": 3, "dueling": True, "dueling_join": join, "input_scale": scale,
        "trunk": trunk, "game": GAME,
    })  # fmt: skip
    model = ckptfmt.create_model_from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        layer, advantage = model.trunk[0].linear[0], model.advantage_head
        seen = layer.weight.view(36, SIDE, SIDE)
        for c in range(12):
            columns = slice(3 * c, 3 * c + 3)
            seen[2 * c : 2 * c + 2, : SIDE - 3, columns] = 1 / 9
            layer.bias[2 * c + 1] = -1.5
            seen[24 + c, SIDE - 3 :, columns] = 1 / 9 / 128 * 255
            sign = -1 if join == "inverted" else 1
            # To the right of the paddle's middle is where the ball is less where the paddle is; left is the other way.
            for action, way in ((1, -1), (2, 1)):
                advantage.weight[action, 2 * c] = sign * way * 3 * c
                advantage.weight[action, 2 * c + 1] = -sign * way * 30 * c
                advantage.weight[action, 24 + c] = -sign * way * c
        advantage.bias[0] = sign * 1.5
    return model, config


def saved(path, model, config, **assumed):
    """Write the network with fields that were assumed, as a conversion would have left them."""
    config = config.replace(**assumed)
    origin = {**dict.fromkeys(config.to_dict(), "declared"), **dict.fromkeys(assumed, "assumed")}
    tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    ckptfmt.save(path, tensors, config)
    update_manifest(path, lambda found: replace(found, config_origin=origin))
    return path


def returns(path):
    with open_player(path, protocol=Protocol(epsilon=0.0)) as player:
        return [e.total for e in play_episodes(player.model, player.env, player.protocol, episodes=10)]


def test_a_scale_and_a_join_that_are_hidden_are_measured_together_and_written_down(tmp_path):
    path = saved(tmp_path / "a", *catcher(255.0, "inverted"), input_scale=1.0, dueling_join="mean")
    assert sum(returns(path)) < 0
    content = ckptfmt.open(path).manifest.content_digest
    found = ckptfmt.settle(path, episodes=30)
    assert [(item.field, item.before, item.chosen) for item in found.fields] == [
        ("input_scale", 1.0, 255.0),
        ("dueling_join", "mean", "inverted"),
    ]
    assert found.is_whole
    assert found.written
    assert all(item.p < 0.01 for item in found.fields)
    manifest = ckptfmt.open(path).manifest
    assert (manifest.config["input_scale"], manifest.config["dueling_join"]) == (255.0, "inverted")
    assert (manifest.config_origin["input_scale"], manifest.config_origin["dueling_join"]) == ("measured", "measured")
    [kept] = manifest.extra["settled"]
    assert kept["fields"][0]["candidates"][0] == {"value": 1.0, "returns": list(found.fields[0].candidates[0].returns)}
    assert "paired t-test" in kept["test"]
    assert (manifest.content_digest, ckptfmt.validate(path).valid) == (content, True)
    assert returns(path) == [1.0] * 10


def atari_catcher():
    """Return the same agent as one of the eight: a convolution that changes nothing, then its hidden units."""
    by_hand, _ = catcher()
    encoder = {"convs": [{"channels": 1, "kernel": 1, "stride": 1}], "activation": "relu"}
    config = ckptfmt.ModelConfig.from_dict({
        "n_action": 3, "input_shape": [1, SIDE, SIDE], "encoder": encoder, "hidden_size": 36, "input_scale": 255.0,
        "game": GAME,
    })  # fmt: skip
    model = ckptfmt.create_model_from_config(config)
    with torch.no_grad():
        model.conv[0].weight.fill_(1)
        model.conv[0].bias.zero_()
        for own, layer in ((model.fc[0], by_hand.trunk[0].linear[0]), (model.fc[2], by_hand.advantage_head)):
            own.weight.copy_(layer.weight)
            own.bias.copy_(layer.bias)
    return model, config


def test_the_activation_of_one_of_the_eight_is_measured_with_its_scale(tmp_path):
    model, config = atari_catcher()
    hidden = replace(config.encoder, activation="tanh")
    path = saved(tmp_path / "a", model, config, input_scale=1.0, encoder=hidden)
    found = ckptfmt.settle(path, episodes=30)
    assert [(item.field, item.chosen) for item in found.fields] == [("input_scale", 255.0), ("encoder", config.encoder)]
    manifest = ckptfmt.open(path).manifest
    assert manifest.config["encoder"] == config.encoder.to_dict()
    assert manifest.config_origin["encoder"] == "measured"
    assert ckptfmt.validate(path).valid
    assert json.loads(json.dumps(found.to_dict()))["fields"][1]["before"]["activation"] == "tanh"
    assert returns(path) == [1.0] * 10


def test_what_was_saved_meanwhile_is_not_given_the_values_of_another_network(tmp_path):
    path = saved(tmp_path / "a", *catcher(255.0, "inverted"), input_scale=1.0, dueling_join="mean")

    def fields():
        # Asked for once the checkpoint is open.
        saved(tmp_path / "b", *catcher(1.0, "mean"), dueling_join="mean")
        shutil.rmtree(path)
        (tmp_path / "b").rename(path)
        yield from ("input_scale", "dueling_join")

    with pytest.raises(WriteError) as caught:
        ckptfmt.settle(path, fields=fields(), episodes=30)
    assert str(caught.value) == f"{path}: was changed since it was read; run it again"
    assert "settled" not in ckptfmt.open(path).manifest.extra


def test_what_nothing_separates_stays_assumed(tmp_path):
    path = saved(tmp_path / "a", *catcher(), input_scale=1.0, dueling_join="mean")
    scale, join = ckptfmt.settle(path, episodes=30).fields
    assert (scale.chosen, join.chosen) == (255.0, None)
    assert len({tuple(item.returns) for item in join.candidates if item.value != "inverted"}) == 1
    manifest = ckptfmt.open(path).manifest
    assert (manifest.config_origin["input_scale"], manifest.config_origin["dueling_join"]) == ("measured", "assumed")


def test_an_agent_that_plays_no_better_than_chance_settles_nothing(tmp_path):
    _, config = catcher()
    torch.manual_seed(0)
    path = saved(tmp_path / "a", ckptfmt.create_model_from_config(config), config, input_scale=1.0)
    before = (path / "manifest.json").read_bytes()
    found = ckptfmt.settle(path, episodes=10)
    assert [item.chosen for item in found.fields] == [None]
    assert (found.is_whole, found.written) == (False, False)
    assert (path / "manifest.json").read_bytes() == before


def test_a_dry_run_measures_and_changes_nothing(tmp_path):
    path = saved(tmp_path / "a", *catcher(), input_scale=1.0)
    before = (path / "manifest.json").read_bytes()
    found = ckptfmt.settle(path, episodes=30, dry_run=True)
    assert ([item.chosen for item in found.fields], found.written) == ([255.0], False)
    assert (path / "manifest.json").read_bytes() == before


def test_a_field_that_is_known_is_not_measured(tmp_path):
    path = saved(tmp_path / "a", *catcher(), input_scale=1.0)
    with pytest.raises(CkptError) as caught:
        ckptfmt.settle(path, fields=["dueling_join"])
    assert caught.value.what == (
        "dueling_join is not measured: it was not assumed, or no action depends on it; only input_scale can be"
    )


def test_strides_and_paddings_are_measured_where_others_make_as_many_features():
    convs = (Conv(32, (8, 8), (4, 4)), Conv(64, (4, 4), (2, 2)), Conv(64, (3, 3), (1, 1)))
    shape = (4, 64, 64)
    config = atari_catcher()[1].replace(encoder=Encoder(convs), input_shape=shape)
    found = alternatives(config, ["encoder"], by_playing=True)["encoder"]
    windows = {tuple((conv.stride[0], conv.padding[0]) for conv in item.convs) for item in found}
    assert len(windows) > 1
    assert {item.feature_size(shape) for item in found} == {found[0].feature_size(shape)}
    # To compare outputs, as adopting does, an encoder is asked only for other activations.
    assert {item.convs for item in alternatives(config, ["encoder"])["encoder"]} == {convs}


def gaussian(**more):
    return registry.find("policy").config.from_dict(
        {"observation": [3], "policy": "gaussian", "action_dim": 1, "deviation": "vector",
         "policy_trunk": [{"kind": "mlp", "sizes": [4]}], "game": "Pendulum-v1", **more}
    )  # fmt: skip


def test_what_playing_cannot_show_is_named_with_the_reason(tmp_path):
    config = gaussian(normalizer="variance")
    assumed = ("mean_range", "normalizer_range", "deviation_is", "deviation_range")
    path = saved(tmp_path / "a", ckptfmt.create_model_from_config(config), config,
                 **{name: getattr(config, name) for name in assumed})  # fmt: skip
    found = ckptfmt.settle(path, episodes=3, max_steps=5)
    assert {item.field: [one.value for one in item.candidates] for item in found.fields} == {
        "mean_range": [None, (-2.0, 2.0)], "normalizer_range": [None, (-5.0, 5.0), (-10.0, 10.0)],
    }  # fmt: skip
    chance = "it shapes what is drawn by chance, and actions are taken without"
    assert [(item.field, item.why, item.is_open) for item in found.unmeasured] == [
        ("deviation_is", chance, False), ("deviation_range", chance, False),
    ]  # fmt: skip


def test_what_would_be_too_many_combinations_is_left_for_another_time(tmp_path):
    config = gaussian(normalizer="variance")
    names = ("activation", "squash", "action_scale", "mean_range", "normalizer_range", "normalizer_epsilon")
    origin = dict.fromkeys(names, "assumed")
    manifest = SimpleNamespace(config_origin=origin)
    taken, left = fields_to_measure(manifest, config, None, "a")
    assert (taken, [item.field for item in left]) == (list(names[:4]), list(names[4:]))
    assert all(item.is_open for item in left)
    assert fields_to_measure(manifest, config, ["normalizer_range"], "a") == (["normalizer_range"], ())


def test_the_command_says_what_was_measured_and_exits_by_it(tmp_path):
    path = saved(tmp_path / "a", *catcher(), input_scale=1.0)
    run = subprocess.run([CKPT, "settle", str(path), "--episodes", "30"], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    first, last = run.stdout.splitlines()
    assert first.startswith("input_scale    1  -")
    assert first.endswith("measured: 255 (was assumed 1)")
    assert last == f"wrote {path}/manifest.json"
    again = subprocess.run([CKPT, "settle", str(path), "--json"], capture_output=True, text=True)
    Draft202012Validator(load_schema("report")).validate(json.loads(again.stdout))
    assert json.loads(again.stdout)["result"]["fields"] == []


@pytest.mark.parametrize(
    ("t", "degrees", "p"),
    [(12.706, 1, 0.025), (4.303, 2, 0.025), (3.182, 3, 0.025), (2.228, 10, 0.025), (2.093, 19, 0.025), (0.0, 7, 0.5)],
)
def test_probabilities_are_those_of_the_tables(t, degrees, p):
    assert _student(t, degrees) == pytest.approx(p, rel=1e-3)
