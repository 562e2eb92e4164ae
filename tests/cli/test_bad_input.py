"""Checkpoints that are none, damaged or hostile: one clear line, exit 2, nothing changed."""

import json
import os
import subprocess
import sys

import pytest

from .conftest import environment

RUN = "runs/breakout-041"


def change(work, **fields):
    file = work / RUN / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps({**manifest, **fields}))


def duplicate(work):
    file = work / RUN / "manifest.json"
    file.write_text('{"format": "ckptfmt",' + file.read_text()[1:])


def not_a_number(work):
    file = work / RUN / "manifest.json"
    file.write_text(file.read_text().replace("3000000", "NaN"))


def nested(work):
    (work / RUN / "manifest.json").write_text("[" * 10_000 + "]" * 10_000)


def leave(work):
    manifest = json.loads((work / RUN / "manifest.json").read_text())
    files = manifest["files"]
    change(work, files={**files, "../../secret.safetensors": files["weights.safetensors"]})


def fifo(work):
    (work / RUN / "weights.safetensors").unlink()
    os.mkfifo(work / RUN / "weights.safetensors")


def link(work):
    weights = work / RUN / "weights.safetensors"
    weights.rename(work / "elsewhere")
    weights.symlink_to(work / "elsewhere")


def manifest_fifo(work):
    (work / RUN / "manifest.json").unlink()
    os.mkfifo(work / RUN / "manifest.json")


def cut(work):
    os.truncate(work / RUN / "weights.safetensors", 1000)


def flip(work):
    file = work / RUN / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 4
    file.write_bytes(data)


CASES = {
    "version 2": (lambda work: change(work, format_version="2.0"), "reads 1.x; install a newer ckptfmt"),
    "duplicate key": (duplicate, "has the key 'format' twice"),
    "NaN": (not_a_number, "NaN is not JSON"),
    "nesting": (nested, "nests deeper than 64 levels"),
    "a path that leaves": (leave, "'../../secret.safetensors'"),
    "a pipe": (fifo, "is not a regular file"),
    "a link": (link, "is not a regular file"),
    "a pipe for a manifest": (manifest_fifo, "is not a regular file"),
    "no manifest": (lambda work: (work / RUN / "manifest.json").unlink(), "manifest.json is missing"),
    "an empty manifest": (lambda work: (work / RUN / "manifest.json").write_text(""), "is not JSON at line 1"),
    "a changed manifest": (lambda work: change(work, extra={"a": 1}), "was changed after it was written"),
    "cut weights": (cut, "has 1,000 bytes, the manifest says"),
    "a flipped bit": (flip, "bytes do not match the manifest"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_checkpoint_is_one_line_and_exit_2(ckpt, work, case):
    spoil, what = CASES[case]
    spoil(work)
    before = sorted(work.rglob("*"))
    # Figures make it read every byte, as loading would.
    run = ckpt("inspect", RUN, "--stats")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"error: {RUN}")
    assert what in run.err
    assert "; " in run.err, "a sentence without a mend"
    assert run.err.count("\n") == 1
    assert sorted(work.rglob("*")) == before


@pytest.mark.parametrize("case", CASES)
def test_validate_never_calls_it_sound(ckpt, work, case):
    CASES[case][0](work)
    run = ckpt("validate", RUN)
    assert run.code in (1, 2)
    assert "Traceback" not in run.err
    assert "fault in ckpt" not in run.err
    assert (RUN in run.err) if run.code == 2 else run.out.startswith(f"✗ {RUN}\n")


_MEMORY = "there is not enough memory"
_FAULT = "a fault in ckpt itself: {}; please report it; CKPT_DEBUG=1 shows where"
_ENDED = "another package that it needs asked to end the program; CKPT_DEBUG=1 shows which"
NOBODY_FORESAW = {
    "MemoryError()": _MEMORY,
    'RuntimeError("DefaultCPUAllocator: can\'t allocate memory")': _MEMORY,
    "type('OutOfMemoryError', (RuntimeError,), {})('CUDA out of memory')": _MEMORY,
    "RecursionError('deep')": "nests too deep to be read",
    "RuntimeError('odd')": _FAULT.format("RuntimeError: odd"),
    "ValueError('odd')": _FAULT.format("ValueError: odd"),
    "OSError(5, 'I/O')": "I/O",
    "SystemExit(0)": _ENDED,
    "GeneratorExit()": _ENDED,
}


@pytest.mark.parametrize("error", [*NOBODY_FORESAW])
def test_what_nobody_foresaw_is_one_line_too(work, error):
    program = (
        "import sys, ckptfmt.format.schemas\n"
        f"def broken(*_): raise {error}\n"
        "ckptfmt.format.schemas.schema_text = broken\n"
        "from ckptfmt.cli.main import main\n"
        "sys.exit(main(['schema']))\n"
    )
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, env=environment())
    assert (run.returncode, run.stdout, run.stderr) == (2, "", f"error: {NOBODY_FORESAW[error]}\n")


def test_a_package_that_is_missing_is_named_with_its_cure(work):
    program = (
        "import sys\n"
        "sys.modules['ckptfmt.format.schemas'] = None\n"
        "sys.modules['torch'] = None\n"
        "import ckptfmt.cli.commands as commands, types\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ckptfmt.cli.commands.schema': import torch\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from ckptfmt.cli.main import main\n"
        "sys.exit(main(['schema']))\n"
    )
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, env=environment())
    line = 'error: schema needs torch, which is not installed; run: pip install "ckptfmt[rl]"\n'
    assert (run.returncode, run.stdout, run.stderr) == (2, "", line)


def test_a_target_without_space_keeps_what_was_there(ckpt, work):
    full = work / "full"
    full.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(full)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this account cannot mount a small filesystem")
    try:
        run = ckpt("convert", "dqn_best.pth", "full/out")
        assert (run.code, run.out) == (2, "")
        assert run.err.count("\n") == 1
        assert "space" in run.err
        assert list(full.iterdir()) == []
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_a_folder_that_may_not_be_written_is_said(ckpt, work):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (work / "locked").mkdir(mode=0o555)
    run = ckpt("convert", "dqn_best.pth", "locked/out")
    assert (run.code, run.out, run.err.count("\n")) == (2, "", 1)
