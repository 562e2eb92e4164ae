"""Text is told as text; only what ends as a pickle of protocol 0 is tried as one."""

import pickle

import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy.open import read


def refusal(tmp_path, data: bytes) -> str:
    (tmp_path / "case").write_bytes(data)
    with pytest.raises(SourceError) as error:
        read(tmp_path / "case")
    return str(error.value).removeprefix(f"{tmp_path}/case: ")


@pytest.mark.parametrize(
    "text",
    [
        "import torch\nimport torch.nn as nn\n\nclass DQN(nn.Module):\n    pass\n", "class DQN(nn.Module):\n",
        "config:\n  env: Pong\n", "{}\n", "I1\n", "cposix\nsystem\n(S'touch x'\ntR.\n", "grün\n", "a", "KK",
    ],
)  # fmt: skip
def test_text_is_told_as_text_whatever_its_first_letter(tmp_path, text):
    assert refusal(tmp_path, text.encode()) == (
        "is text, not a checkpoint; give the file of weights that PyTorch saved"
    )


@pytest.mark.parametrize(
    "path",
    [
        "../../blobs/0123456789abcdef0123456789abcdef01234567", "data/weights.pt", "./dqn.pth\n",
        ".git/annex/objects/xx/yy/SHA256E-s12--01.pt/SHA256E-s12--01.pt", "/annex/objects/SHA256E-s12--01.pt\n",
    ],
)  # fmt: skip
def test_the_text_of_a_link_is_told_with_where_it_leads(tmp_path, path):
    assert refusal(tmp_path, path.encode()) == (
        f"is the text of a link to '{path.strip()}', which was not kept as one; fetch what it names: "
        "clone with git config core.symlinks true, git annex get, or copy with cp -L"
    )


@pytest.mark.parametrize("text", ["https://host/dqn.pth", "and/or what", "a/b\nc/d\n", "/etc/passwd", "x/" * 600 + "y"])
def test_other_text_with_slashes_is_no_link(tmp_path, text):
    assert refusal(tmp_path, text.encode()).startswith("is text, not a checkpoint")


def test_a_sentence_that_ends_as_a_pickle_does_is_text_as_well(tmp_path):
    assert refusal(tmp_path, b"Hello.").startswith("is text, not a checkpoint")


def test_a_pickle_that_is_text_is_read_and_one_that_calls_is_refused(tmp_path):
    (tmp_path / "case").write_bytes(pickle.dumps({"a": [1, "x"]}, 0))
    with read(tmp_path / "case") as file:
        assert file.members[""] == {"a": [1, "x"]}
    assert refusal(tmp_path, b"cposix\nsystem\n(S'touch x'\ntR.").startswith("refused, its pickle calls posix.system")


@pytest.mark.parametrize("data", [b"4\n1\n3\nV 1\n13\nnn.Sequential\n", b"3\n1\n5\n"])
def test_a_file_of_lua_is_told(tmp_path, data):
    assert refusal(tmp_path, data) == (
        "is a file of Torch7 (Lua) as text, which is not read here; "
        "save it in the binary form, which torch.save(file, object) writes"
    )
