import pytest

from ckptfmt.convert.declared import read_declared
from ckptfmt.convert.texts import Text
from ckptfmt.errors import UnsupportedVersion
from ckptfmt.legacy.pickle.inert import Opaque

CONFIG = {
    "input_shape": (4, 84, 84), "n_action": 6, "dueling_dqn": True, "distributional_dqn": False,
    "noisy_networks": False, "n_atoms": None, "curiosity": True,
}  # fmt: skip


def test_a_config_beside_the_weights_gives_facts_and_keeps_what_it_adds():
    declared = read_declared({"model_config": CONFIG, "version": "2.0"}, where="f")
    assert declared.facts.architecture == "dueling"
    assert declared.facts.n_action == 6
    assert declared.facts.input_shape == (4, 84, 84)
    assert declared.facts.declared == {"architecture", "n_action", "input_shape"}
    assert declared.extra == {"model_config": {"curiosity": True}}
    assert "curiosity" not in declared.config


@pytest.mark.parametrize("version", ["3.0", "2.1", 2, "\x1b[1m"])
def test_another_version_of_that_dict_is_refused(version):
    with pytest.raises(UnsupportedVersion, match=r"^f: its version is '.+', this ckpt reads 2\.0 of this kind of file"):
        read_declared({"model_config": CONFIG, "version": version}, where="f")


def test_a_version_without_a_config_means_something_else():
    found = read_declared({"version": "1.2.3", "epoch": 4}, where="f")
    assert found.training_info == {"version": "1.2.3", "epoch": 4}


def test_settings_answer_but_do_not_contradict():
    declared = read_declared(
        {"args": {"v_min": -10, "v_max": 10.0, "n_atoms": 51, "env_id": "PongNoFrameskip-v4"}}, where="f"
    )
    assert declared.facts.known() == {}
    assert declared.settings.known() == {"n_atoms": 51, "v_min": -10, "v_max": 10.0}
    assert declared.environment == {"id": "PongNoFrameskip-v4"}


@pytest.mark.parametrize("holder", ["args", "cfg", "hyper_parameters", "hparams", "config"])
def test_settings_are_read_wherever_code_keeps_them(holder):
    declared = read_declared({holder: {"num_atoms": 51, "Vmin": -10, "Vmax": 10, "env": "ALE/Pong-v5"}}, where="f")
    assert declared.settings.known() == {"n_atoms": 51, "v_min": -10, "v_max": 10}
    assert declared.environment == {"id": "ALE/Pong-v5"}
    flat = read_declared({"num_actions": 4, "game": "breakout", "env": "no id, a sentence"}, where="f")
    assert (flat.settings.known(), flat.environment) == ({"n_action": 4}, {"id": "breakout"})


def test_what_an_archive_says_wins_over_nothing_that_its_config_says():
    text = Text(
        {"n_action": 6, "input_scale": 255.0}, {}, {"gamma": 0.9, "epoch": 1}, {"action_space": {"n": 6}}, ("dqn",)
    )
    declared = read_declared({"model_config": CONFIG, "epoch": 3}, where="f", text=text)
    assert (declared.facts.n_action, declared.facts.input_scale) == (6, 255.0)
    assert {"n_action", "input_scale"} <= declared.facts.declared
    assert declared.training_info == {"gamma": 0.9, "epoch": 3}
    assert (declared.environment, declared.agent) == ({"action_space": {"n": 6}}, ("dqn",))


def test_an_inert_instance_is_kept_as_its_attributes():
    args = Opaque("instance", "argparse.Namespace", state={"game": "pong", "lr": 0.1})
    declared = read_declared({"args": args, "epoch": 3}, where="f")
    assert declared.training_info == {"args": {"class": "argparse.Namespace", "game": "pong", "lr": 0.1}, "epoch": 3}
    assert declared.dropped == ()


def test_what_json_cannot_hold_is_named():
    facts = {
        "rng": {"state": b"bytes", "n": 1},
        "optimizer": Opaque("call", "torch.optim.adam.Adam", args=(1,)),
        3: {(1, 2): 3},
    }
    declared = read_declared(facts, where="f")
    assert declared.training_info == {"rng": {"n": 1}}
    assert declared.dropped == ("rng/state (bytes)", "optimizer (torch.optim.adam.Adam)", "3 (dict)")
