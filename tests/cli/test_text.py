"""How numbers are written, and what a stream can show."""

import io
import subprocess

import pytest
from ckptfmt.cli.output import Output
from ckptfmt.cli.progress import Progress
from ckptfmt.cli.terminal import Terminal
from ckptfmt.cli.text import number, plural, shape, short_digest, size

from .conftest import CKPT, environment


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (6_754_340, "6.4 MiB"),
        (1 << 31, "2,048.0 MiB"),
    ],
)
def test_sizes(value, text):
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0271, "0.0271"),
        (3.0, "3"),
        (4e6, "4,000,000"),
        (-0.0002227, "-0.0002227"),
        (12345.678, "1.235e+04"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (1e300, "1e+300"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_shapes_counts_and_digests():
    assert (shape((32, 4, 8, 8)), shape(()), shape((0,))) == ("32×4×8×8", "scalar", "0")
    assert (plural(1, "tensor"), plural(1200, "tensor")) == ("1 tensor", "1,200 tensors")
    assert short_digest("sha256:9c1f3d2a77") == "sha256 9c1f3d2a"


class Stream(io.TextIOWrapper):
    def __init__(self, encoding="utf-8", terminal=True):
        super().__init__(io.BytesIO(), encoding=encoding)
        self.terminal = terminal

    def isatty(self):
        return self.terminal

    @property
    def text(self):
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_lacks_is_written_in_ascii(encoding):
    stream = Stream(encoding, terminal=False)
    terminal = Terminal(stream, {})
    terminal.write("✓ 32×4 ± 1 a → b … \udcff é")
    expected = "ok 32x4 +/- 1 a -> b ... \\udcff " + ("é" if encoding == "latin-1" else "\\xe9") + "\n"
    assert stream.text == expected


def test_control_characters_are_escaped_unless_painted():
    stream = Stream(terminal=False)
    terminal = Terminal(stream, {"FORCE_COLOR": "1"})
    terminal.write("\x1b[31m", terminal.paint("\x1b[0m", "red"))
    assert stream.text == "\\x1b[31m\x1b[31m\\x1b[0m\x1b[0m\n"


def bar(monkeypatch, stream, environ, seconds):
    clock = iter([0.0, *seconds])
    monkeypatch.setattr("ckptfmt.cli.progress.time.monotonic", lambda: next(clock))
    with Progress(Terminal(stream, environ), 100, "reading") as progress:
        for _ in seconds:
            progress.advance(25)
    return stream.text


def test_a_bar_shows_itself_after_half_a_second_and_goes_away(monkeypatch):
    text = bar(monkeypatch, Stream(), {"NO_COLOR": "1"}, [0.1, 0.6, 0.65, 0.8])
    assert text == (
        "\r\x1b[Kreading  ████████████              50%\r\x1b[Kreading  ████████████████████████ 100%\r\x1b[K"
    )


@pytest.mark.parametrize(("terminal", "environ"), [(False, {}), (True, {"TERM": "dumb"})])
def test_a_bar_stays_away_where_no_line_can_be_rewritten(monkeypatch, terminal, environ):
    assert bar(monkeypatch, Stream(terminal=terminal), environ, [1.0, 2.0]) == ""


def test_quick_work_shows_no_bar(monkeypatch):
    assert bar(monkeypatch, Stream(), {}, [0.1, 0.2, 0.3, 0.49]) == ""


def test_json_holds_no_number_that_json_lacks(capsys, monkeypatch):
    output = Output("diff")
    output.as_json = True
    output.result({"a": float("nan"), "b": [float("-inf")], "c": "\x9b"})
    assert output.finish(0) == 0
    assert '"result": {"a": "nan", "b": ["-inf"], "c": "\\u009b"}}' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "text"),
    [(10**400, "1.000e+400"), (-(10**400), "-1.000e+400"), (10**15, "1.000e+15"), (10**14, "100,000,000,000,000")],
)
def test_whole_numbers_beyond_every_float_are_shown(value, text):
    assert number(value) == text


def test_output_that_cannot_be_written_is_not_the_work_that_failed(work):
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [CKPT, "convert", "dqn_best.pth", "made", "--game", "ALE/Breakout-v5"],
            cwd=work,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert (work / "made/manifest.json").exists()
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1] == (
        "error: standard output: cannot be written: No space left on device; "
        "check before running it again whether the work itself was done"
    )
