"""What everything costs follows the size of what it is given: counted in steps over n, 2n and 4n, never in time."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import ckptfmt
from ckptfmt.convert.batch import convert_many
from ckptfmt.convert.sources import find_sources
from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.safetensors import parse_header
from ckptfmt.store.clean import clean
from ckptfmt.store.forms import compress, decompress
from ckptfmt.store.repair import repair
from tests.counted import is_linear, steps

# Larger ones take minutes where every instruction is counted.
SIZES = tuple(map(int, os.environ.get("CKPT_GROWTH", "60,120,240").split(",")))


@pytest.fixture(autouse=True)
def imported(tmp_path_factory):
    """Whatever waits to be imported is, so that the first run counts no more than the others."""
    path = tmp_path_factory.mktemp("imported")
    for name in "ab":
        ckptfmt.save(path / name, {name: np.ones(2)}, training_info={name: [name]}, compress=True).close()
        compress(path / name, everything=True)
        decompress(path / name)
        ckptfmt.validate(path / name)
    (path / "b" / "stray").touch()
    ckptfmt.diff(path / "a", path / "b")
    (path / "b" / "manifest.json").write_text("{}")
    ckptfmt.validate(path / "b")


def tensors(number, prefix="t"):
    return {f"{prefix}{i}": np.full(2, i, np.float32) for i in range(number)}


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves a checkpoint of so many tensors."""

    def make(number, name="a", prefix="t", **parts):
        path = tmp_path / f"{name}-{number}"
        ckptfmt.save(path, tensors(number, prefix), **parts).close()
        return path

    return make


def test_renamed_tensors_are_compared_in_linear_time(saved):
    pairs = [(saved(n, "a", "x"), saved(n, "b", "y")) for n in SIZES]
    found = [ckptfmt.diff(*pair, only=["weights"]) for pair in pairs]
    assert [diff.counts["renamed"] for diff in found] == list(SIZES)
    assert is_linear([steps(lambda pair=pair: ckptfmt.diff(*pair, only=["weights"])) for pair in pairs])


def test_tensors_that_are_lost_are_restored_in_linear_time(saved):
    pairs = [(saved(n, "lost"), saved(n, "whole", "w")) for n in SIZES]
    for lost, _ in pairs:
        file = lost / WEIGHTS
        data = file.read_bytes()
        begin = 8 + int.from_bytes(data[:8], "little")
        file.write_bytes(data[:begin] + bytes(len(data) - begin))
    done = [repair(lost, siblings=[whole], dry_run=True) for lost, whole in pairs]
    # The first of all tensors is zero as it was.
    assert [len(one.restored) for one in done] == [n - 1 for n in SIZES]
    assert is_linear([steps(lambda p=p: repair(p[0], siblings=[p[1]], dry_run=True)) for p in pairs])


@pytest.mark.parametrize("named", ["one-target", "many-targets"])
def test_what_died_is_cleaned_in_linear_time(tmp_path, named):
    def leave(number):
        root = tmp_path / str(number)
        root.mkdir()
        for i in range(number):
            stem = "out" if named == "one-target" else f"out-{i}"
            (root / f".{stem}.ckpt-stage-{i:016x}").mkdir()
        return root

    roots = [leave(number) for number in SIZES]
    counted = [steps(lambda root=root: clean(root)) for root in roots]
    assert [os.listdir(root) for root in roots] == [[], [], []]
    assert is_linear(counted)


def crowd(folder: Path, number: int) -> Path:
    """Return a folder with so many others in it."""
    folder.mkdir(parents=True)
    for i in range(number):
        (folder / f"other-{i}").mkdir()
    return folder


def test_a_file_of_a_batch_costs_the_same_among_two_thousand_and_among_thirty_two_thousand(tmp_path):
    def convert(number):
        sources, out = (crowd(tmp_path / name / str(number), number) for name in ("sources", "out"))
        np.savez(sources / "net.npz", **{"fc.0.weight": np.zeros((4, 4), "f4"), "fc.0.bias": np.zeros(4, "f4")})
        items = [(str(sources / "net.npz"), str(out / "net"))]
        work = lambda: [one.status for one in convert_many(items, overwrite=True, architecture="none")]  # noqa: E731
        assert work() == ["converted"]
        return steps(work)

    few, many = convert(2_000), convert(32_000)
    assert many - few < 30_000 / 10  # one look at each of the others would be 30,000; threads differ by some hundred


def test_the_files_of_a_batch_are_found_in_linear_time(tmp_path):
    def make(number):
        root = tmp_path / str(number)
        for i in range(number):
            (root / f"{i % 10}").mkdir(parents=True, exist_ok=True)
            (root / f"{i % 10}" / f"net-{i}.pth").write_bytes(b"PK\3\4")
            # Two of one stem keep their suffixes, and files called as folders are kept apart.
            (root / f"{i % 10}" / f"net-{i}.pt").write_bytes(b"PK\3\4")
        return root

    roots = [make(number) for number in SIZES]
    assert [len(find_sources([root], tmp_path / "out").items) for root in roots] == [2 * n for n in SIZES]
    assert is_linear([steps(lambda root=root: find_sources([root], tmp_path / "out")) for root in roots])


def test_tensors_are_validated_in_linear_time(saved):
    paths = [saved(n) for n in SIZES]
    assert is_linear([steps(lambda path=path: ckptfmt.validate(path)) for path in paths])


def test_tensors_that_are_damaged_are_found_in_linear_time(saved):
    paths = [saved(n) for n in SIZES]
    for path in paths:
        data = (path / WEIGHTS).read_bytes()
        begin = 8 + int.from_bytes(data[:8], "little")
        (path / WEIGHTS).write_bytes(data[:begin] + b"\xff" * (len(data) - begin))
    assert [len(ckptfmt.validate(path).errors) for path in paths] == list(SIZES)
    assert is_linear([steps(lambda path=path: ckptfmt.validate(path)) for path in paths])


def test_wrong_fields_are_told_in_linear_time(saved):
    paths = [saved(n) for n in SIZES]
    for path in paths:
        text = (path / "manifest.json").read_text()
        (path / "manifest.json").write_text(text.replace('"dtype": "F32"', '"dtype": "F33"'))
    assert [len(ckptfmt.validate(path).errors) > number for path, number in zip(paths, SIZES, strict=True)] == [
        True
    ] * 3
    assert is_linear([steps(lambda path=path: ckptfmt.validate(path)) for path in paths])


def test_stray_files_are_told_in_linear_time(saved):
    paths = [saved(4, f"stray-{n}") for n in SIZES]
    for path, number in zip(paths, SIZES, strict=True):
        for i in range(number):
            (path / f"stray-{i}").touch()
    assert is_linear([steps(lambda path=path: ckptfmt.validate(path)) for path in paths])


FACTS = {
    "keys": lambda n: {f"k{i}": i for i in range(n)},
    "lists": lambda n: {"x": [[i, [i]] for i in range(n)]},
    "texts": lambda n: {"x": ['\n"é' * 5] * n},
    "numbers": lambda n: {"x": [float("nan"), 2.0**60, 2**60, 1e-7] * n},
    "deep": lambda n: {"x": [nested(40) for _ in range(n // 10)]},
}


def nested(depth):
    return {"a": nested(depth - 1)} if depth else 1.5


@pytest.mark.parametrize("kind", FACTS)
def test_facts_are_saved_and_read_in_linear_time(tmp_path, kind):
    facts = [FACTS[kind](n) for n in SIZES]

    def save(number, told):
        ckptfmt.save(tmp_path / str(number), {"a": np.zeros(2)}, training_info=told, overwrite=True).close()

    save(0, {})
    assert is_linear([steps(lambda told=told: save(0, told)) for told in facts])
    for number, told in enumerate(facts):
        save(number, told)
    assert is_linear([steps(lambda n=n: ckptfmt.validate(tmp_path / str(n))) for n in range(3)])
    assert is_linear([steps(lambda n=n: ckptfmt.open(tmp_path / str(n)).close()) for n in range(3)])


def test_facts_are_compared_in_linear_time(tmp_path):
    for n in SIZES:
        for side in "ab":
            facts = {f"{side}{i}": {"x": i} for i in range(n)} | {f"k{i}": [side] * 3 for i in range(n)}
            ckptfmt.save(tmp_path / f"{side}{n}", {"a": np.zeros(2)}, training_info=facts).close()
    assert is_linear([steps(lambda n=n: ckptfmt.diff(tmp_path / f"a{n}", tmp_path / f"b{n}")) for n in SIZES])


def test_headers_are_read_in_linear_time(saved):
    def look(path):
        data = (path / WEIGHTS).read_bytes()
        return lambda: parse_header(lambda offset, size: data[offset : offset + size], len(data), where="x")

    assert is_linear([steps(look(saved(n))) for n in SIZES])


def test_a_change_of_form_is_linear(saved):
    paths = [saved(n) for n in SIZES]
    for change in (lambda path: compress(path, everything=True), decompress):
        assert is_linear([steps(lambda path=path, change=change: change(path)) for path in paths])


def test_steps_are_kept_in_linear_time(tmp_path):
    def run(number):
        folder = tmp_path / str(number)
        manager = ckptfmt.CheckpointManager(folder, keep_last=1)
        for step in range(3):
            manager.save(step, {"a": np.full(2, step)})
        one = Path(manager.path(2))
        for step in range(3, number):
            shutil.copytree(one, Path(manager.path(step)))
        return lambda: ckptfmt.CheckpointManager(folder, keep_last=1).save(number, {"a": np.zeros(2)})

    assert is_linear([steps(run(number)) for number in SIZES])
