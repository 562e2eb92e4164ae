import json
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="jinja2 is not installed")

import ckptfmt
from ckptfmt.errors import CkptError
from ckptfmt.look.trace import open_trace
from ckptfmt.report import report, trace_page
from ckptfmt.report.agent import agent_part
from ckptfmt.report.render import script_digest
from tests import traces

EVIL = "</script><img src=x onerror=alert(1)>\"' \u202e\x1b[31m{{7*7}}"


def data_of(html: str) -> dict:
    return json.loads(re.search(r'id="agent-data">(.*?)</script>', html, re.S)[1])


def test_the_page_holds_every_step_as_pictures_and_as_numbers(tmp_path):
    held = traces.arrays()
    page = trace_page(traces.write(tmp_path / "a.trace"))
    steps = data_of(page.html)["steps"]
    assert [step["step"] for step in steps] == list(range(12))
    assert [step["action"] for step in steps] == held["actions"].tolist()
    # The second episode begins anew.
    assert [step["return"] for step in steps] == [0, 1, 3, 6, 10, 15, 6, 13, 21, 30, 40, 51]
    assert steps[3]["bars"]["q_values"] == [float(f"{value:.5g}") for value in held["outputs.q_values"][3].tolist()]
    assert np.isclose(sum(steps[0]["atoms"]), 1, atol=1e-3)
    for name in ("frame", "seen", "where"):
        assert len({step[name] for step in steps}) == 12
    assert page.html.count('<tr><td class="n">') == 12
    for words in ("ALE/Pong-v5", "12 in 2 episodes", "c51_dqn", traces.DIGEST, "where its choice hangs (gradient)"):
        assert words in page.html


def test_only_our_own_script_may_run_and_nothing_is_fetched(tmp_path):
    html = trace_page(traces.write(tmp_path / "a.trace")).html
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    assert policy == (f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{script_digest()}'")
    assert [one for one in re.findall(r'(?:src|href)="([^"]*)"', html) if not one.startswith("data:image/png")] == []
    assert len(re.findall("<script", html)) == 2


def test_text_of_a_trace_is_text(tmp_path):
    environment = {"id": EVIL}
    path = traces.write(tmp_path / "a.trace", name=EVIL, network=EVIL, environment=environment, actions=(EVIL,) * 3)
    html = trace_page(path).html
    assert "<img src=x" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "{{7*7}}" in html


def test_numbers_that_are_none_are_said(tmp_path):
    held = traces.arrays()
    held["outputs.q_values"][0] = np.nan
    held["rewards"][0] = np.inf
    html = trace_page(traces.write(tmp_path / "a.trace", held)).html
    step = data_of(html)["steps"][0]
    assert (step["bars"]["q_values"], step["reward"]) == ([None] * 3, None)
    assert html.count(">not finite<") == 3


def test_a_long_trace_is_cut_into_pages(tmp_path):
    path = traces.write(tmp_path / "a.trace", traces.arrays(1200))
    with open_trace(path) as trace:
        first, last = agent_part(trace, up="/c/x/play"), agent_part(trace, start=1000, up="/c/x/play")
        beyond = agent_part(trace, start=99_999)
    assert (first["from"], first["to"], first["next"], first["previous"]) == (0, 500, "/c/x/play?from=500", "")
    assert (last["from"], last["to"], last["next"], last["previous"]) == (1000, 1200, "", "/c/x/play?from=500")
    assert (beyond["from"], beyond["to"]) == (1199, 1200)


def test_pictures_of_noise_end_a_page_early(tmp_path):
    held = traces.arrays(200)
    held["frames"] = np.random.default_rng(0).integers(0, 255, (200, 300, 300, 3), dtype=np.uint8)
    html = trace_page(traces.write(tmp_path / "a.trace", held)).html
    assert len(data_of(html)["steps"]) < 150
    assert len(html) < 27 << 20


@pytest.mark.parametrize("missing", ["frames", "observations", "saliency", "outputs.q_values", "outputs.atom_logits"])
def test_what_was_not_recorded_is_left_out(tmp_path, missing):
    held = {name: array for name, array in traces.arrays().items() if name != missing}
    html = trace_page(traces.write(tmp_path / "a.trace", held)).html
    assert len(data_of(html)["steps"]) == 12


def test_a_page_without_a_trace_needs_no_zstd(tmp_path):
    ckptfmt.save(tmp_path / "a", {"w": np.ones((2, 2), np.float32)}).close()
    use = (
        "import sys; sys.modules['backports'] = sys.modules['compression'] = None\n"
        "from ckptfmt.report import report; print(len(report(sys.argv[1]).html) > 0)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", use, tmp_path / "a"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_the_report_of_a_checkpoint_shows_a_game_that_it_played_and_no_other(tmp_path):
    with ckptfmt.save(tmp_path / "a", {"w": np.ones((2, 2), np.float32)}) as saved:
        digest = saved.manifest.content_digest
    page = report(tmp_path / "a", trace=traces.write(tmp_path / "a.trace", content_digest=digest))
    assert "agent" in page.sections
    assert f"script-src '{script_digest()}'" in page.html
    with pytest.raises(CkptError) as raised:
        report(tmp_path / "a", trace=traces.write(tmp_path / "b.trace"))
    assert str(raised.value) == (
        f"{tmp_path / 'b.trace'}: was played by another network, pong-042; "
        "give the checkpoint that played it, or record a trace of this one"
    )


def test_a_policy_is_shown_by_how_likely_each_action_is(tmp_path):
    held = {name: array for name, array in traces.arrays().items() if "q_values" not in name and "atom" not in name}
    held["outputs.logits"] = np.log(np.tile(np.array([0.5, 0.25, 0.25], np.float32), (12, 1))) + 3
    html = trace_page(traces.write(tmp_path / "a.trace", held)).html
    assert data_of(html)["steps"][0]["bars"] == {"probabilities": [0.5, 0.25, 0.25]}
    # Several choices a step are several distributions side by side, which no bar shows as one.
    held["actions"] = np.zeros((12, 2), np.float32)
    html = trace_page(traces.write(tmp_path / "b.trace", held)).html
    assert list(data_of(html)["steps"][0]["bars"]) == ["logits"]
