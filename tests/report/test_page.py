import html
import re
import struct
import subprocess
import sys
import threading
import zlib
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("jinja2", reason="jinja2 is not installed")

import ckptfmt
from ckptfmt.report import report
from ckptfmt.report.png import encode_png

EVIL = "<script>alert(1)</script>\"' onload=x javascript:\u202e\x1b[31m{{7*7}}"
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def save(path: Path, tensors: dict[str, np.ndarray], **parts) -> Path:
    config = ckptfmt.ModelConfig(n_action=4, input_shape=(4, 36, 36), hidden_size=16, game="ALE/Breakout-v5")
    ckptfmt.save(path, tensors, config, **{"training_info": {"seed": 7}, **parts}).close()
    return path


class Seen(HTMLParser):
    """What a browser would see: tags with their attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def rows(html: str) -> list[list[str]]:
    return [
        [re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    ]


def test_a_page_of_two_parses_each_manifest_once(tmp_path, tensors):
    older, newer = save(tmp_path / "a", tensors), save(tmp_path / "b", {name: t + 1 for name, t in tensors.items()})
    parsed: list[str] = []

    def watch(frame, event, _):
        if event == "call" and frame.f_code.co_name == "raw_manifest":
            parsed.append(frame.f_code.co_name)

    # What validates and what measures run in threads of their own.
    threading.setprofile(watch)
    sys.setprofile(watch)
    try:
        assert "changes" in report(older, newer).sections
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert len(parsed) == 2


def test_a_page_says_what_the_checkpoint_is(tmp_path, tensors):
    evaluation = [{"step": 1000, "mean": 3.0, "std": 0.5}, {"step": 2000, "mean": 31.4, "std": 9.8}]
    page = report(save(tmp_path / "ck", tensors, evaluation=evaluation))
    assert page.title == "ck"
    assert page.sections == ("evaluation", "made", "weights", "first layer")
    seen = rows(page.html)
    assert ["network", "dqn"] in seen
    assert ["environment", "ALE/Breakout-v5"] in seen
    assert ["return", "31.40 ± 9.80"] in seen
    assert ["training seed", "7"] in seen
    assert ["ck", "1000", "3", "0.5"] in seen
    assert "✓ valid" in page.html


def test_the_table_of_weights_has_the_figures_of_each_tensor(tmp_path, tensors):
    dead = {**tensors, "fc.0.weight": tensors["fc.0.weight"].copy()}
    dead["fc.0.weight"][:5] = 0
    table = {row[0]: row for row in rows(report(save(tmp_path / "ck", dead)).html) if len(row) == 11}
    values = tensors["conv.0.weight"].astype(np.float64)
    assert table["conv.0.weight"][1:4] == ["F32", "32×4×8×8", "8,192"]
    assert table["conv.0.weight"][5:9] == [
        f"{x:.4g}" for x in (values.mean(), values.std(), values.min(), values.max())
    ]
    assert table["fc.0.weight"][9:] == ["320", "5 of 16"]
    assert list(table)[1:] == list(tensors)


def test_two_checkpoints_are_told_by_what_changed(tmp_path, tensors):
    a = save(tmp_path / "a", tensors)
    moved = {**tensors, "fc.2.weight": tensors["fc.2.weight"] * np.float32(1.5)}
    b = save(tmp_path / "b", moved, training_info={"seed": 8})
    page = report(a, b)
    seen = rows(page.html)
    assert ["training_info.seed", "7", "8"] in seen
    change = next(row for row in seen if row[:2] == ["fc.2.weight", "changed"])
    assert change[2:5] == ["0.5", "1", f"{np.abs(tensors['fc.2.weight']).max() * 0.5:.4g}"]
    assert change[-1] == "0.5"
    assert page.html.count("<img ") == 2
    assert "Nothing: the same network" in report(a, a).html


def test_text_of_a_checkpoint_is_text_and_reaches_no_attribute(tmp_path, tensors):
    hostile = {f"{EVIL}.weight": tensors["conv.0.weight"]}
    ckptfmt.save(tmp_path / "ck", hostile, training_info={EVIL: EVIL}, extra={"x": EVIL}).close()
    html = report(tmp_path / "ck").html
    seen = Seen(html)
    assert {tag for tag, _ in seen.tags}.isdisjoint({"script", "iframe", "object", "link", "base", "form"})
    attributes = [f"{name}={value}" for _, given in seen.tags for name, value in given.items()]
    assert not [text for text in attributes if "alert" in text or "onload" in text or "7*7" in text]
    assert "alert(1)" in seen.text
    assert "{{7*7}}" in seen.text
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_a_page_fetches_nothing(tmp_path, tensors):
    html = report(save(tmp_path / "ck", tensors)).html
    references = [
        value
        for _, given in Seen(html).tags
        for name, value in given.items()
        if name in ("src", "href", "action", "srcset")
    ]
    assert references
    assert all(value.startswith("data:image/png;base64,") for value in references)
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_an_invalid_checkpoint_is_told_with_its_problems_and_its_weights_are_not_drawn(tmp_path, tensors):
    path = save(tmp_path / "ck", tensors)
    data = bytearray((path / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "weights.safetensors").write_bytes(data)
    page = report(path)
    assert "✗ invalid" in page.html
    assert page.sections == ("problems", "made")
    assert any(row[0] == "weights.digest" for row in rows(page.html))


def test_each_picture_has_its_numbers_as_text(tmp_path, tensors):
    html = report(save(tmp_path / "ck", tensors)).html
    norms = np.linalg.norm(tensors["conv.0.weight"].astype(np.float64).reshape(32, -1), axis=1)
    assert ", ".join(f"{norm:.4g}" for norm in norms) in html
    assert html.count('aria-hidden="true"') == html.count("<svg ")
    assert all(given.get("alt") for tag, given in Seen(html).tags if tag == "img")


@pytest.mark.parametrize("path", sorted((FIXTURES / "valid").iterdir()), ids=lambda path: path.name)
def test_every_valid_fixture_has_a_page(path):
    page = report(path / "checkpoint")
    assert page.bytes < 300_000
    assert "✓ valid" in page.html


def test_values_that_are_not_finite_are_drawn_all_the_same(tmp_path, tensors):
    odd = {**tensors, "fc.2.bias": np.array([np.nan, np.inf, -np.inf, 1], np.float32)}
    table = {row[0]: row for row in rows(report(save(tmp_path / "ck", odd)).html) if len(row) == 11}
    assert table["fc.2.bias"][7:9] == ["1", "1"]


def test_a_png_is_what_the_standard_says():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    data = encode_png(pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + size
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (3, 2, 8, 2, 0, 0, 0)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(2, 10)
    assert (lines[:, 0] == 0).all()
    assert (lines[:, 1:].reshape(2, 3, 3) == pixels).all()


def test_the_first_layer_is_one_tile_for_each_filter_and_channel(tmp_path, tensors):
    html = report(save(tmp_path / "ck", tensors)).html
    uri = next(given["src"] for tag, given in Seen(html).tags if tag == "img")
    data = b64decode(uri.partition(",")[2])
    assert struct.unpack(">II", data[16:24]) == (32 * (8 * 4 + 1), 4 * (8 * 4 + 1))


def test_spectra_are_drawn_where_they_are_asked_for(tmp_path, tensors):
    older, newer = save(tmp_path / "a", tensors), save(tmp_path / "b", {n: t * 2 for n, t in tensors.items()})
    assert "spectra" not in report(older, newer).sections
    page = report(older, newer, spectrum=True)
    assert "spectra" in page.sections
    drawn = [name for name, tensor in tensors.items() if tensor.ndim > 1]
    assert page.html.count("effective rank") == 1 + 2 * len(drawn)
    assert page.html.count('class="line b"') == len(drawn)


def test_a_page_that_draws_nothing_needs_no_numpy(tmp_path, tensors):
    path = save(tmp_path / "ck", tensors)
    program = "import sys; from ckptfmt.report import report; report(sys.argv[1], weights=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, path], check=True, capture_output=True, text=True)
    assert "jinja2" in done.stdout.split()
    assert "numpy" not in done.stdout.split()


def test_changed_fields_are_shown_as_json_and_cut(tmp_path, tensors):
    a = save(tmp_path / "a", tensors, training_info={"seeds": [{"a": 1}], "notes": "x"})
    b = save(tmp_path / "b", tensors, training_info={"seeds": [{"a": 2}], "notes": "y\u202e" * 10_000})
    seen = {row[0]: row[1:] for row in rows(report(a, b).html) if len(row) == 3}
    assert [html.unescape(text) for text in seen["training_info.seeds"]] == ['[{"a": 1}]', '[{"a": 2}]']
    assert len(seen["training_info.notes"][1]) < 400
    assert "\u202e" not in seen["training_info.notes"][1]
