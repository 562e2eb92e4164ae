"""The rule of claims: a witness, and no rival that has one as strong."""

from dataclasses import replace

import pytest

from ckptfmt.families.answer import Candidate
from ckptfmt.families.claim import Proposal, Witness, decide


def proposal(family, *kinds, assumes=""):
    return Proposal(
        family=family,
        name=family,
        what=family,
        witnesses=tuple(Witness(kind, "says so") for kind in kinds),
        assumes=assumes,
    )


@pytest.mark.parametrize(
    ("proposals", "claimed", "rivals"),
    [
        ([proposal("q", "word"), proposal("policy")], "q", ["policy"]),
        ([proposal("q"), proposal("policy", "word")], "policy", ["q"]),
        ([proposal("q", "word"), proposal("policy", "structure")], None, ["q", "policy"]),
        ([proposal("q", "declared"), proposal("policy", "word")], "q", ["policy"]),
        ([proposal("q", "declared"), proposal("policy", "given")], "policy", ["q"]),
        ([proposal("q"), proposal("policy")], None, ["q", "policy"]),
        ([proposal("q", "class"), proposal("q", "word")], "q", ["q"]),
        ([proposal("q", "word"), proposal("lab/policy", "declared")], None, ["lab/policy", "q"]),
        ([proposal("q", "declared"), proposal("lab/policy", "word")], "q", ["lab/policy"]),
        ([proposal("q"), proposal("lab/policy", "word")], "lab/policy", ["q"]),
        ([], None, []),
    ],
)
def test_the_strongest_witness_wins_and_a_tie_is_won_by_nobody(proposals, claimed, rivals):
    decision = decide(proposals)
    assert (decision.claimed and decision.claimed.family) == claimed
    assert [rival.family for rival in decision.rivals] == rivals
    assert not decision.assumed


def test_without_a_witness_only_what_says_what_it_assumes_is_claimed():
    decision = decide([proposal("policy"), proposal("q", assumes="that its rows are Q-values")])
    assert (decision.claimed.family, decision.assumed) == ("q", True)
    both = [proposal("policy", assumes="logits"), proposal("q", assumes="Q-values")]
    assert decide(both).claimed is None


def test_an_assumption_does_not_stand_against_a_witness():
    decision = decide([proposal("q", assumes="that its rows are Q-values"), proposal("policy", "word")])
    assert (decision.claimed.family, decision.assumed) == ("policy", False)


def test_of_two_readings_of_one_family_the_one_that_rebuilds_the_network_stands():
    told = proposal("policy", "word")
    rebuilt = replace(told, candidate=Candidate(name="categorical"))
    assert decide([told, rebuilt]).claimed is rebuilt
