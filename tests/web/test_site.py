import os
import shutil
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason="starlette is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

from starlette.testclient import TestClient

import ckptfmt
from ckptfmt.format.entries import Lineage
from ckptfmt.report.render import follow_digest, follow_script, script_digest
from ckptfmt.web import make_site
from ckptfmt.web.index import Index
from ckptfmt.web.pages import Pages
from ckptfmt.web.run import run_state
from tests import traces
from tests.look.test_scalars import event
from tests.report.test_otherwise import BEHAVIOUR

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
EVIL = "<script>alert(1)</script> onload=x"


def save(path: Path, scale: float = 1.0, **parts) -> None:
    random = np.random.default_rng(0)
    tensors = {"fc.weight": (random.normal(size=(4, 8)) * scale).astype(np.float32), "fc.bias": np.zeros(4, np.float32)}
    ckptfmt.save(path, tensors, **parts).close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for step in (1, 2, 3):
        evaluation = [{"mean": 10.0 * step, "std": 1.0}]
        save(folder / "pong" / f"step-{step}", step, training_info={"step": step * 1000}, evaluation=evaluation)
    save(folder / "old")
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{")
    shutil.copy(FIXTURES / "foreign" / "dueling-v2" / "dqn_best.pth", folder / "legacy.pth")
    with ckptfmt.open(folder / "pong" / "step-3") as checkpoint:
        traces.write(folder / "pong" / "game.trace", content_digest=checkpoint.manifest.content_digest)
    (folder / "torn.trace").write_bytes(b"no trace")
    return folder


@pytest.fixture(scope="module")
def client(folder) -> TestClient:
    return TestClient(make_site(str(folder)), base_url="http://127.0.0.1:8420")


PAGES = (
    "/",
    "/c/old",
    "/c/pong/step-1",
    "/c/pong/step-1/t/fc.weight",
    "/diff?a=pong/step-1&b=pong/step-2",
    "/runs/pong",
    "/files",
    "/lineage/pong/step-1",
)


@pytest.mark.parametrize("path", PAGES)
def test_each_page_is_served_with_headers_that_let_nothing_run(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.text.startswith("<!doctype html>")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "<script" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_checkpoint_whose_game_was_recorded_shows_it(client):
    assert '<a href="/c/pong/step-3/play">the agent at work</a>' in client.get("/c/pong/step-3").text
    answer = client.get("/c/pong/step-3/play")
    assert (answer.status_code, answer.text.count("<script")) == (200, 2)
    assert f"script-src '{script_digest()}' " in answer.headers["content-security-policy"]
    told = client.get("/c/pong/step-3/play.json").json()
    assert (told["total"], told["actions"], len(told["steps"])) == (12, ["NOOP", "UP", "DOWN"], 12)


def test_a_checkpoint_without_a_game_says_how_to_record_one(client):
    assert "/play" not in client.get("/c/pong/step-1").text
    answer = client.get("/c/pong/step-1/play.json")
    assert answer.status_code == 404
    assert answer.json() == {"error": "no trace in this folder was played by pong/step-1; record one with ckpt play"}


def test_a_trace_that_is_replaced_or_removed_is_seen(tmp_path):
    save(tmp_path / "a")
    client = TestClient(make_site(str(tmp_path)), base_url="http://127.0.0.1:8420")
    assert client.get("/c/a/play").status_code == 404
    with ckptfmt.open(tmp_path / "a") as checkpoint:
        digest = checkpoint.manifest.content_digest
    traces.write(tmp_path / "a.trace", content_digest=digest)
    assert client.get("/c/a/play").status_code == 200
    (tmp_path / "a.trace").unlink()
    assert client.get("/c/a/play").status_code == 404


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_a_twin_in_json(client, page):
    path, _, query = page.partition("?")
    answer = client.get(f"{path}.json?{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json(), dict)


def test_the_table_lists_what_is_there_and_what_cannot_be_opened(client):
    text = client.get("/").text
    assert "5 checkpoints; read only" in text
    assert all(name in text for name in ("pong/step-1", "pong/step-3", "old"))
    assert "✗ is not JSON" in text


def test_the_table_is_sorted_and_filtered_by_links(client):
    by_return = client.get("/?sort=return").text
    assert by_return.index("pong/step-3") < by_return.index("pong/step-2") < by_return.index("pong/step-1")
    filtered = client.get("/?q=step-2").text
    assert "1 checkpoint; read only" in filtered
    assert "pong/step-1" not in filtered


def test_a_run_is_a_curve_over_its_steps(client):
    data = client.get("/runs/pong.json").json()
    assert [(row["step"], row["mean"]) for row in data["checkpoints"]] == [(1000, 10), (2000, 20), (3000, 30)]
    assert [point["mean"] for point in data["evaluations"]] == [10, 20, 30]
    page = client.get("/runs/pong").text
    assert page.count('class="dot a"') == 3
    assert page.count('class="mark"') == 3


def test_a_run_shows_all_evaluations_its_logs_and_why_checkpoints_are_there(tmp_path):
    told = {"evaluations": [{"step": 10, "mean": 1.0}, {"step": 20, "mean": 2.0}], "training_config": {"keep": 2}}
    for step in (10, 20, 30):
        save(tmp_path / f"step-{step}", training_info={"step": step, **told})
    save(tmp_path / "best", training_info={"step": 20})
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events.out.tfevents.1").write_bytes(event(5, "train/loss", 0.5) + event(6, EVIL, 1.5))
    client = TestClient(make_site(str(tmp_path)), base_url="http://127.0.0.1:8420")
    data = client.get("/runs/.json").json()
    assert {row["name"]: row["kept"] for row in data["checkpoints"]} == {
        "best": "the best evaluation",
        "step-10": "",
        "step-20": "one of the 2 newest",
        "step-30": "the newest",
    }
    assert [(point["step"], point["mean"]) for point in data["evaluations"]] == [(10, 1), (20, 2)]
    assert data["scalars"] == {EVIL: [[6, 1.5]], "train/loss": [[5, 0.5]]}
    page = client.get("/runs/").text
    assert '<span class="name">train/loss</span>: 0.5 at last' in page
    assert "<script" not in page


def test_who_follows_a_run_is_told_at_once_and_when_it_changed(folder):
    site = make_site(str(folder))
    changes, told = iter((False, True)), []

    def ending() -> bool:
        # The server ends while somebody follows: it is asked whether it does after each event.
        if next(changes, True):
            return True
        save(folder / "pong" / "step-5")
        return False

    site.state.ending = ending
    with TestClient(site, base_url="http://127.0.0.1:8420").stream("GET", "/follow/pong") as answer:
        told = [line for line in answer.iter_lines() if line]
        assert answer.headers["content-type"].startswith("text/event-stream")
    shutil.rmtree(folder / "pong" / "step-5")
    assert [line[:6] for line in told] == ["data: "]
    page = TestClient(site, base_url="http://127.0.0.1:8420").get("/runs/pong?follow=1")
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in page.text
    assert f"<script>{follow_script()}</script>" in page.text
    assert f"'{follow_digest()}'; connect-src 'self';" in page.headers["content-security-policy"]


def test_the_state_of_a_run_moves_with_its_checkpoints_and_its_logs(folder):
    index = Index(folder)
    states = [run_state(index, "pong")]
    (folder / "pong" / "tensorboard").mkdir()
    log = folder / "pong" / "tensorboard" / "events.out.tfevents.1"
    for more in (event(1, "a", 1.0), event(2, "a", 2.0)):
        with open(log, "ab") as file:
            file.write(more)
        states.append(run_state(index, "pong"))
    save(folder / "pong" / "step-6")
    states.append(run_state(index, "pong"))
    shutil.rmtree(folder / "pong" / "step-6")
    shutil.rmtree(folder / "pong" / "tensorboard")
    assert len(set(states)) == 4
    assert run_state(index, "pong") == states[0]


def test_no_more_windows_follow_than_there_are_places(folder, monkeypatch):
    monkeypatch.setattr("ckptfmt.web.follow._MOST", 0)
    answer = TestClient(make_site(str(folder)), base_url="http://127.0.0.1:8420").get("/follow/pong")
    assert (answer.status_code, answer.text) == (503, "too many windows follow a training")


def test_a_new_checkpoint_is_there_at_the_next_request_and_a_removed_one_gone(folder, client):
    save(folder / "pong" / "step-4")
    assert "pong/step-4" in client.get("/").text
    shutil.rmtree(folder / "pong" / "step-4")
    assert "pong/step-4" not in client.get("/").text
    assert client.get("/c/pong/step-4").status_code == 404


def test_foreign_files_are_looked_at_without_running_them(client):
    text = client.get("/files").text
    assert "legacy.pth" in text
    assert "dueling" in text


@pytest.mark.parametrize(
    "path",
    [
        "/c/../../etc",
        "/c/%2e%2e/%2e%2e/etc",
        "/c//etc",
        "/c/pong",
        "/c/none",
        "/diff?a=../x&b=old",
        "/diff",
        "/runs/none",
        "/runs/%00",
        "/follow/none",
        "/follow/..%2Fruns",
        "/follow/%2e%2e/runs",
        "/follow//etc",
        "/follow/%00",
    ],
)
def test_nothing_but_what_was_listed_is_shown(client, path):
    assert client.get(path).status_code == 404


def test_links_out_of_the_folder_lead_nowhere(folder, client, tmp_path):
    save(tmp_path / "outside")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "events.out.tfevents.1").write_bytes(event(1, "another's", 1.0))
    shutil.copy(FIXTURES / "foreign" / "dueling-v2" / "dqn_best.pth", tmp_path / "secret.pth")
    links = {"link": "outside", "pong/tensorboard": "logs", "hers.pth": "secret.pth"}
    state = run_state(Index(folder), "pong")
    for name, end in links.items():
        (folder / name).symlink_to(tmp_path / end)
    try:
        assert "link" not in client.get("/").text
        assert client.get("/c/link").status_code == 404
        assert client.get("/runs/pong.json").json()["scalars"] == {}
        assert run_state(Index(folder), "pong") == state
        assert "hers" not in client.get("/files").text
    finally:
        for name in links:
            (folder / name).unlink()


def test_a_link_to_logs_within_the_folder_is_followed(folder, client):
    (folder / "logs").mkdir()
    (folder / "logs" / "events.out.tfevents.1").write_bytes(event(1, "loss", 1.0))
    (folder / "pong" / "tensorboard").symlink_to(folder / "logs")
    try:
        assert client.get("/runs/pong.json").json()["scalars"] == {"loss": [[1, 1.0]]}
    finally:
        (folder / "pong" / "tensorboard").unlink()
        shutil.rmtree(folder / "logs")


@pytest.mark.parametrize("page", ["/diff", "/diff.json"])
def test_a_page_that_cannot_be_made_is_one_sentence_and_no_traceback(tmp_path, page):
    def fails(a: str, b: str, trace: str) -> dict[str, object]:
        raise KeyError("secret")

    for name in ("a", "b"):
        save(tmp_path / name)
    with ckptfmt.open(tmp_path / "a") as checkpoint:
        traces.write(tmp_path / "game.trace", content_digest=checkpoint.manifest.content_digest)
    site = make_site(str(tmp_path), behaviour=fails)
    # Whatever is raised through the server would be raised here.
    client = TestClient(site, base_url="http://127.0.0.1:8420")
    answer = client.get(f"{page}?a=a&b=b&frames=1")
    said = "a fault in ckpt itself: KeyError; please report it"
    assert answer.status_code == 500
    assert answer.json() == {"error": said} if page == "/diff.json" else said in answer.text
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_another_name_for_this_machine_is_refused(folder):
    stranger = TestClient(make_site(str(folder)), base_url="http://evil.example:8420")
    assert stranger.get("/").status_code == 400


def test_nothing_can_be_changed(client):
    for method in ("post", "put", "delete", "patch"):
        assert getattr(client, method)("/").status_code == 405


def test_no_file_is_written_into_the_folder(folder, client):
    before = sorted(os.walk(folder))
    for path in PAGES:
        client.get(path)
    assert sorted(os.walk(folder)) == before


def test_names_and_text_of_strangers_are_text(tmp_path):
    save(tmp_path / EVIL.replace("/", "_"), training_info={EVIL: EVIL}, extra={"x": EVIL})
    client = TestClient(make_site(str(tmp_path)), base_url="http://localhost")
    name = EVIL.replace("/", "_")
    for path in ("/", f"/c/{name}"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "<script" not in answer.text
        assert "&lt;script&gt;" in answer.text


def test_figures_that_are_none_spoil_no_page(tmp_path):
    odd = {"training_info": {"step": 10**400}, "evaluation": [{"mean": 10**400}, {"mean": float("inf"), "std": "x"}]}
    save(tmp_path / "odd", **odd)
    save(tmp_path / "sound")
    client = TestClient(make_site(str(tmp_path)), base_url="http://localhost")
    for path in (
        "/",
        "/?sort=step",
        "/?sort=return",
        "/c/odd",
        "/c/odd.json",
        "/runs/",
        "/lineage/odd",
        "/diff?a=odd&b=sound",
    ):
        assert client.get(path).status_code == 200


def test_two_are_compared_by_their_spectra_and_on_the_frames_of_a_game(folder):
    asked = []

    def behaviour(a, b, trace):
        asked.append((a, b, trace))
        return {**BEHAVIOUR, "trace": trace}

    site = make_site(str(folder), behaviour=behaviour)
    client = TestClient(site, base_url="http://127.0.0.1:8420")
    path = "/diff?a=pong%2Fstep-1&b=pong%2Fstep-3"
    escaped = path.replace("&", "&amp;")
    plain = client.get(path).text
    assert f'<a href="{escaped}&amp;spectrum=1">with spectra</a>' in plain
    assert f'<a href="{escaped}&amp;frames=1">on the frames of a game</a>' in plain
    assert asked == []
    both = client.get(f"{path}&spectrum=1&frames=1").text
    assert "What both do with the same frames" in both
    assert "Spectra" in both
    assert f'<a href="{escaped}&amp;frames=1">not with spectra</a>' in both
    names = [str(folder / "pong" / name) for name in ("step-1", "step-3", "game.trace")]
    assert asked == [tuple(names)]
    assert client.get("/diff.json?a=pong/step-1&b=pong/step-3&frames=1").json()["behaviour"]["steps"] == 12
    # Neither of these two played a game.
    assert "frames of a game" not in client.get("/diff?a=pong/step-1&b=pong/step-2").text


def test_the_lineage_is_drawn_and_a_missing_parent_is_hollow(tmp_path):
    first = ckptfmt.save(tmp_path / "a" / "first", {"w": np.ones((2, 2), np.float32)})
    digests = [first.manifest.manifest_digest]
    first.close()
    for name in ("second", "third"):
        with ckptfmt.save(
            tmp_path / "b" / name,
            {"w": np.full((2, 2), len(digests), np.float32)},
            lineage=Lineage(kind="resumed", parent=digests[-1]),
        ) as saved:
            digests.append(saved.manifest.manifest_digest)
    client = TestClient(make_site(str(tmp_path)), base_url="http://localhost")
    page = client.get("/lineage/b/third").text
    assert (page.count('class="node"'), page.count('class="node missing"'), page.count('class="edge"')) == (3, 0, 2)
    shutil.rmtree(tmp_path / "a")
    page = client.get("/lineage/b/third").text
    assert (page.count('class="node"'), page.count('class="node missing"'), page.count('class="edge"')) == (2, 1, 2)
    assert f'<span class="bad">missing</span> <code>{digests[0]}</code>' in page


def test_a_pointer_of_git_lfs_is_said_to_be_one_on_every_page(tmp_path):
    save(tmp_path / "agent")
    with ckptfmt.open(tmp_path / "agent") as checkpoint:
        entry = checkpoint.manifest.files["weights.safetensors"]
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{entry.sha256}\nsize {entry.bytes}\n"
    (tmp_path / "agent" / "weights.safetensors").write_text(text)
    site = TestClient(make_site(str(tmp_path)), base_url="http://127.0.0.1:8420")
    assert site.get("/").status_code == 200
    for path in ("/c/agent", "/c/agent.json", "/c/agent/t/fc.weight"):
        assert "is a Git LFS pointer to these very bytes, which were not fetched" in site.get(path).text


def test_a_page_and_its_data_parse_a_manifest_once(folder):
    parsed: list[str] = []

    def watch(frame, event, _):
        if event == "call" and frame.f_code.co_name == "raw_manifest":
            parsed.append(frame.f_code.co_filename)

    for made in Pages(Index(str(folder))).checkpoint("old", query={}):
        parsed.clear()
        # What validates runs in a thread of its own.
        threading.setprofile(watch)
        sys.setprofile(watch)
        try:
            assert made()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        assert len(parsed) == 1


@pytest.mark.parametrize("page", ["/", "/runs/run", "/lineage/run/step-1", "/files"])
def test_a_name_that_is_no_utf8_spoils_no_page_beside_it(tmp_path, page):
    for name in ("step-1", "step-2", os.fsdecode(b"step-\xff")):
        save(tmp_path / "run" / name)
    shutil.copy(FIXTURES / "foreign" / "dueling-v2" / "dqn_best.pth", tmp_path / "run" / os.fsdecode(b"net-\xff.pth"))
    client = TestClient(make_site(str(tmp_path)), base_url="http://127.0.0.1:8420")
    assert client.get(page).status_code == 200
    assert client.get("/.json" if page == "/" else f"{page}.json").json()
