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


def test_a_normalisation_before_its_layer_is_its_own_where_the_layer_could_not_take_it():
    behind = {"ln0.bias": (8,), "fc0.weight": (8, 4), "ln0.weight": (8,), "fc0.bias": (8,)}
    [layer] = Outline(behind).units
    assert (layer.path, layer.norm and layer.norm.path) == (("fc0",), ("ln0",))
    either = {**behind, "fc0.weight": (8, 8)}
    assert Outline(either).strange == "ln0.bias"
