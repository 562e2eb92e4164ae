"""What is known of families, as people and programs are told it."""

import subprocess
import sys

import pytest
from jsonschema import Draft202012Validator

from ckptfmt.errors import CkptError
from ckptfmt.families import known_families, known_family, registry


def test_every_family_says_what_tells_it_and_what_its_weights_never_say():
    found = known_families()
    assert [family.name for family in found] == list(registry.own())
    for family in found:
        assert all((family.names, family.told_by, family.never))
        assert family.package == "ckptfmt"
        assert all(family.fields.values())
        Draft202012Validator.check_schema(dict(family.schema))


def test_families_are_reached_as_a_public_name_of_the_library():
    program = """
import sys, ckptfmt
print(ckptfmt.families.known_family("atari-dqn").package, len(ckptfmt.families.known_families()) > 5)
import ckptfmt.families.registry
print(ckptfmt.families.registry.names()[0], "families" in dir(ckptfmt), "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ckptfmt True\naction-value True False\n", "")


def test_a_family_that_nobody_installed_is_named_with_those_that_are_there():
    with pytest.raises(CkptError) as caught:
        known_family("lab/none")
    assert caught.value.what == "there is no family lab/none here"
    assert caught.value.fix.startswith("use one of action-value, actor-critic, ")
