"""Settings in files beside the weights: read as text, whatever they ask for."""

import json
import os
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ckptfmt.convert.companions import read_companions
from ckptfmt.convert.convert import convert

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

ZOO = """\
!!python/object/apply:collections.OrderedDict
- - - algo
    - dqn
  - - env
    - PongNoFrameskip-v4
  - - seed
    - 7
"""
BOMB = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefghij", "bcdefghijk", strict=True))


def beside(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / name.replace("__", ".")).write_text(text)
    return tmp_path / "dqn_best.pth"


def test_files_that_are_called_like_settings_or_like_the_weights_are_read(tmp_path):
    path = beside(
        tmp_path, config__yaml="lr: 1e-4\nnet:\n  atoms: 51\n  dueling: true\nnames: [a, b]\nquoted: '7'\nnone: ~\n",
        dqn_best__json='{"n_step": 3}', notes__json='{"secret": 1}', README__md="# x",
    )  # fmt: skip
    found, problems = read_companions(str(path))
    assert problems == ()
    assert found == {
        "config.yaml": {
            "lr": 1e-4, "net": {"atoms": 51, "dueling": True}, "names": ["a", "b"], "quoted": "7", "none": None,
        },
        "dqn_best.json": {"n_step": 3},
    }  # fmt: skip


def test_an_ordered_dict_of_a_zoo_is_a_dict_and_its_tag_makes_nothing(tmp_path):
    found, _ = read_companions(str(beside(tmp_path, args__yml=ZOO)))
    assert found == {"args.yml": {"algo": "dqn", "env": "PongNoFrameskip-v4", "seed": 7}}


def test_a_tag_that_names_a_call_is_text(tmp_path):
    text = "a: !!python/object/apply:os.system ['touch attacked']\nb: 1\n"
    found, _ = read_companions(str(beside(tmp_path, config__yaml=text)))
    assert found == {"config.yaml": {"a": ["touch attacked"], "b": 1}}
    assert not Path("attacked").exists()


@pytest.mark.parametrize(
    ("name", "text"),
    [("config.yaml", BOMB), ("config.yaml", "a: [" * 500), ("config.yaml", "{" * 30 + "}" * 30), ("config.json", "{"),
     ("config.json", '{"a": NaN}'), ("config.yaml", "- x\n" * 30_000), ("config.yaml", "a: \x07")],
)  # fmt: skip
def test_what_is_hostile_or_wrong_is_said_and_costs_nothing(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    begin = time.process_time()
    found, (problem,) = read_companions(str(tmp_path / "x.pth"))
    assert time.process_time() - begin < 5
    assert found == {}
    assert problem.code == "source.skipped"
    assert problem.message.startswith(f"{name} beside it ")
    assert problem.message.endswith(", so nothing is taken from it")


def test_all_of_them_together_cost_what_one_may_and_are_parsed_once_for_a_folder(tmp_path):
    for number, name in enumerate(("args", "config", "params", "settings")):
        (tmp_path / f"{name}.yaml").write_text(f"a: {number}\nb: '" + "\\" * 100_000 + "'\n")
    begin = time.process_time()
    found, problems = read_companions(str(tmp_path / "x.pth"))
    first = time.process_time() - begin
    assert list(found) == ["args.yaml", "config.yaml"]
    said = "is more than the 262,144 bytes allowed, with the others there, so nothing is taken from it"
    assert [problem.message for problem in problems] == [
        f"{name}.yaml beside it {said}" for name in ("params", "settings")
    ]
    for number in range(20):
        assert read_companions(str(tmp_path / f"{number}.pth"))[0] == found
    # Twenty times as long, if each were parsed again.
    assert time.process_time() - begin - first < 2 * first


def test_links_pipes_and_large_files_are_not_read(tmp_path):
    (tmp_path / "secret.json").write_text('{"a": 1}')
    (tmp_path / "config.json").symlink_to("secret.json")
    os.mkfifo(tmp_path / "args.json")
    (tmp_path / "params.json").write_text("[" + "1," * 600_000 + "1]")
    assert read_companions(str(tmp_path / "x.pth")) == ({}, ())


def test_without_pyyaml_a_yaml_file_is_said_not_to_be_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    found, (problem,) = read_companions(str(beside(tmp_path, config__yaml="a: 1")))
    assert found == {}
    assert problem.message == (
        "config.yaml beside it needs PyYAML, which is not installed, so nothing is taken from it"
    )


def test_they_become_training_info_and_name_the_game(tmp_path):
    path = beside(tmp_path, args__yml=ZOO)
    path.write_bytes(pickle.dumps({"w": np.ones((2, 3), "f4")}))
    convert(path, tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["training_info"]["args.yml"]["seed"] == 7
    assert manifest["environment"] == {"id": "PongNoFrameskip-v4"}
