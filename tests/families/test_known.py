"""What is known of families, as people and programs are told it."""

import pytest
from jsonschema import Draft202012Validator

from ckptfmt.errors import CkptError
from ckptfmt.families import registry
from ckptfmt.families.known import known_families, known_family


def test_every_family_says_what_tells_it_and_what_its_weights_never_say():
    found = known_families()
    assert [family.name for family in found] == list(registry.own())
    for family in found:
        assert all((family.names, family.told_by, family.never))
        assert family.package == "ckptfmt"
        assert all(family.fields.values())
        Draft202012Validator.check_schema(dict(family.schema))


def test_a_family_that_nobody_installed_is_named_with_those_that_are_there():
    with pytest.raises(CkptError) as caught:
        known_family("lab/none")
    assert caught.value.what == "there is no family lab/none here"
    assert caught.value.fix.startswith("use one of action-value, actor-critic, ")
