"""Keys, tokens and signed URLs stand nowhere: not in what commands say, nor in what they write, nor where they fail."""

import json
import os
import subprocess
import sys

import pytest
from ckptfmt.cli.main import COMMANDS, main

from ckptfmt.remote import store as stores
from ckptfmt.remote.address import parse
from ckptfmt.remote.store import open_store
from tests.remote import servers
from tests.remote.conftest import ckpt, make_checkpoint

SOURCE = "fixtures/foreign/dueling-v2/dqn_best.pth"
WRONG, SESSION = "WrongSecretThatNothingMayShow", "SessionTokenThatNothingMayShow"
SECRETS = (
    servers.SECRET, servers.KEY, servers.AZURE_KEY, WRONG, SESSION,
    "Signature=", "Credential=", "AWS4-HMAC", "SharedKey", "Bearer", "sig=",
)  # fmt: skip
# What each command is given: URL is a checkpoint in a store, NEW a place there, PATH one on the disk, OUT a free name.
WORDS = {
    "clean": [["URL"]],
    "compress": [["URL"]],
    "convert": [[SOURCE, "NEW"], ["URL", "OUT"]],
    "decompress": [["URL"]],
    "diff": [["URL", "PATH"], ["PATH", "URL", "--all"]],
    "evaluate": [["URL", "--episodes", "1"]],
    "export": [["URL", "OUT", "--to", "hub", "--no-check"], ["PATH", "NEW", "--to", "torch"]],
    "git": [["textconv", "URL"]],
    "inspect": [["URL", "--stats"], ["NEW"]],
    "lineage": [["URL"]],
    "merge": [["URL", "--out", "OUT"]],
    "pack": [["URL", "OUT"], ["PATH", "NEW"]],
    "play": [["URL", "--episodes", "1"]],
    "pull": [["URL", "OUT"]],
    "push": [["PATH", "NEW"], ["PATH", "NEW", "--all", "-v"], ["URL", "NEW"]],
    "repair": [["URL", "--in-place"]],
    "report": [["URL", "-o", "OUT"], ["PATH", "-o", "NEW"]],
    "serve": [["URL"]],
    "settle": [["URL"]],
    "sign": [["URL", "--key", SOURCE]],
    "train": [["--resume", "URL"], ["--out", "NEW", "--resume", "URL"]],
    "unpack": [["URL", "OUT"]],
    "upgrade": [["URL"]],
    "validate": [["URL"], ["URL", "--fast"]],
    "verify": [["URL", "--key", SOURCE]],
}
WITHOUT_PATHS = {"completion", "families", "schema"}


def lines(url, path, tmp_path):
    """Yield the command lines of all commands, with and without --json."""
    for command, many in WORDS.items():
        for number, words in enumerate(many):
            for style in ([], ["--json"]):
                fill = {
                    "URL": url, "PATH": str(path), "NEW": f"{url}-{command}{number}",
                    "OUT": str(tmp_path / f"{command}{number}{len(style)}"),
                }  # fmt: skip
                yield [command, *(fill.get(word, word) for word in words), *style]


def files_of(folder):
    return [file.read_bytes().decode("latin1") for file in folder.rglob("*") if file.is_file()]


def found(texts, secrets=SECRETS):
    return [(secret, text[:500]) for text in texts for secret in secrets if secret in text]


def test_every_command_is_here():
    assert {command for rows in COMMANDS.values() for command in rows} == set(WORDS) | WITHOUT_PATHS


@pytest.mark.parametrize("kind", ["s3", "azure"])
def test_no_key_is_shown_or_written_by_any_command(kind, request, tmp_path, monkeypatch, capfd):
    pytest.importorskip("torch", reason="some commands need torch")
    root = request.getfixturevalue("bucket" if kind == "s3" else "azure")
    url, path = f"{root}/c{os.urandom(4).hex()}", make_checkpoint(tmp_path / "path")
    assert main(["convert", SOURCE, url, "--quiet"]) == 0
    monkeypatch.setenv("CKPT_DEBUG", "1")
    for words in lines(url, path, tmp_path):
        main(words)
    place = parse(url)
    stored = [open_store(place).read_all(key, 1 << 24)[0].decode("latin1") for key, _ in open_store(place).list("")]
    said = "".join(capfd.readouterr())
    assert "is in a store, and this is done on a disk only" in said
    assert len(stored) > 4
    assert found([said, *stored, *files_of(tmp_path)]) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"AWS_SECRET_ACCESS_KEY": WRONG, "AWS_SESSION_TOKEN": SESSION}, "the store refuses these credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "the store cannot be reached"),
    ],
)
def test_no_key_is_shown_where_a_store_refuses_or_is_not_there(bucket, tmp_path, monkeypatch, capfd, changed, told):
    pytest.importorskip("torch", reason="some commands need torch")
    path = make_checkpoint(tmp_path / "path")
    monkeypatch.setattr(stores, "_OPEN", {})
    monkeypatch.setattr(stores, "_RETRIES", 0)
    for name, value in {**changed, "CKPT_DEBUG": "1"}.items():
        monkeypatch.setenv(name, value)
    for words in lines(f"{bucket}/c", path, tmp_path):
        # git goes on with its log, whatever cannot be shown.
        assert main(words) == (0 if words[0] == "git" else 2), words
    said = "".join(capfd.readouterr())
    assert said.count(told) > 20
    assert found([said, *files_of(tmp_path)]) == []


@pytest.mark.parametrize(
    "url", ["s3://key:5ec4e7@bucket/x", "https://host/x?X-Amz-Signature=5ec4e7", "az://c/x?sig=5ec4e7"]
)
def test_no_command_repeats_a_url_with_a_secret(url, tmp_path, capfd):
    path = make_checkpoint(tmp_path / "path")
    for words in lines(url, path, tmp_path):
        assert main(words) == 2, words
    said = "".join(capfd.readouterr())
    assert said.count("with a password or a query is refused") > 40
    assert "5ec4e7" not in said
    assert found(files_of(tmp_path), ("5ec4e7",)) == []


def test_no_token_and_no_signed_address_of_the_hub_is_shown_or_written_by_any_command(tmp_path):
    """In a process of its own: the hub's client reads its settings when it is imported."""
    pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    pytest.importorskip("torch", reason="some commands need torch")
    from tests.remote import hub as hubs

    path = make_checkpoint(tmp_path / "path")
    all_lines = [*lines("hf://owner/agent", path, tmp_path), ["validate", "hf://owner/nothing"]]
    with hubs.serving() as hub:
        environment = {**os.environ, **hubs.environment(hub, tmp_path / "home"), "CKPT_DEBUG": "1"}
        assert ckpt("convert", SOURCE, str(tmp_path / "net"), **environment).returncode == 0
        assert ckpt("push", str(tmp_path / "net"), "hf://owner/agent", "--json", "-v", **environment).returncode == 0
        text = "import json, sys; from ckptfmt.cli.main import main; [main(words) for words in json.loads(sys.argv[1])]"
        secrets = (hubs.TOKEN, "SignatureThatNothingMayShow", "hf_wrongToken1234567", "Bearer")
        pushes = [words for words in all_lines if words[0] == "push"]
        for token, some in (("hf_wrongToken1234567", pushes), (hubs.TOKEN, all_lines[1::2])):
            done = subprocess.run(
                [sys.executable, "-c", text, json.dumps(some)],
                env={**environment, "HF_TOKEN": token}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            said = done.stdout + done.stderr
            assert ("the hub refuses it (401)" in said) == (token != hubs.TOKEN)
            assert found([said, *files_of(tmp_path)], secrets) == []
        kept = [data.decode("latin1") for files in hub.commits.values() for data in files.values()]
        assert len(hub.branches) > 1
        assert found(kept, secrets) == []
