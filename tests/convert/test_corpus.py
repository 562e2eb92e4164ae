"""Real legacy files with their expected answers, where a collection of them lies beside the project."""

import gzip
import json
from pathlib import Path

import pytest

from ckptfmt.convert.convert import convert
from ckptfmt.errors import CkptError, ConversionError, SourceError

CORPUS = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "corpus"
MUST_REFUSE = ("broken", "calls-a-function", "unknown-version")
MUST_BE_TOLD = ("reference", "same-keys", "rename", "convertible")
ENTRIES = json.loads((CORPUS / "INDEX.json").read_text()) if CORPUS.is_dir() else []
FACTS = ("n_action", "n_atoms", "v_min", "v_max")


def unpack(entry: dict, folder: Path) -> Path:
    path = CORPUS / entry["file"]
    if not entry["compressed"]:
        return path
    plain = folder / path.name.removesuffix(".gz")
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    return plain


def answer(path: Path, folder: Path, **facts) -> str | None:
    try:
        told = convert(path, folder, dry_run=True, **facts)
        return told.architecture if told.family == "atari-dqn" else None
    except (ConversionError, SourceError):
        return None


@pytest.mark.skipif(not ENTRIES, reason="no collection of real files lies beside the project")
@pytest.mark.parametrize("entry", ENTRIES, ids=[entry["file"] for entry in ENTRIES])
def test_no_file_is_taken_for_what_it_is_not(entry, tmp_path):
    path, expected, tier = unpack(entry, tmp_path), entry["expected"], entry["tier"]
    if tier.startswith(MUST_REFUSE):
        with pytest.raises(CkptError):
            convert(path, tmp_path / "out")
        return
    found = answer(path, tmp_path / "out")
    assert found in (expected["architecture"], None)
    if found is None and expected["architecture"] and tier.startswith(MUST_BE_TOLD) and tier != "reference-old-trunk":
        facts = {name: expected[name] for name in FACTS if expected.get(name) is not None}
        assert answer(path, tmp_path / "out", **facts) == expected["architecture"]
