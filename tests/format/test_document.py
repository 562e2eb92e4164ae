from collections.abc import Mapping
from typing import Any

import pytest

from ckptfmt.errors import ManifestError
from ckptfmt.format.document import Document, document, object_schema, value
from ckptfmt.format.kinds import choice, count, free, listing, mapping, optional, pattern, text
from ckptfmt.format.record import record


@record(kw_only=True, slots=False)
class Leaf(Document):
    """A leaf."""

    size: int = value(count, "Its size.")
    word: str = value(choice("red", "blue"), "Its colour.", default="red")


@record(kw_only=True, slots=False)
class Tree(Document):
    """A tree."""

    version: str = value(text, "Its version.", default="1.0", written=True)
    name: str = value(text, "Its name.")
    code: str | None = value(optional(pattern("[0-9]+", "digits")), "Its code.", default=None)
    leaves: tuple[Leaf, ...] = value(listing(document("leaf", Leaf)), "All of them.", default=())
    by_name: Mapping[str, Leaf] = value(mapping(document("leaf", Leaf)), "Those with names.", default_factory=dict)
    notes: Mapping[str, Any] = value(free, "Anything.", since="1.2", default_factory=dict)


HEAD = {"version": "1.0", "name": "x"}


def test_a_document_comes_back_equal():
    tree = Tree(
        name="x", code="12", leaves=(Leaf(size=1),), by_name={"a": Leaf(size=2, word="blue")}, notes={"n": -0.5}
    )
    assert Tree.from_dict(tree.to_dict()) == tree


def test_a_field_is_left_out_while_it_holds_its_default_and_means_it_where_it_is_absent():
    assert Tree(name="x", leaves=[]).to_dict() == HEAD
    assert Tree.from_dict(HEAD) == Tree(name="x")
    assert Tree.from_dict({**HEAD, "code": None, "leaves": []}) == Tree(name="x")


def test_a_document_that_gains_a_field_reads_what_was_written_before_and_writes_it_back_as_it_was():
    @record(kw_only=True, slots=False)
    class Grown(Tree):
        """A tree of a later version."""

        age: int = value(count, "Its age.", since="1.3", default=7)

    old = {**HEAD, "leaves": [{"size": 1}]}
    assert Grown.from_dict(old).age == 7
    assert Grown.from_dict(old).to_dict() == old
    assert Grown.from_dict({**old, "age": 8}).to_dict() == {**old, "age": 8}


def test_the_schema_is_made_of_what_the_fields_declare():
    schema, defs = object_schema(Tree)
    assert schema["required"] == ["version", "name"]
    assert schema["properties"]["notes"] == {"$ref": "#/$defs/free", "description": "Anything. Since 1.2."}
    assert schema["properties"]["leaves"]["items"] == {"$ref": "#/$defs/leaf"}
    assert defs["leaf"]["required"] == ["size"]
    assert defs["leaf"]["description"] == "A leaf."
    assert set(defs) == {"leaf", "count", "free", "anything"}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "$: must be an object"),
        ({"version": "1.0"}, "$.name: is missing"),
        ({**HEAD, "name": 3}, "$.name: must be text"),
        ({**HEAD, "code": "1a"}, "$.code: must be digits, not '1a'"),
        ({**HEAD, "leaves": {}}, "$.leaves: must be a list"),
        ({**HEAD, "leaves": [{"size": 1, "word": "red"}, {"size": True, "word": "red"}]},
         "$.leaves[1].size: must be a whole number of 0 or more"),
        ({**HEAD, "by_name": {"a\x1b": {"size": 1, "word": "green"}}},
         "$.by_name.a\\x1b.word: must be one of red, blue, not 'green'"),
        ({**HEAD, "notes": [1]}, "$.notes: must be an object"),
        ({**HEAD, "notes": {"a": {"$float": "1"}}}, "$.notes.a: '1' is no tagged number"),
        ({**HEAD, "more": 1}, "$.more: is no field of this version"),
    ],
)  # fmt: skip
def test_an_error_carries_the_path_to_its_value(data, sentence):
    with pytest.raises(ManifestError) as caught:
        Tree.from_dict(data)
    assert str(caught.value) == sentence


def test_relaxed_reading_keeps_what_it_does_not_know_and_new_words():
    data = {**HEAD, "leaves": [{"size": 1, "word": "green", "age": 3}], "more": {"$float": "odd"}}
    tree = Tree.from_dict(data, relaxed=True)
    assert tree.unknown == {"more": {"$float": "odd"}}
    assert tree.leaves[0].word == "green"
    assert tree.to_dict() == data
