"""The site in a real browser: every page opened, read by axe-core, used with the mouse and the keyboard."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ckptfmt
from tests import traces

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

CKPT = str(Path(sys.executable).parent / "ckpt")
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
# As root in a container a sandbox cannot be had; the others keep the browser from calling its maker.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PAGES = {
    "overview": "/",
    "checkpoint": "/c/pong/step-3",
    "tensor": "/c/pong/step-3/t/conv.0.weight",
    "play": "/c/pong/step-3/play",
    "diff": "/diff?a=pong%2Fstep-1&b=pong%2Fstep-3",
    "run": "/runs/pong",
    "follow": "/runs/pong?follow=1",
    "files": "/files",
    "lineage": "/lineage/pong/step-3",
    "broken": "/c/broken",
    "missing": "/c/nowhere",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    random = np.random.default_rng(0)
    shapes = {"conv.0.weight": (8, 4, 8, 8), "conv.0.bias": (8,), "fc.weight": (4, 32), "fc.bias": (4,)}
    for step in (1, 2, 3):
        tensors = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        ckptfmt.save(
            folder / "pong" / f"step-{step}",
            tensors,
            training_info={"step": step * 1000},
            evaluation=[{"mean": 10.0 * step, "std": 1.0, "step": step * 1000}],
            environment={"id": "ALE/Pong-v5"},
        ).close()
    ckptfmt.save(folder / "acrobot", {"fc.weight": np.ones((2, 3), np.float32)}).close()
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{")
    shutil.copy(FIXTURES / "foreign" / "dueling-v2" / "dqn_best.pth", folder / "legacy.pth")
    with ckptfmt.open(folder / "pong" / "step-3") as checkpoint:
        traces.write(folder / "pong" / "game.trace", content_digest=checkpoint.manifest.content_digest)
    return folder


@pytest.fixture(scope="module")
def address(runs) -> Iterator[str]:
    words = [CKPT, "serve", str(runs)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CKPT")}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as server:
        yield server.stdout.readline().split()[0]
        server.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield launched
        launched.close()


class Visit:
    """A page in the browser, and what went wrong in it."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.address, self.elsewhere, self.said = address, [], []
        self.page = browser.new_context(**options).new_page()
        self.page.route("**/*", self._only_here)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    def open(self, path: str) -> Any:
        self.page.goto(self.address + path)
        return self.page

    def _only_here(self, route: Any) -> None:
        if route.request.url.startswith((self.address, "data:")):
            route.continue_()
        else:
            self.elsewhere.append(route.request.url)
            route.abort()

    def close(self) -> None:
        self.page.context.close()


@pytest.fixture
def visit(browser, address) -> Iterator[Visit]:
    visit = Visit(browser, address)
    yield visit
    visit.close()
    assert (visit.said, visit.elsewhere) == ([], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1280])
def test_every_page_fits_and_can_be_read_by_everyone(browser, address, width, scheme):
    found: dict[str, list[str]] = {}
    visit = Visit(browser, address, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for name, path in PAGES.items():
        page = visit.open(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        violations = axe.Axe().run(page).response["violations"]
        found[name] = [
            f"{one['id']}: {one['nodes'][0]['html']}" for one in violations if one["impact"] in ("serious", "critical")
        ]
    visit.close()
    assert found == {name: [] for name in PAGES}
    # A page that is not there is reported by the browser itself; that is all it says.
    assert [line for line in visit.said if "404" not in line and "422" not in line] == []
    assert visit.elsewhere == []


def test_the_table_is_sorted_and_filtered(visit):
    page = visit.open("/")
    names = page.locator("tbody th[scope=row]")
    sync_api.expect(names).to_have_text(["acrobot", "broken", "pong/step-1", "pong/step-2", "pong/step-3"])
    page.get_by_role("link", name="return", exact=True).click()
    sync_api.expect(names).to_have_text(["pong/step-3", "pong/step-2", "pong/step-1", "acrobot", "broken"])
    page.get_by_role("textbox").fill("step")
    page.keyboard.press("Enter")
    sync_api.expect(names).to_have_text(["pong/step-3", "pong/step-2", "pong/step-1"])


def test_two_are_chosen_and_compared(visit):
    page = visit.open("/")
    page.get_by_label("compare from row 3").check()
    page.get_by_label("compare to row 5").check()
    page.get_by_role("button", name="compare the two").click()
    sync_api.expect(page.locator("h1")).to_have_text("step-3 since step-1")
    assert "4 tensors changed" in page.locator("main").inner_text()


def test_a_game_is_stepped_scrubbed_and_played(visit):
    page = visit.open("/c/pong/step-3")
    page.get_by_role("link", name="the agent at work").click()
    now, held = page.locator("#agent-step-now"), traces.arrays()
    first = page.locator("#agent-frame").get_attribute("src")
    page.get_by_role("button", name="one step on").click()
    assert now.inner_text() == "1"
    assert page.locator("#agent-frame").get_attribute("src") != first
    page.get_by_role("button", name="one step back").click()
    assert (now.inner_text(), page.locator("#agent-frame").get_attribute("src")) == ("0", first)
    page.get_by_label("step", exact=True).fill("7")
    taken = ("NOOP", "UP", "DOWN")[held["actions"][7]]
    assert (now.inner_text(), page.locator("#agent-action-now").inner_text()) == ("7", taken)
    assert page.locator("tr.chosen th").all_inner_texts() == [taken]
    assert page.locator("#agent-return-now").inner_text() == "13"
    page.get_by_label("step", exact=True).focus()
    page.keyboard.press("ArrowRight")
    assert now.inner_text() == "8"
    page.get_by_label("speed").select_option("4")
    page.get_by_role("button", name="play", exact=True).click()
    sync_api.expect(now).to_have_text("11")
    sync_api.expect(page.locator("#agent-play")).to_have_text("play")


def test_the_page_of_a_trace_works_as_a_file(visit, runs, tmp_path):
    words = [CKPT, "report", "--trace", str(runs / "pong" / "game.trace"), "-o", str(tmp_path / "game.html")]
    subprocess.run(words, check=True, capture_output=True)
    visit.address = f"file://{tmp_path}"
    page = visit.open("/game.html")
    page.get_by_role("button", name="one step on").click()
    assert page.locator("#agent-step-now").inner_text() == "1"


def test_without_script_the_steps_are_there_as_numbers(browser, address):
    visit = Visit(browser, address, java_script_enabled=False)
    page = visit.open("/c/pong/step-3/play")
    assert "Without script the steps are in the table below." in page.locator("main").inner_text()
    page.get_by_text("All steps as numbers").click()
    assert page.locator("details tbody tr").count() == 13
    visit.close()


def test_the_page_of_a_run_follows_a_training(visit, runs):
    page = visit.open("/runs/pong?follow=1")
    page.locator("summary").first.click()
    name = "step-4"
    try:
        ckptfmt.save(runs / "pong" / name, {"fc.weight": np.ones((2, 3), np.float32)}).close()
        page.get_by_role("link", name=f"pong/{name}").wait_for()
        assert page.locator("details").first.get_attribute("open") is not None
    finally:
        shutil.rmtree(runs / "pong" / name)
    page.get_by_role("link", name=f"pong/{name}").wait_for(state="detached")
