"""Every way to look at a checkpoint, over every kind of checkpoint that there is."""

import shutil
from pathlib import Path

import pytest
from ckptfmt.cli.main import main

VALID = Path(__file__).resolve().parents[2] / "fixtures" / "valid"
LOOKS = [
    "inspect",
    "inspect --stats",
    "inspect --stats --json",
    "inspect --no-tensors",
    "inspect --filter * --sort size",
    "inspect --filter * --sort name --stats",
    "inspect --line",
    "validate",
    "validate --fast --select weights.*",
    "validate --ignore weights.* --format github",
    "validate --format json",
    "lineage --graph dot",
    "lineage --json",
    "diff SAME",
    "diff SAME --stat --json",
    "diff SAME --name-only --rtol 0.1 --atol 0.1",
    "diff SAME --name-status --only weights",
    "diff SAME --md --ignore manifest --sort name",
]
PAGES = ["report --spectrum -o PAGE", "report --no-weights --force -o PAGE", "report SAME --force -o PAGE"]


@pytest.fixture
def checkpoint(request, tmp_path):
    # A copy: whoever looks takes what lies beside it for its kin.
    shutil.copytree(VALID / request.param / "checkpoint", tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def looked(look: str, checkpoint: Path, capsys) -> tuple[int, str]:
    words = {"SAME": str(checkpoint), "PAGE": str(checkpoint.parent / "page.html")}
    command, *rest = look.split()
    code = main([command, str(checkpoint), *(words.get(word, word) for word in rest)])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("checkpoint", sorted(path.name for path in VALID.iterdir()), indirect=True)
def test_every_checkpoint_is_looked_at_in_every_way(checkpoint, capsys):
    found = {look: looked(look, checkpoint, capsys) for look in LOOKS}
    # 1 is an answer too: a parent that is not there.
    assert {look: said for look, said in found.items() if said[0] > 1 or "error" in said[1]} == {}


@pytest.mark.parametrize("checkpoint", sorted(path.name for path in VALID.iterdir()), indirect=True)
def test_every_checkpoint_has_a_page(checkpoint, capsys):
    pytest.importorskip("jinja2", reason="jinja2 is not installed")
    found = {look: looked(look, checkpoint, capsys) for look in PAGES}
    assert {look: said for look, said in found.items() if said[0] != 0 or "error" in said[1]} == {}
