from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from ckptfmt.families.evidence import Facts
from ckptfmt.families.outline import Outline
from ckptfmt.families.tell import classify

PIECES = st.sampled_from(["", "a", "0", "actor", "critic", "weight", "bias", "weight_ih_l0", "running_mean", "log_std"])
NAMES = st.lists(PIECES, min_size=1, max_size=4).map(".".join)
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)
NAMED = st.dictionaries(NAMES, SHAPES, max_size=12)


@given(NAMED)
@settings(max_examples=300)
def test_every_tensor_belongs_to_one_layer_however_it_is_named(shapes):
    outline = Outline(shapes)
    held = Counter(source for unit in outline.units for source in unit.sources)
    assert held + Counter(outline.noise) == Counter(shapes.keys())


@given(NAMED)
@settings(max_examples=300)
def test_names_of_any_kind_get_an_answer(shapes):
    answer = classify(shapes, facts=Facts())
    assert (answer.chosen is None) == bool(answer.refusal)


def test_layers_with_empty_names_are_layers():
    outline = Outline({"weight": (2, 4), "bias": (2,), ".weight": (3, 2), "a..weight": (5, 3), "a.weight": (6, 5)})
    assert {unit.path for unit in outline.units} == {("\0",), ("",), ("a", ""), ("a",)}
