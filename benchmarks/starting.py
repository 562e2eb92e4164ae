"""Rows 1 to 3: commands on a small file, where starting is most of the work."""

import sys

from benchmarks.bench import Bench, Row, peer
from benchmarks.data import make
from benchmarks.measure import Result, compare_processes, run

__all__ = ["ROWS"]


def _help(bench: Bench) -> list[Result]:
    both = compare_processes(bench.ckpt("--help"), [sys.executable, "-c", "pass"], bench.rounds(25))
    return [Result.of(1, "ckpt --help, whole process", "python -c pass", 5, both)]


def _convert(bench: Bench) -> list[Result]:
    make("network", source := bench.path("dqn.pth"))
    ours = bench.ckpt("convert", source, bench.path("out"))
    theirs = peer("torch_convert", source, bench.path("out.safetensors"))
    both = compare_processes(ours, theirs, bench.rounds(9), bench.clean_slate("out", "out.safetensors"))
    return [Result.of(2, "ckpt convert, 6.7 MB, whole process", "torch.load + save_file", 1 / 8, both)]


def _validate(bench: Bench) -> list[Result]:
    make("network", source := bench.path("dqn.pth"))
    run(bench.ckpt("convert", "--quiet", source, bench.path("valid")))
    ours = bench.ckpt("validate", bench.path("valid"))
    both = compare_processes(ours, [sys.executable, "-c", "import torch"], bench.rounds(9))
    return [Result.of(3, "ckpt validate, 6.7 MB, every byte, whole process", "python -c 'import torch'", 1 / 8, both)]


ROWS = (Row(1, _help), Row(2, _convert), Row(3, _validate))
