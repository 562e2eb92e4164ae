"""Target copies: those of actors and critics are held under canonical names where they are whole, others are left."""

import pickle
from itertools import pairwise

import numpy as np
import pytest

from ckptfmt.convert.convert import convert
from ckptfmt.errors import ConversionError
from ckptfmt.families.skeleton import Skeleton
from ckptfmt.families.targets import is_copied
from ckptfmt.families.tell import tell


def rows(prefix, *sizes):
    found = {}
    for i, (inputs, outputs) in enumerate(pairwise(sizes)):
        found |= {f"{prefix}.{2 * i}.weight": (outputs, inputs), f"{prefix}.{2 * i}.bias": (outputs,)}
    return found


ACTOR, CRITICS = rows("actor.mu", 5, 16, 2), rows("critic.qf0", 7, 16, 1) | rows("critic.qf1", 7, 16, 1)
ACTOR_TARGET = rows("actor_target.mu", 5, 16, 2)
CRITICS_TARGET = rows("critic_target.qf0", 7, 16, 1) | rows("critic_target.qf1", 7, 16, 1)


def told(*parts):
    shapes = {}
    for part in parts:
        shapes |= part
    return tell(Skeleton(shapes=shapes)).chosen


@pytest.mark.parametrize(
    ("copies", "which"), [((), "none"), ((CRITICS_TARGET,), "critics"), ((ACTOR_TARGET, CRITICS_TARGET), "all")]
)
def test_whole_copies_are_taken(copies, which):
    chosen = told(ACTOR, CRITICS, *copies)
    assert (chosen.config.target, chosen.origin["target"]) == (which, "inferred")
    placed = {item.source: item.name for item in chosen.placements}
    assert not chosen.dropped
    for copy in copies:
        for name in copy:
            assert placed[name] == "target." + placed[name.replace("_target", "")]


@pytest.mark.parametrize("copies", [ACTOR_TARGET, rows("critic_target.qf0", 7, 16, 1)])
def test_a_copy_that_is_not_whole_is_left_out_and_named(copies):
    chosen = told(ACTOR, CRITICS, copies)
    assert chosen.config.target == "none"
    assert (set(chosen.copies), chosen.dropped) == ({*copies}, ())


@pytest.mark.parametrize(
    ("own", "copy"),
    [
        ("{}.", "target_{}."),
        ("{}.", "{}_old.module."),
        ("policy.{}.", "{}_old."),
        ("ac.{}.", "ac_targ.{}."),
        ("{}_state_dict/", "{}_target_state_dict/"),
    ],
)
def test_copies_are_known_by_what_code_bases_call_them(own, copy):
    def called(shape, form):
        return {form.format(name.split(".")[0]) + name.partition(".")[2]: size for name, size in shape.items()}

    chosen = told(*(called(part, own) for part in (ACTOR, CRITICS)), *(called(part, copy) for part in (ACTOR, CRITICS)))
    assert chosen.config.target == "all"


LSTM = {
    "lstm.weight_ih_l0": (64, 16),
    "lstm.weight_hh_l0": (64, 16),
    "lstm.bias_ih_l0": (64,),
    "lstm.bias_hh_l0": (64,),
}
ATOMS = {"fc1.weight": (16, 4), "fc1.bias": (16,), "q.weight": (6, 16), "q.bias": (6,), "support": (3,)}
KINDS = {
    "q-network/dqn": rows("q", 4, 16, 2),
    "q-network/distributional": ATOMS,
    "recurrent-q/lstm": rows("fc", 4, 16) | LSTM | rows("q", 16, 2),
    "implicit-quantile-q/iqn": rows("fc", 4, 16) | rows("cosines", 64, 16) | rows("out", 16, 16, 2),
    "quantile-q/dueling+quantile": rows("quantile_fc", 4, 16) | rows("value", 16, 5) | rows("advantage", 16, 10),
    "batch-constrained-q/bcq": rows("q", 4, 16, 2) | rows("imitation", 4, 16, 2),
    "policy/gaussian": rows("mu", 4, 16, 2) | {"log_std": (2,)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_tells_its_networks_beside_a_copy_and_names_the_copy(kind):
    own = {f"online_net.{name}": shape for name, shape in KINDS[kind].items()}
    copy = {f"target_net.{name}": shape for name, shape in KINDS[kind].items()}
    seen = Skeleton(shapes=copy | own, values=lambda name: [-1.0, 0.0, 1.0] if name.endswith("support") else [9.0])
    chosen = tell(seen).chosen
    assert f"{chosen.config.family}/{chosen.name}" == kind
    assert {*chosen.copies} == {*copy}
    assert {item.source for item in chosen.placements} == {*own}


def test_statistics_and_scales_have_no_copy():
    assert not any(is_copied(name, "all") for name in ("normalizer.mean", "action_scale", "target.action.bias"))


FRAMES = {
    "conv1.weight": (32, 4, 8, 8), "conv1.bias": (32,), "conv2.weight": (64, 32, 4, 4), "conv2.bias": (64,),
    "conv3.weight": (64, 64, 3, 3), "conv3.bias": (64,), "fc1.weight": (16, 64), "fc1.bias": (16,),
    "fc2.weight": (6, 16), "fc2.bias": (6,),
}  # fmt: skip
FEATURES = {"fc1.weight": (8, 5), "fc1.bias": (8,), "fc2.weight": (8, 8), "fc2.bias": (8,)} | {
    "fc3.weight": (6, 8), "fc3.bias": (6,),
}  # fmt: skip


def saved(tmp_path, shapes, *paths):
    random, nest = np.random.default_rng(0), {}
    for path in paths:
        *above, last = path.split("/")
        place = nest
        for key in above:
            place = place.setdefault(key, {})
        place[last] = (place.get(last) or {}) | {
            name: random.normal(size=shape).astype("f4") for name, shape in shapes.items()
        }
    (tmp_path / "case.pkl").write_bytes(pickle.dumps(nest))
    return tmp_path / "case.pkl"


@pytest.mark.parametrize("shapes", [FRAMES, FEATURES], ids=["frames", "features"])
@pytest.mark.parametrize(
    "paths",
    [
        ("policy_net", "target_net"), ("policy", "target"), ("online", "target"), ("policy/net", "policy/target_net"),
        ("policy_network", "target_network"),
    ],
)  # fmt: skip
def test_a_target_copy_that_is_called_a_network_speaks_for_q_values(tmp_path, shapes, paths):
    result = convert(saved(tmp_path, shapes, *paths), tmp_path / "out")
    assert (result.architecture, result.config["n_action"]) == ("dqn", 6)
    assert [item.says for item in result.classification.chosen.witnesses] == ["a target copy lies beside it"]


@pytest.mark.parametrize(
    "paths",
    [
        ("policy", "target_policy"), ("policy_net", "target_policy_net"), ("pi", "pi_targ"), ("actor", "target"),
        ("agent/policy", "agent/target/policy"),
    ],
)  # fmt: skip
def test_a_target_copy_of_a_policy_speaks_for_no_q_values(tmp_path, paths):
    file = saved(tmp_path, FEATURES, *paths)
    with pytest.raises(ConversionError, match="is of a policy with a target copy"):
        convert(file, tmp_path / "out")
    told = convert(file, tmp_path / "told", settings={"policy": "deterministic"})
    assert (told.family, told.architecture) == ("policy", "deterministic")


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (("policy", "target_policy"), "'policy' around it speaks of a policy"),
        (("model", "policy_target"), "fc2.weight is no name of either"),
    ],
)
def test_a_target_copy_of_a_policy_on_frames_speaks_for_no_q_values(tmp_path, paths, why):
    with pytest.raises(ConversionError) as caught:
        convert(saved(tmp_path, FRAMES, *paths), tmp_path / "out")
    assert caught.value.what == f"one head is the shape of a Q-network and of a policy, and {why}"
