"""What sharing, showing and converting cost follows the size of what they are given: counted over n, 2n and 4n."""

import dataclasses
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="jinja2 is not installed")

import ckptfmt
from ckptfmt.format.manifest import Lineage
from ckptfmt.look.anatomy import summarize_source
from ckptfmt.look.lineage import find_checkpoints, lineage
from ckptfmt.report import report
from ckptfmt.share.export.torchfile import StoredTensor, torch_bytes
from ckptfmt.share.gitdriver.describe import describe
from ckptfmt.share.gitdriver.merge import merge
from ckptfmt.share.pack import pack, unpack
from ckptfmt.store.write import update_manifest
from tests.counted import is_linear, steps

SIZES = (40, 80, 160)


def tensors(number):
    return {f"layer{i}.weight": np.full((2, 2), i, "f4") for i in range(number)}


@pytest.fixture
def saved(tmp_path):
    def make(number, **parts):
        path = tmp_path / f"saved-{number}"
        ckptfmt.save(path, tensors(number), **parts).close()
        return path

    return make


def counted(make, work):
    """Return the steps of `work` on what `make` makes of each size; the first is done once before it counts."""
    made = [make(number) for number in (SIZES[0] - 1, *SIZES)]
    return [steps(lambda one=one: work(one)) for one in made][1:]


def test_a_text_for_git_is_made_in_linear_time(saved):
    assert is_linear(counted(saved, lambda path: list(describe(path / "manifest.json"))))


def test_evaluations_of_two_branches_are_united_in_linear_time(tmp_path):
    def make(number):
        sides = {}
        for side in ("base", "ours", "theirs"):
            sides[side] = tmp_path / f"{side}-{number}"
            if side == "base":
                ckptfmt.save(sides[side], {"a": np.zeros(2)}).close()
            else:
                shutil.copytree(sides["base"], sides[side])
                new = tuple({side: i} for i in range(number))
                update_manifest(sides[side], lambda m, new=new: dataclasses.replace(m, evaluation=new))
        return [str(path / "manifest.json") for path in sides.values()]

    ours = make(3)
    assert [*json.loads(merge(*ours))["evaluation"]] == [
        *({"ours": i} for i in range(3)),
        *({"theirs": i} for i in range(3)),
    ]
    # Each comparison with a list is one step of Python and as many of C: where it is made, this takes minutes.
    assert len(json.loads(merge(*make(20_000)))["evaluation"]) == 40_000


def test_a_chain_of_parents_is_followed_in_linear_time(tmp_path):
    def make(number):
        root, parent = tmp_path / str(number), None
        for i in range(number):
            line = Lineage(kind="resumed", parent=parent) if parent else None
            with ckptfmt.save(root / f"{i:04d}", {"a": np.full(2, i)}, lineage=line) as one:
                parent = one.manifest.manifest_digest
        return root

    last = make(5) / "0004"
    assert len(lineage(last, [last.parent]).nodes) == 5
    assert is_linear(counted(make, lambda root: lineage(max(root.iterdir()), [root])))
    assert is_linear(counted(lambda n: tmp_path / str(n), lambda root: list(find_checkpoints(root))))


def test_a_page_is_made_in_linear_time(saved):
    def make(number):
        facts = {f"fact{i}": [i] for i in range(number)}
        return saved(number, training_info=facts, evaluation=[{"mean": i} for i in range(number)])

    assert is_linear(counted(make, lambda path: report(path)))


def test_a_run_is_packed_and_unpacked_in_linear_time(tmp_path):
    def make(number):
        root = tmp_path / f"run-{number}"
        root.mkdir()
        for i in range(number):
            (root / f"file-{i}").write_bytes(bytes([i % 251]) * 100 + str(i).encode())
        return root

    assert is_linear(counted(make, lambda root: pack(root, f"{root}.ckptpack")))
    assert is_linear(counted(lambda n: tmp_path / f"run-{n}", lambda root: unpack(f"{root}.ckptpack", f"{root}-again")))


def test_a_torch_file_is_written_in_linear_time():
    def make(number):
        return {name: StoredTensor("F32", array.shape, array.tobytes) for name, array in tensors(number).items()}

    assert is_linear(counted(make, torch_bytes))


KINDS = {
    "layers": tensors,
    "networks": lambda n: {
        f"net{i}": {"fc.weight": np.ones((2, 3), "f4"), "fc.bias": np.zeros(2, "f4")} for i in range(n)
    },
    "facts": lambda n: {"net": tensors(2), **{f"fact{i}": i for i in range(n)}},
    "optimizers": lambda n: {
        "net": tensors(2),
        "optimizer": {"state": {i: {"exp_avg": np.ones((2, 2), "f4")} for i in range(n)}, "param_groups": [{"lr": 1}]},
    },
    "one-tensor-often": lambda n: dict.fromkeys(map(str, range(n)), np.ones((2, 2), "f4")),
    "streams": lambda n: {
        f"{kind}.{i}.weight": np.ones((2, 2), "f4") for i in range(n) for kind in ("actor", "critic")
    },
    "deep-names": lambda n: {
        ".".join(f"a{j}" for j in range(i % 20)) + f".{i}.weight": np.ones((2, 2), "f4") for i in range(n)
    },
    "numbers": lambda n: {
        "net": tensors(2),
        "rewards": list(range(n)),
        "epsilons": [{"x": float(i)} for i in range(n)],
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_foreign_file_is_told_and_converted_in_linear_time(tmp_path, kind):
    def make(number):
        path = Path(tmp_path) / f"{number}.pkl"
        path.write_bytes(pickle.dumps(KINDS[kind](number)))
        return path

    assert is_linear(counted(make, summarize_source))
    assert is_linear(counted(make, lambda path: ckptfmt.convert(path, path.with_suffix(""), architecture="none")))
