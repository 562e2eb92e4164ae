import pytest

pytest.importorskip("jinja2", reason="jinja2 is not installed")

from .conftest import Run  # noqa: F401


def test_a_page_is_written_and_its_size_is_told(ckpt, work):
    done = ckpt("report", "runs/breakout-042")
    assert (done.code, done.err) == (0, "")
    size = (work / "breakout-042.html").stat().st_size
    assert done.out == f"breakout-042.html  {size / 1024:.1f} KiB, self-contained\n"
    assert (work / "breakout-042.html").read_text().startswith("<!doctype html>")


def test_a_page_about_two_says_what_it_holds(ckpt, work):
    done = ckpt("report", "runs/breakout-041", "runs/breakout-042", "-o", "change.html", "--json")
    assert done.code == 0
    assert done.document["result"] == {
        "file": "change.html",
        "bytes": (work / "change.html").stat().st_size,
        "sections": ["made", "weights", "changes", "first layer"],
    }


def test_a_page_that_is_there_stays_unless_that_is_asked_for(ckpt, work):
    (work / "breakout-042.html").write_text("mine")
    refused = ckpt("report", "runs/breakout-042")
    assert (refused.code, refused.err) == (
        2,
        "error: breakout-042.html: exists; add --force to replace it, or choose another name\n",
    )
    assert (work / "breakout-042.html").read_text() == "mine"
    assert ckpt("report", "runs/breakout-042", "--force").code == 0


def test_a_folder_that_is_no_checkpoint_gets_no_page(ckpt, work):
    done = ckpt("report", "runs")
    assert (done.code, list(work.glob("*.html"))) == (2, [])
