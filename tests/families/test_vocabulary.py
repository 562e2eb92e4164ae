"""What words of a head's name say."""

import pytest

from ckptfmt.families.names import words
from ckptfmt.families.vocabulary import meaning, meanings


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("qvalues", "q"),
        ("adv", "advantage"),
        ("fcadv", "advantage"),
        ("critic", "value"),
        ("actionprobs", "policy"),
        ("logits", "policy"),
        ("mu", "mean"),
        ("fcout", "neutral"),
        ("layer", "neutral"),
        ("zork", ""),
        ("headless", ""),
    ],
)
def test_a_word_says_one_thing_or_nothing(word, said):
    assert meaning(word) == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fc_out.2", set()),
        ("action_value.0", {"q"}),
        ("action_probs", {"policy"}),
        ("action_head", {"action"}),
        ("value_head.2", {"value"}),
        ("q_policy", {"q", "policy"}),
        ("zork_head", {""}),
    ],
)
def test_the_words_of_a_name_are_read_together(name, said):
    assert meanings(words(name)) == said
