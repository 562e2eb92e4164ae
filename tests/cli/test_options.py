from importlib import import_module

import click
import pytest
from ckptfmt.cli.main import COMMANDS
from ckptfmt.cli.options import Argument
from ckptfmt.cli.ranges import Number


def parameters():
    for name in (name for section in COMMANDS.values() for name in section):
        command = getattr(import_module(f"ckptfmt.cli.commands.{name}"), name)
        for parameter in command.params:
            yield click.Context(command, info_name=name), parameter


def test_no_path_is_empty():
    taken = []
    for context, parameter in parameters():
        if isinstance(parameter, Argument) or isinstance(parameter.type, click.Path):
            word = ("",) if parameter.multiple or parameter.nargs == -1 else ""
            try:
                parameter.process_value(context, word)
            except click.BadParameter:
                continue
            taken.append((context.info_name, parameter.name))
    assert taken == []


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["pack", "out", ""], "pack: FILE"),
        (["inspect", ""], "inspect: CHECKPOINT"),
        (["convert", "f", "--out-dir", ""], "convert: --out-dir"),
        (["play", "out", "--trace", ""], "play: --trace"),
    ],
)
def test_an_empty_word_is_shown_as_one(ckpt, words, what):
    run = ckpt(*words)
    command = words[0]
    assert (run.code, run.out) == (2, "")
    assert run.err == (f"error: ckpt {what}: '' names nothing; see: ckpt {command} --help\n")


def test_no_number_is_nan():
    loose = [
        (context.info_name, parameter.name)
        for context, parameter in parameters()
        if isinstance(parameter.type, click.types.FloatParamType) and not isinstance(parameter.type, Number)
    ]
    assert loose == []


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["evaluate", "out", "--epsilon", "nan"], "evaluate: --epsilon: 'nan' is not a finite number"),
        (["diff", "a", "b", "--rtol", "nan"], "diff: --rtol: 'nan' is not a finite number"),
        (["convert", "f", "out", "--v-min", "-inf"], "convert: --v-min: '-inf' is not a finite number"),
        (["convert", "f", "out", "--input-scale", "0"], "convert: --input-scale: must be more than 0, not 0.0"),
        (["convert", "f", "out", "--n-atoms", "0"], "convert: --n-atoms: must be 1 or more, not 0"),
    ],
)
def test_a_number_that_is_none_is_refused_with_its_option(ckpt, words, what):
    run = ckpt(*words)
    assert (run.code, run.out) == (2, "")
    assert run.err == f"error: ckpt {what}; see: ckpt {words[0]} --help\n"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("schema --list --version 3", "--list excludes NAME and --version"),
        ("validate --explain weights.shape out", "--explain and CHECKPOINT exclude each other"),
        ("convert a b --jobs 3", "--jobs is for many files: say where they go with --out-dir DIR"),
        ("inspect out --no-tensors --tensor x", "--tensor and --no-tensors exclude each other"),
        ("play out --saliency-every 2", "--saliency-every and --trace-steps need --trace FILE"),
    ],
)
def test_an_option_that_cannot_act_is_refused(ckpt, words, what):
    run = ckpt(*words.split())
    command = words.split()[0]
    assert (run.code, run.out, run.err) == (2, "", f"error: ckpt {command}: {what}; see: ckpt {command} --help\n")
