"""One list of facts: keywords, options, what a source declares, and what a classification takes are the same."""

import inspect
import re
from dataclasses import fields
from typing import get_type_hints

from ckptfmt.cli.commands.convert import convert as command
from ckptfmt.cli.wording import OPTIONS

import ckptfmt
from ckptfmt.families.atari_dqn.config import ARCHITECTURES, ModelConfig
from ckptfmt.families.evidence import Facts
from ckptfmt.families.facts import DECLARED, FACTS, Given, known
from ckptfmt.format.document import fields_of


def test_the_keywords_of_convert_are_the_facts():
    (words,) = [p for p in inspect.signature(ckptfmt.convert).parameters.values() if p.kind is p.VAR_KEYWORD]
    assert words.annotation.__args__ == (Given,)
    assert set(get_type_hints(Given)) == set(FACTS)


def test_the_options_of_convert_are_the_facts():
    options = {parameter.name: parameter for parameter in command.params}
    for name, about in FACTS.items():
        assert options[name].opts == [OPTIONS[name]]
        assert options[name].help == about


def test_the_architecture_that_help_names_is_one():
    named = re.search(r"for example ([^;]+);", FACTS["architecture"])
    assert named is not None
    assert named[1] in ARCHITECTURES


def test_a_classification_takes_every_fact():
    assert {field.name for field in fields(Facts)} - {"encoder", "actions", "more", "declared"} == set(FACTS)


def test_what_a_source_declares_are_fields_of_its_config():
    assert set(DECLARED) <= set(fields_of(ModelConfig))
    assert known({"n_action": 3, "v_min": None, "game": "Pong"}) == {"n_action": 3}
