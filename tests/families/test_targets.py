"""Target copies of actors and critics: held under canonical names where they are whole, else named as left out."""

from itertools import pairwise

import pytest

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
    assert set(chosen.dropped) == {f"{name} (a target copy)" for name in copies}


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


def test_statistics_and_scales_have_no_copy():
    assert not any(is_copied(name, "all") for name in ("normalizer.mean", "action_scale", "target.action.bias"))
