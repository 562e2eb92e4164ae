from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from ckptfmt.errors import ManifestError
from ckptfmt.format.document import (
    Document,
    choice,
    count,
    document,
    free,
    listing,
    mapping,
    optional,
    pattern,
    text,
    value,
)


@dataclass(frozen=True, kw_only=True)
class Leaf(Document):
    size: int = value(count)
    word: str = value(choice("red", "blue"), default="red")


@dataclass(frozen=True, kw_only=True)
class Tree(Document):
    name: str = value(text)
    code: str | None = value(optional(pattern("[0-9]+", "digits")), default=None)
    leaves: tuple[Leaf, ...] = value(listing(document(Leaf)), default=())
    by_name: Mapping[str, Leaf] = value(mapping(document(Leaf)), default_factory=dict)
    notes: Mapping[str, Any] = value(free, default_factory=dict)
    sparse = frozenset({"leaves", "by_name", "notes"})


def test_a_document_comes_back_equal():
    tree = Tree(
        name="x", code="12", leaves=(Leaf(size=1),), by_name={"a": Leaf(size=2, word="blue")}, notes={"n": -0.5}
    )
    assert Tree.from_dict(tree.to_dict()) == tree


def test_sparse_fields_are_left_out_while_they_hold_nothing():
    assert Tree(name="x").to_dict() == {"name": "x", "code": None}
    assert Tree.from_dict({"name": "x", "code": None}) == Tree(name="x")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "$: must be an object"),
        ({"code": None}, "$.name: is missing"),
        ({"name": 3, "code": None}, "$.name: must be text"),
        ({"name": "x", "code": "1a"}, "$.code: must be digits, not '1a'"),
        ({"name": "x", "code": None, "leaves": {}}, "$.leaves: must be a list"),
        ({"name": "x", "code": None, "leaves": [{"size": 1, "word": "red"}, {"size": True, "word": "red"}]},
         "$.leaves[1].size: must be a whole number of 0 or more"),
        ({"name": "x", "code": None, "by_name": {"a\x1b": {"size": 1, "word": "green"}}},
         "$.by_name.a\\x1b.word: must be one of red, blue, not 'green'"),
        ({"name": "x", "code": None, "notes": [1]}, "$.notes: must be an object"),
        ({"name": "x", "code": None, "notes": {"a": {"$float": "1"}}}, "$.notes.a: '1' is no tagged number"),
        ({"name": "x", "code": None, "more": 1}, "$.more: is no field of this version"),
    ],
)  # fmt: skip
def test_an_error_carries_the_path_to_its_value(data, sentence):
    with pytest.raises(ManifestError) as caught:
        Tree.from_dict(data)
    assert str(caught.value) == sentence


def test_relaxed_reading_keeps_what_it_does_not_know_and_new_words():
    data = {"name": "x", "code": None, "leaves": [{"size": 1, "word": "green", "age": 3}], "more": {"$float": "odd"}}
    tree = Tree.from_dict(data, relaxed=True)
    assert tree.unknown == {"more": {"$float": "odd"}}
    assert tree.leaves[0].word == "green"
    assert tree.to_dict() == data
