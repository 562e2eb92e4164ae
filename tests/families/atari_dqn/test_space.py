"""Networks over the whole space: the right answer, or an honest refusal, never a wrong one."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptfmt.families import tell
from ckptfmt.families.atari_dqn import candidate, classify
from ckptfmt.families.claim import Witness


@pytest.mark.parametrize("kind", ["network", "decoy", "rival"])
@pytest.mark.parametrize("hinted", [False, True])
def test_no_network_of_the_space_is_told_wrongly(space, kind, hinted):
    @settings(max_examples=300, deadline=None)
    @given(st.integers(0, 2**64))
    def search(seed):
        sample = getattr(space, kind)(random.Random(seed))
        answer = space.answer(sample, sample.facts() if hinted else None)
        assert space.judge(sample, answer) == "", sample

    search()


@pytest.mark.parametrize("seed", [1554, 18246])
def test_draws_that_were_told_wrongly_once_are_not_any_more(space, seed):
    """A cosine embedding beside two streams, and noisy layers whose means and deviations are layers by their names."""
    sample = space.draw(random.Random(seed))
    for facts in (None, sample.facts()):
        assert space.judge(sample, space.answer(sample, facts)) == ""


def test_names_that_agree_with_shapes_leave_only_what_weights_do_not_hold(space):
    refused = set()
    for seed in range(400):
        sample = space.network(random.Random(seed))
        answer = space.answer(sample, sample.facts())
        if answer.refusal and "names kept" in sample.kind:
            refused.add(space.reason(answer))
    assert refused <= {
        "unknown trunk",
        "fused hidden layer: which half is which",
        "one hidden layer with two heads: needs --architecture",
        "called a policy: needs --architecture",
        "a head whose name says nothing: needs --architecture",
    }


def test_a_wrong_answer_would_be_noticed(space):
    for seed in range(100):
        sample = space.network(random.Random(seed))
        answer = space.answer(sample, sample.facts())
        if answer.chosen and answer.chosen.placements and not answer.refusal:
            break
    assert space.judge(sample, answer) == ""
    name, (source, rows) = next(iter(sample.truth.items()))
    sample.truth[name] = (source + "x", rows)
    assert space.judge(sample, answer).startswith(name)
    sample.architecture = next(name for name in space.ARCHITECTURES if name != answer.architecture)
    assert space.judge(sample, answer) == f"claims {answer.architecture}, is {sample.architecture}"


def no_witness_needed(monkeypatch):
    def claim(chosen, real=tell.proposal):
        return replace(real(chosen), witnesses=(Witness("word", "whatever it is called"),))

    monkeypatch.setattr(tell, "proposal", claim)


def no_rival_heard(monkeypatch):
    monkeypatch.setattr(tell, "propose", lambda seen: ())
    monkeypatch.setattr(tell, "_registered", lambda seen, all_of_ours: ())


def everything_assumed(monkeypatch):
    monkeypatch.setattr(classify, "assumption", lambda *of: "that it is a Q-network is assumed")


def strength_not_compared(monkeypatch):
    def first(proposals, real=tell.decide):
        return real([proposal for proposal in proposals if proposal.candidate is not None][:1])

    monkeypatch.setattr(tell, "decide", first)


def unseen_fields_inferred(monkeypatch):
    monkeypatch.setattr(candidate, "_settled", lambda layout, facts: True)


@pytest.mark.parametrize(
    "broken", [no_witness_needed, no_rival_heard, everything_assumed, strength_not_compared, unseen_fields_inferred]
)
def test_a_rule_of_claims_with_a_part_left_out_is_noticed(space, monkeypatch, broken):
    broken(monkeypatch)
    drawn = (space.draw(random.Random(seed)) for seed in range(400))
    assert any(space.judge(sample, space.answer(sample, None)) for sample in drawn)
