"""Sealed, valid checkpoints that our trainer did not write: one sentence that names the place, and nothing else."""

import copy
import dataclasses
import random
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.format.files import REPLAY, STATE
from ckptfmt.rl.player import open_player
from ckptfmt.rl.stored import read_tensors
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.train import Trainer
from ckptfmt.rl.tree import TREE, flatten, unflatten
from ckptfmt.store.checkpoint import Checkpoint

from .test_train import TINY

BIG = 10**9


def trained(folder, **settings):
    """Return the last checkpoint of a short training, with all that a resume needs."""
    changes = {"total_steps": 120, "sticky_actions": 0.2, "max_episode_steps": 50, "save_replay": "last"}
    trainer = Trainer(TrainConfig.from_dict({**TINY, **changes, **settings}), folder / "run")
    path = trainer.run()
    trainer.close()
    return path


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("honest"), prioritized_replay=True)


def forge(honest, folder, *, state=None, arrays=None, replay=None, settings=None, environment=None, **parts):
    """Return a copy of an honest checkpoint, sealed anew, of which some parts were changed by functions."""
    with Checkpoint(honest) as checkpoint:
        manifest, config = checkpoint.manifest, checkpoint.config
        weights = read_tensors(checkpoint)
        tree = unflatten(read_tensors(checkpoint, STATE))
        buffer = {name: tensor.numpy().copy() for name, tensor in read_tensors(checkpoint, REPLAY).items()}
    info = copy.deepcopy(dict(manifest.training_info))
    described = copy.deepcopy(dict(manifest.environment))
    if state is not None:
        tree = changed(tree, state)
    stored = flatten(tree)
    if arrays is not None:
        stored = changed(stored, arrays)
    if replay is not None:
        buffer = changed(buffer, replay)
    if settings is not None:
        info["training_config"].update(settings)
    if environment is not None:
        described.update(environment)
    given = {"evaluation": manifest.evaluation, **parts}
    made = ckptfmt.save(
        folder / "forged",
        weights,
        config,
        info,
        state=stored,
        replay=buffer,
        resume=manifest.resume,
        environment=described,
        lineage=manifest.lineage,
        **given,
    )
    made.close()
    assert ckptfmt.validate(folder / "forged").valid
    return folder / "forged"


def changed(value, change):
    """Return what `change` made of a value, or the value that it changed in place."""
    made = change(value)
    return value if made is None else made


def put(*path):
    """Return a function that sets the value at a path of keys, the last of which is the value."""
    *keys, last, value = path

    def change(tree):
        for key in keys:
            tree = tree[key]
        tree[last] = value

    return change


def drop(*path):
    *keys, last = path

    def change(tree):
        for key in keys:
            tree = tree[key]
        del tree[last]

    return change


def resumed(path, folder):
    """Resume from a checkpoint, train on for as long as its state is worked with, and return the steps that it has."""
    trainer = Trainer.resume(path, folder / "out", total_steps=160)
    try:
        trainer.run()
    finally:
        trainer.close()
    return trainer.step


def test_what_is_honest_goes_on(honest, tmp_path):
    assert resumed(forge(honest, tmp_path), tmp_path) == 160


MOMENT = ("optimizer", "state", 0, "exp_avg")
GROUP = ("optimizer", "param_groups", 0)
PCG = ("generators", "exploration")
ENV = ("environments", 0)
STATES = {
    "moment of one number": put(*MOMENT, torch.zeros(1)),
    "moment of no number": put(*MOMENT, torch.zeros(0)),
    "moment turned": lambda tree: put(*MOMENT, tree["optimizer"]["state"][0]["exp_avg"].transpose(0, 1))(tree),
    "moment of whole numbers": lambda tree: put(*MOMENT, tree["optimizer"]["state"][0]["exp_avg"].long())(tree),
    "moment is text": put(*MOMENT, "exp_avg"),
    "moment is nothing": put(*MOMENT, None),
    "moment is missing": drop(*MOMENT),
    "moment with another name": put("optimizer", "state", 0, "__class__", torch.zeros(1)),
    "step of two numbers": put("optimizer", "state", 0, "step", torch.zeros(2)),
    "step is whole": put("optimizer", "state", 0, "step", torch.tensor(3)),
    "step is text": put("optimizer", "state", 0, "step", "3"),
    "state of no parameter": put("optimizer", "state", 99, {}),
    "state named by text": put("optimizer", "state", {"0": {}}),
    "state is a list": put("optimizer", "state", [1]),
    "state of a parameter is text": put("optimizer", "state", 0, "x"),
    "amsgrad": put(*GROUP, "amsgrad", True),
    "fused": put(*GROUP, "fused", False),
    "foreach": put(*GROUP, "foreach", True),
    "capturable": put(*GROUP, "capturable", True),
    "differentiable": put(*GROUP, "differentiable", True),
    "betas are text": put(*GROUP, "betas", ("0.9", "0.99")),
    "betas are nothing": put(*GROUP, "betas", (None, 0.9)),
    "betas are three": put(*GROUP, "betas", (0.9, 0.9, 0.9)),
    "betas are a list": put(*GROUP, "betas", [0.9, 0.99]),
    "learning rate is text": put(*GROUP, "lr", "fast"),
    "learning rate is an array": put(*GROUP, "lr", np.zeros(3)),
    "a group with another option": put(*GROUP, "step", 1),
    "other parameters": put(*GROUP, "params", [0, 0]),
    "parameters are text": put(*GROUP, "params", "abc"),
    "two groups": lambda tree: tree["optimizer"]["param_groups"].append({}),
    "no groups": put("optimizer", "param_groups", []),
    "optimizer is a number": put("optimizer", 3),
    "target is smaller": lambda tree: put("target", "fc.2.bias", torch.zeros(1))(tree),
    "target lacks a tensor": drop("target", "fc.2.bias"),
    "target has one more": put("target", "__class__", torch.zeros(1)),
    "target holds text": put("target", "fc.2.bias", "x"),
    "target is a list": put("target", []),
    "position of NumPy": put("rng", "numpy", "state", "pos", BIG),
    "negative position of NumPy": put("rng", "numpy", "state", "pos", -1),
    "position is text": put("rng", "numpy", "state", "pos", "1"),
    "key of NumPy": put("rng", "numpy", "state", "key", np.zeros(3, np.uint32)),
    "key of another kind": put("rng", "numpy", "state", "key", np.zeros(624, np.float64)),
    "has_gauss": put("rng", "numpy", "has_gauss", BIG),
    "another NumPy generator": put("rng", "numpy", "bit_generator", "PCG64"),
    "NumPy generator with another field": put("rng", "numpy", "x", 1),
    "NumPy state is a list": put("rng", "numpy", [1]),
    "Python's words": put("rng", "python", "words", np.zeros(3, np.uint32)),
    "Python's last word": put("rng", "python", "words", np.full(625, 2**32 - 1, np.uint32)),
    "Python's version": put("rng", "python", "version", 99),
    "Python's half pair": put("rng", "python", "gauss", "x"),
    "torch's words": put("rng", "torch", torch.zeros(3, dtype=torch.uint8)),
    "torch's position": lambda tree: put("rng", "torch", moved(tree["rng"]["torch"]))(tree),
    "torch's zeros": lambda tree: put("rng", "torch", torch.zeros_like(tree["rng"]["torch"]))(tree),
    "torch's words of another kind": put("rng", "torch", torch.zeros(5056)),
    "cuda is a number": put("rng", "cuda", 3),
    "no generators": drop("rng"),
    "rng is text": put("rng", "x"),
    "generator's state is negative": put(*PCG, "state", "state", -1),
    "generator's state is wide": put(*PCG, "state", "state", 2**200),
    "generator's half word": put(*PCG, "uinteger", 2**40),
    "generator has half a word": put(*PCG, "has_uint32", 7),
    "another generator": put(*PCG, "bit_generator", "MT19937"),
    "generator is text": put(*PCG, "x"),
    "generators are a list": put("generators", []),
    "step is missing": drop("counters", "step"),
    "counted in text": put("counters", "step", "7"),
    "counted below nothing": put("counters", "step", -1),
    "counted in fractions": put("counters", "step", 1.5),
    "counted true": put("counters", "step", True),
    "counted far": put("counters", "step", 2**60),
    "loss is a list": put("counters", "loss", [1.0]),
    "best is text": put("counters", "best", "x"),
    "running of another length": put("counters", "running", []),
    "running is text": put("counters", "running", ["x"]),
    "returns is a list": put("counters", "returns", [1.0]),
    "returns hold text": lambda tree: tree["counters"]["returns"].append("x"),
    "observations are smaller": put("counters", "observations", [np.zeros(3, np.uint8)]),
    "observations of another kind": put("counters", "observations", [np.zeros((2, 36, 36))]),
    "no observations": put("counters", "observations", []),
    "evaluations are text": put("counters", "evaluations", "x"),
    "evaluations hold text": put("counters", "evaluations", ["x"]),
    "an evaluation without a mean": put("counters", "evaluations", [{}]),
    "a mean is text": put("counters", "evaluations", [{"mean": "x"}]),
    "counters are a list": put("counters", []),
    "environments are text": put("environments", "x"),
    "environments hold text": put("environments", ["x"]),
    "layers hold text": put(*ENV, ["x"]),
    "layer of another type": put(*ENV, 0, "type", "x"),
    "layer without a type": drop(*ENV, 0, "type"),
    "parts are a list": lambda tree: [1],
    "parts are text": lambda tree: "x",
}


def moved(words):
    data = words.numpy().copy()
    data[16:24] = np.frombuffer((600).to_bytes(8, "little"), np.uint8)
    data[8:12] = np.frombuffer((600).to_bytes(4, "little"), np.uint8)
    return torch.from_numpy(data)


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_is_none_is_refused_in_one_sentence(honest, tmp_path, name):
    path = forge(honest, tmp_path, state=STATES[name])
    refused(path, tmp_path)


def refused(path, folder):
    with pytest.raises(CkptError) as caught:
        resumed(path, folder)
    assert caught.value.where
    assert caught.value.code.partition(".")[0] in ("state", "environment", "resume", "train", "weights", "replay")
    assert str(caught.value).isprintable()


def attribute(kind, name, value):
    """Return a function that sets an attribute in the state of the layer with this type."""

    def change(tree):
        layer = next(layer for layer in tree["environments"][0] if layer["type"] == kind)
        layer["attributes"][name] = value

    return change


ATTRIBUTES = [
    ("TimeLimit", "__class__", 1),
    ("TimeLimit", "__dict__", {}),
    ("TimeLimit", "env", 1),
    ("TimeLimit", "step", 1),
    ("TimeLimit", "_max_episode_steps", 10**9),
    ("OrderEnforcing", "reset", 1),
    ("OrderEnforcing", "_has_reset", "yes"),
    ("OrderEnforcing", "_observation_space", None),
    ("StickyAction", "last_action", 99),
    ("StickyAction", "last_action", -1),
    ("StickyAction", "last_action", "x"),
    ("StickyAction", "num_repeats", 10**9),
    ("StickyAction", "repeat_action_probability", 1.0),
    ("FrameStackObservation", "obs_queue", []),
    ("FrameStackObservation", "stack_size", 10**9),
    ("Catch", "ball", [10**9, 0]),
    ("Catch", "ball", [0, -1]),
    ("Catch", "ball", [0, 12]),
    ("Catch", "ball", [11, 0]),
    ("Catch", "ball", [1]),
    ("Catch", "ball", "xy"),
    ("Catch", "paddle", 99),
    ("Catch", "paddle", None),
    ("Catch", "drift", 9),
    ("Catch", "render_mode", "human"),
    ("Catch", "metadata", {}),
    ("Catch", "np_random", 3),
    ("Catch", "_np_random_seed", "x"),
    ("Catch", "new", 3),
]


@pytest.mark.parametrize(("kind", "name", "value"), ATTRIBUTES)
def test_no_attribute_is_set_but_those_that_playing_changes(honest, tmp_path, kind, name, value):
    refused(forge(honest, tmp_path, state=attribute(kind, name, value)), tmp_path)


def test_a_generator_that_an_environment_lacks_is_refused(honest, tmp_path):
    def change(tree):
        catch = tree["environments"][0][-1]
        catch["generators"]["__class__"] = catch["generators"]["_np_random"]

    refused(forge(honest, tmp_path, state=change), tmp_path)


TREES = {
    "no tree": drop(TREE),
    "tree is no text": put(TREE, np.zeros(4, np.float32)),
    "tree is no JSON": put(TREE, np.frombuffer(b"{", np.uint8)),
    "tree is deep": put(TREE, np.frombuffer(b"[" * 1000, np.uint8)),
    "array that is not there": put(TREE, np.frombuffer(b'{"$array":"nowhere"}', np.uint8)),
    "array without a name": put(TREE, np.frombuffer(b'{"$array":[1]}', np.uint8)),
    "deque of any length": put(TREE, np.frombuffer(b'{"$deque":[[],-5]}', np.uint8)),
    "deque of text": put(TREE, np.frombuffer(b'{"$deque":["ab",1]}', np.uint8)),
    "deque of one": put(TREE, np.frombuffer(b'{"$deque":[[]]}', np.uint8)),
    "deque beyond memory": put(TREE, np.frombuffer(b'{"$deque":[[],99999999999999999999]}', np.uint8)),
    "pairs of one": put(TREE, np.frombuffer(b'{"$pairs":[[1]]}', np.uint8)),
    "pairs with a list as key": put(TREE, np.frombuffer(b'{"$pairs":[[[1],1]]}', np.uint8)),
    "tuple of text": put(TREE, np.frombuffer(b'{"$tuple":"ab"}', np.uint8)),
    "number that is none": put(TREE, np.frombuffer(b'{"$float":"x"}', np.uint8)),
    "another tag": put(TREE, np.frombuffer(b'{"$eval":"x"}', np.uint8)),
    "one array named twice": lambda arrays: repeated(arrays),
    "one array not named": put("surplus", np.zeros(3)),
}


def repeated(arrays):
    name = next(name for name in arrays if name != TREE)
    text = bytes(arrays[TREE]).rstrip(b"}") + b',"a":{"$array":"' + name.encode() + b'"}}'
    arrays[TREE] = np.frombuffer(text, np.uint8)


@pytest.mark.parametrize("name", TREES)
def test_a_description_of_a_state_that_is_none_is_refused(honest, tmp_path, name):
    refused(forge(honest, tmp_path, arrays=TREES[name]), tmp_path)


REPLAYS = {
    "counts missing": drop("counts"),
    "counts below nothing": put("counts", np.array([-5])),
    "counts of two": put("counts", np.array([5, 5])),
    "counts of another kind": put("counts", np.array([5.0])),
    "no frames": drop("0/frames"),
    "frames of another size": put("0/frames", np.zeros((4, 1, 3, 3), np.uint8)),
    "actions that there are not": lambda buffer: buffer["0/actions"].fill(99),
    "actions below nothing": lambda buffer: buffer["0/actions"].fill(-1),
    "age far": lambda buffer: buffer["0/age"].fill(BIG),
    "age below nothing": lambda buffer: buffer["0/age"].fill(-BIG),
    "leaves are not numbers": lambda buffer: buffer["0/leaves"].fill(np.nan),
    "leaves below nothing": lambda buffer: buffer["0/leaves"].fill(-1),
    "leaves without end": lambda buffer: buffer["0/leaves"].fill(np.inf),
    "no leaf": lambda buffer: buffer["0/leaves"].fill(0),
    "leaves is one number": put("0/leaves", np.array(1.0)),
    "priority is not a number": put("max_priority", np.array(np.nan)),
    "priority is a list": put("max_priority", np.zeros(3)),
    "generator of three words": put("rng", np.zeros(3, np.uint64)),
    "generator of fractions": put("rng", np.zeros(6)),
    "generator has half a word": put("rng", np.full(6, 2**63, np.uint64)),
}


@pytest.mark.parametrize("name", REPLAYS)
def test_a_replay_buffer_that_is_none_is_refused(honest, tmp_path, name):
    refused(forge(honest, tmp_path, replay=REPLAYS[name]), tmp_path)


def test_a_replay_buffer_without_a_transition_is_refused(tmp_path):
    honest = trained(tmp_path)
    resumed(honest, tmp_path)
    refused(forge(honest, tmp_path, replay=lambda buffer: buffer["0/final"].fill(True)), tmp_path)


ASKED = [
    {"num_envs": 5000},
    {"env_processes": 200, "num_envs": 1},
    {"implicit_quantile_dqn": True},
    {"quantile_dqn": True, "n_quantiles": 10**7},
    {"encoder": "impala"},
    {"precision": "__import__"},
    {"threads": 0},
    {"threads": 10**5},
    {"hidden_size": 10**7},
    {"batch_size": 10**8},
    {"replay_size": 10**12},
    {"n_steps": 10**6, "n_step_learning": True},
    {"frame_stack": 10**6},
    {"screen_size": 10**5},
    {"dueling_dqn": True},
    {"distributional_dqn": True, "n_atoms": 10**7},
    {"noisy_networks": True},
    {"env": "os:system"},
    {"env": "no such\x1b[2J thing"},
    {"env": 3},
    {"encoder": "__import__"},
    {"device": "cuda:99"},
    {"device": "\x1b[2J"},
    {"num_envs": "many"},
    {"seed": -1},
    {"learning_rate": float("nan")},
    {"gamma": None},
    {"__class__": 1},
]


@pytest.mark.parametrize("settings", ASKED, ids=lambda settings: next(iter(settings)))
def test_settings_that_ask_for_more_are_refused(honest, tmp_path, settings):
    with pytest.raises(CkptError) as caught:
        resumed(forge(honest, tmp_path, settings=settings), tmp_path)
    assert str(caught.value).isprintable()


@pytest.fixture(scope="module")
def honest_blocks(tmp_path_factory):
    """A checkpoint of a network of blocks."""
    settings = {**TINY, "env": "CartPole-v1", "frame_stack": None, "quantile_dqn": True, "n_quantiles": 6}
    trainer = Trainer(TrainConfig(**settings, hidden_layers=2), tmp_path_factory.mktemp("blocks"))
    trainer.advance(120)
    saved = trainer._save("last")
    trainer.close()
    return saved


BLOCKS_ASKED = [
    {"hidden_size": 10**7},
    {"hidden_layers": 10**6},
    {"n_quantiles": 10**7},
    {"quantile_dqn": False},
    {"quantile_dqn": False, "implicit_quantile_dqn": True},
    {"dueling_dqn": True},
    {"noisy_networks": True},
    {"env_processes": 200},
    {"env": "ckptfmt/Catch-v0"},
    {"frame_stack": 10**6},
    {"screen_size": 84},
]


@pytest.mark.parametrize("settings", BLOCKS_ASKED, ids=lambda settings: "-".join(settings))
def test_settings_that_ask_for_more_than_a_network_of_blocks_are_refused(honest_blocks, tmp_path, settings):
    with pytest.raises(CkptError) as caught:
        resumed(forge(honest_blocks, tmp_path, settings=settings), tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("settings", [{"quantile_dqn": True, "n_quantiles": 10**10}, {"encoder": "impala"}], ids=str)
def test_settings_that_make_a_network_of_blocks_of_another_one_are_refused_at_once(honest, tmp_path, settings):
    forged = forge(honest, tmp_path, settings=settings)
    with pytest.raises(CkptError) as caught:
        resumed(forged, tmp_path)
    assert str(caught.value) == (
        f"{forged} $.training_info.training_config: refused, the settings make another network than the checkpoint "
        "has; give trust=True where you know who made this checkpoint"
    )


def test_a_hidden_layer_that_only_the_config_has_is_refused(honest, tmp_path):
    with Checkpoint(honest) as checkpoint:
        config = dataclasses.replace(checkpoint.config, hidden_size=10**7)
    path = tmp_path / "forged"
    with pytest.raises(CkptError), Checkpoint(honest) as checkpoint:
        ckptfmt.save(path, read_tensors(checkpoint), config)


@pytest.mark.parametrize(
    "name",
    [
        "kwargs",
        "frame_skip",
        "frame_stack",
        "screen_size",
        "grayscale",
        "noop_max",
        "sticky_actions",
        "terminal_on_life_loss",
        "fire_reset",
        "max_episode_steps",
        "observation_scale",
        "wrappers",
        "id",
    ],
)
@pytest.mark.parametrize("value", [None, True, "x", -1, 0.5, 10**20, float("nan"), [], [1], [[]], {}, {"a": {"b": 1}}])
def test_an_environment_of_any_type_is_played_or_refused(honest, tmp_path, name, value):
    path = forge(honest, tmp_path, environment={name: value})
    # Anything but a sentence of ours fails the test.
    try:
        with open_player(path) as player:
            foreseen = len(player.env.reset(seed=1)) == 2
    except CkptError as e:
        foreseen = str(e).isprintable()
    assert foreseen


@pytest.mark.parametrize(
    "environment",
    [
        {"kwargs": {"env_id": "os:Env-v0"}},
        {"kwargs": {"env_id": "os:Env-v0"}, "id": "GymV26Environment-v0"},
        {"kwargs": {"env": "x"}, "id": "GymV21Environment-v0"},
        {"kwargs": {"game": "../../x"}, "id": "ALE/Pong-v5"},
        {"kwargs": {"render_mode": "human"}, "id": "ALE/Pong-v5"},
        {"kwargs": {"mode": "x"}, "id": "ALE/Pong-v5"},
        {"kwargs": {"vector_entry_point": "os:system"}},
        {"kwargs": {"xml_file": "/etc/passwd"}, "id": "Ant-v5"},
        {"kwargs": {"size": 10**9}},
        {"kwargs": {"autoreset": True}},
        {"id": "os:Env-v0"},
        {"frame_stack": 1000},
        {"screen_size": 4096},
    ],
    ids=str,
)
def test_what_asks_for_more_than_its_network_needs_is_refused(honest, tmp_path, environment):
    with pytest.raises(CkptError) as caught, open_player(forge(honest, tmp_path, environment=environment)):
        pass
    assert caught.value.code in ("environment.untrusted", "environment.imports", "environment.unfit")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module that can be imported."""
    (tmp_path / "imported_by_name.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    return "imported_by_name"


@pytest.mark.parametrize("processes", [0, 1])
def test_a_resume_imports_no_module_that_a_checkpoint_names(honest_blocks, tmp_path, module, processes):
    settings = {"env": f"{module}:Catch-v0", "env_processes": processes}
    with pytest.raises(CkptError) as caught:
        resumed(forge(honest_blocks, tmp_path, settings=settings), tmp_path)
    assert str(caught.value) == (
        f"$.environment.id: refused, the environment {module}:Catch-v0 asks for a module to be imported; "
        "import it yourself, then name the environment without the module"
    )
    assert module not in sys.modules


def test_nothing_is_made_for_a_network_that_nobody_knows(tmp_path, module):
    described = {"id": "GymV26Environment-v0", "kwargs": {"env_id": f"{module}:Catch-v0"}}
    ckptfmt.save(tmp_path / "a", {"w": np.zeros(2, np.float32)}, environment=described)
    with pytest.raises(CkptError) as caught, open_player(tmp_path / "a"):
        pass
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: its architecture is unknown; pass the network that these weights belong to as model="
    )
    assert module not in sys.modules


def test_trust_lets_an_argument_through(honest, tmp_path):
    path = forge(honest, tmp_path, environment={"kwargs": {"render_mode": "rgb_array"}})
    with pytest.raises(CkptError) as caught, open_player(path):
        pass
    assert str(caught.value) == (
        "$.environment.kwargs: refused, the environment ckptfmt/Catch-v0 is given render_mode=rgb_array; "
        "give trust=True where you know who made this checkpoint"
    )
    with open_player(path, trust=True) as player:
        assert player.env.render_mode == "rgb_array"


def test_an_emulator_of_another_game_or_of_noise_is_refused():
    from ckptfmt.rl.envs import Environment, make_env
    from ckptfmt.rl.envs.state import capture_env, restore_env

    env, other = (make_env(Environment(id=f"ALE/{game}-v5")) for game in ("Pong", "Breakout"))
    env.reset(seed=1)
    other.reset(seed=1)
    captured = capture_env(env).layers
    own = captured[-1]["emulator"]
    noise = bytes(random.Random(1).randbytes(len(own)))
    for emulator in (capture_env(other).layers[-1]["emulator"], b"", noise, own[:100], own * 3, "text", None):
        captured[-1]["emulator"] = emulator
        with pytest.raises(CkptError) as caught:
            restore_env(env, captured)
        assert caught.value.where == "env/AtariEnv/emulator"


BOMBS = {
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "merge": "base: &base {seed: 1}\nother:\n  <<: *base\n",
    "an integer of digits": "seed: " + "9" * 6000,
    "no date": "seed: 2020-13-45",
    "deep": "seed: " + "[" * 5000,
    "deep mappings": "seed: " + "{a: " * 5000,
    "long": "seed: 1\n" * 100_000,
    "not text": "\x00\x01",
    "an object": "seed: !!python/object/apply:os.system ['touch X']",
    "a list as a key": "? [a, b]\n: 1",
    "a list": "- 1",
    "escapes": 'seed: "\\e]0;x\\a"',
}


@pytest.mark.parametrize("name", BOMBS)
def test_settings_that_are_a_bomb_are_refused(tmp_path, name):
    (tmp_path / "a.yaml").write_text(BOMBS[name])
    with pytest.raises(CkptError) as caught:
        TrainConfig.from_file(tmp_path / "a.yaml")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1200
