import json
from pathlib import Path

import pytest

from ckptfmt.convert.convert import convert
from ckptfmt.convert.unwritten import convert_in_memory
from ckptfmt.errors import CkptError, SourceError
from ckptfmt.store.checkpoint import Checkpoint

FOREIGN = Path(__file__).resolve().parent.parent.parent / "fixtures" / "foreign"
CASES = sorted(path.parent.name for path in FOREIGN.glob("*/expected.json"))
# What differs between two conversions of one file: when they were made, and whether a file was read back.
TIMES = {"created_at", "manifest_digest"}


def source(case: str) -> Path:
    return next(path for path in (FOREIGN / case).iterdir() if path.name != "expected.json")


def said(manifest) -> dict:
    told = {name: item for name, item in manifest.to_dict().items() if name not in TIMES}
    return {**told, "conversion": {**told["conversion"], "verified": None}}


@pytest.mark.parametrize("case", CASES)
def test_what_is_made_in_memory_is_what_would_be_written(case, tmp_path):
    facts = json.loads((FOREIGN / case / "expected.json").read_text()).get("facts", {})
    made = convert_in_memory(source(case), **facts)
    convert(source(case), tmp_path / "out", **facts)
    with Checkpoint(tmp_path / "out") as written:
        assert said(made.manifest) == said(written.manifest)
        assert not made.manifest.conversion.verified
        assert (made.config, made.training_info) == (written.config, written.training_info)
        assert made.names() == written.names()
        for name in written.names():
            assert made.info(name) == written.info(name)
        assert {name: bytes(made.read(name)) for name in made.stored} == {
            name: bytes(written.read(name)) for name in made.stored
        }


def test_a_source_that_is_cut_short_says_so_with_its_name(tmp_path):
    whole = source("dqn").read_bytes()
    (tmp_path / "old.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError) as in_memory:
        convert_in_memory(tmp_path / "old.pth")
    with pytest.raises(SourceError) as on_disk:
        convert(tmp_path / "old.pth", tmp_path / "out")
    assert str(in_memory.value) == str(on_disk.value)


def test_a_fact_that_is_none_is_refused_alike(tmp_path):
    with pytest.raises(CkptError) as in_memory:
        convert_in_memory(source("dqn"), n_action=7)
    with pytest.raises(CkptError) as on_disk:
        convert(source("dqn"), tmp_path / "out", n_action=7)
    assert str(in_memory.value) == str(on_disk.value)
