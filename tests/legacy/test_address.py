import pytest

from ckptfmt.convert.convert import convert
from ckptfmt.convert.sources import find_sources
from ckptfmt.errors import CkptError, SourceError
from ckptfmt.legacy.open import read


@pytest.mark.parametrize(
    ("address", "fix"),
    [
        ("https://host/x.pth", "download it first: curl -LO https://host/x.pth"),
        ("https://huggingface.co/sb3/dqn/resolve/main/a b.zip",
         "download it first: curl -LO 'https://huggingface.co/sb3/dqn/resolve/main/a b.zip'"),
        ("https://huggingface.co/sb3/dqn/tree/main", "download it first: hf download sb3/dqn"),
        ("hf://sb3/dqn-Pong/x.zip", "download it first: hf download sb3/dqn-Pong"),
        ("s3://bucket/dqn.pth", "download it first: aws s3 cp s3://bucket/dqn.pth ."),
        ("gs://bucket/dqn.pth", "download it first: gcloud storage cp gs://bucket/dqn.pth ."),
        ("ssh://host/x", "download it first"),
    ],
)  # fmt: skip
def test_an_address_is_told_with_what_to_do(address, fix):
    with pytest.raises(SourceError) as refusal:
        read(address)
    assert (refusal.value.what, refusal.value.fix) == ("is an address, not a file of this machine", fix)
    assert refusal.value.code == "source.remote"
    assert str(refusal.value) == f"{address}: is an address, not a file of this machine; {fix}"


def test_a_page_of_the_hub_is_not_fetched_as_a_file(tmp_path):
    with pytest.raises(SourceError) as refusal:
        convert("https://huggingface.co/sb3/dqn/tree/main", tmp_path / "out")
    assert refusal.value.fix == "download it first: hf download sb3/dqn"


def test_an_address_of_another_kind_names_those_that_are_known(tmp_path):
    for ask in (lambda path: convert(path, tmp_path / "out"), lambda path: find_sources([path], "out")):
        with pytest.raises(CkptError) as refusal:
            ask("ssh://host/x")
        assert str(refusal.value) == (
            "ssh://host/x: is a URL of the scheme ssh, which is not known here; "
            "use one of s3, gs, az, https, http, hf, file"
        )


def test_standard_input_is_not_read_and_said_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError) as refusal:
        read("-")
    assert refusal.value.what == "is standard input, which is not read: a source is read more than once"
    (tmp_path / "-").write_text("a file of that name")
    with pytest.raises(SourceError, match="is text, not a checkpoint"):
        read("-")


def test_a_url_of_a_file_gives_its_path():
    with pytest.raises(SourceError) as refusal:
        read("file:///tmp/x.pth")
    assert refusal.value.fix == "give its path: /tmp/x.pth"


def test_a_path_with_a_colon_is_a_path(tmp_path):
    with pytest.raises(SourceError, match="there is no such file"):
        read(tmp_path / "a:b.pth")
