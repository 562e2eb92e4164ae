"""Files inside a pickle are read by the same interpreter, one deep, and what is none stays bytes."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy.open import read


def torch_zip(value):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, 2))
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def members(tmp_path, value, **options):
    (tmp_path / "case.pkl").write_bytes(pickle.dumps(value, 4))
    with read(tmp_path / "case.pkl", **options) as file:
        return file, file.members[""]


def test_a_file_of_d3rlpy_is_its_torch_file_and_its_config_a_text(tmp_path):
    config = json.dumps({"observation_shape": [4, 84, 84]})
    value = {"torch": torch_zip({"q_funcs": {"w": np.ones((2, 3))}}), "config": config, "version": "2.8.1"}
    file, found = members(tmp_path, value)
    assert (file.container, file.texts) == ("d3rlpy", {"config": config.encode()})
    assert found["torch"]["q_funcs"]["w"].numbers() == [1] * 6
    assert found["version"] == "2.8.1"


def test_a_pickle_in_a_pickle_is_read_as_rllib_writes_it(tmp_path):
    worker = pickle.dumps({"state": {"default_policy": {"weights": {"fc/kernel": np.ones((2, 3))}}}}, 5)
    file, found = members(tmp_path, {"worker": worker, "iteration": 3})
    assert (file.container, file.texts) == ("pickle", {})
    assert found["worker"]["state"]["default_policy"]["weights"]["fc/kernel"].shape == (2, 3)


@pytest.mark.parametrize("data", [b"\x80\x04nothing", b"PK\x03\x04nothing", b"\x80\x04N.N", b"hello", b""])
def test_bytes_that_are_no_file_stay_bytes(tmp_path, data):
    file, found = members(tmp_path, {"blob": data, "w": np.ones(2)})
    assert found["blob"] == data
    assert file.warnings == ()


class Attack:
    def __reduce__(self):
        return os.system, ("touch attacked",)


def test_an_attack_in_bytes_that_nobody_reads_is_said_and_stays_bytes(tmp_path):
    blob = pickle.dumps(Attack(), 4)
    file, found = members(tmp_path, {"blob": blob, "w": np.ones(2)})
    assert found["blob"] == blob
    assert [(problem.code, problem.where) for problem in file.warnings] == [("source.skipped", "blob")]
    assert "posix.system" in file.warnings[0].message
    _, read_on = members(tmp_path, {"blob": blob}, allow_unsafe=True)
    assert read_on["blob"].kind == "call"


def test_files_in_files_in_files_are_not_looked_for(tmp_path):
    deep = pickle.dumps({"deeper": pickle.dumps({"w": np.ones(2)}, 4)}, 4)
    _, found = members(tmp_path, {"deep": deep})
    assert isinstance(found["deep"]["deeper"], bytes)


def test_what_inner_files_cost_is_paid_from_one_budget(tmp_path):
    bomb = b"\x80\x02]" + b"(" + b"N" * 999_000 + b"e."
    with pytest.raises(SourceError, match="takes more than"):
        members(tmp_path, {f"blob{i}": bomb for i in range(6)})
