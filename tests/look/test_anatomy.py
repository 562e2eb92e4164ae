"""What a legacy file holds, told without converting or running it."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest

from ckptfmt.errors import SourceError
from ckptfmt.look.anatomy import summarize_source

FOREIGN = Path(__file__).resolve().parent.parent.parent / "fixtures" / "foreign"
RAINBOW = next(iter(sorted(FOREIGN.glob("dueling+distributional+noisy/*.pth"))), None)


class Attack:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (os.fspath(self.canary),)


def test_a_file_that_would_be_refused_is_told_of_and_not_run(tmp_path):
    source = tmp_path / "attack.pkl"
    source.write_bytes(pickle.dumps({"weights": Attack(tmp_path / "canary")}, protocol=2))
    found = summarize_source(source)
    assert found.refusal == "refused, its pickle calls posix.mkdir; nothing was run"
    assert found.globals == ("posix.mkdir",)
    assert found.networks == ()
    assert not (tmp_path / "canary").exists()


@pytest.mark.skipif(RAINBOW is None, reason="fixtures/foreign holds no legacy file")
def test_a_network_is_told_with_its_tensors_and_the_evidence():
    found = summarize_source(RAINBOW)
    assert (found.container, found.refusal) == ("torch-zip", "")
    (network,) = found.networks
    assert network.classification["architecture"] == "dueling+distributional+noisy"
    assert network.totals["tensors"] == len(network.tensors) > 10
    assert found.to_dict()["networks"][0]["tensors"][0]["shape"] == list(network.tensors[0].shape)
    assert found.bytes == RAINBOW.stat().st_size


def test_what_is_no_checkpoint_is_refused_in_one_sentence(tmp_path):
    source = tmp_path / "page.pth"
    source.write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(SourceError) as caught:
        summarize_source(source)
    assert str(caught.value).startswith(f"{source}: ")
    assert "\n" not in str(caught.value)


def test_an_archive_without_a_pickle_is_refused(tmp_path):
    source = tmp_path / "a.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(SourceError):
        summarize_source(source)
