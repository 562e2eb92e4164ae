"""Every problem is found, and nothing is written: held by the cases of `fixtures/valid` and `fixtures/invalid`."""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ckptfmt
from ckptfmt.errors import CkptError, NotACheckpoint, UnsupportedVersion
from ckptfmt.format.files import MANIFEST, WEIGHTS
from ckptfmt.format.manifest import Manifest, render_manifest
from ckptfmt.format.parse import parse_manifest
from ckptfmt.format.safetensors import tensor_bytes
from ckptfmt.look.validate import counts, validate, validate_open
from ckptfmt.look.validate.integrity import THOROUGH
from ckptfmt.store.write import TensorFile, write_checkpoint

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures"
CASES = sorted(path for kind in ("valid", "invalid") for path in (FIXTURES / kind).iterdir())


def look(case: Path) -> dict:
    try:
        report = validate(case / "checkpoint")
    except CkptError as e:
        where = e.where.removeprefix(f"{case}/")
        return {"error": {"code": e.code, "severity": "fatal", "where": where, "message": e.what}}
    keys = ("code", "severity", "where", "message")
    problems = [{key: problem.to_dict()[key] for key in keys} for problem in report.problems]
    return {"valid": report.valid, "problems": problems}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_exactly_the_expected_problems_are_found(case):
    assert look(case) == json.loads((case / "expected.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.name}")
def test_a_checkpoint_that_is_open_is_validated_as_one_at_a_path(case):
    path = case / "checkpoint"
    for deep in (True, False):
        try:
            with ckptfmt.open(path) as checkpoint:
                assert validate_open(checkpoint, deep=deep) == validate(path, deep=deep)
        except CkptError:
            # What cannot be opened is validated by its path alone.
            assert "valid" not in look(case) or not look(case)["valid"]


@pytest.fixture
def dqn(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "valid" / "dqn" / "checkpoint", tmp_path / "dqn"))


def codes(path: Path, **options) -> list[str]:
    return [problem.code for problem in validate(path, **options).problems]


@pytest.mark.parametrize(("name", "step"), [(WEIGHTS, 1), (MANIFEST, 7)])
def test_a_flipped_bit_is_found_wherever_it_is(dqn, name, step):
    sound = (dqn / name).read_bytes()
    for i in range(0, len(sound), step):
        damaged = bytearray(sound)
        damaged[i] ^= 1 << (i % 8)
        (dqn / name).write_bytes(damaged)
        try:
            assert not validate(dqn).valid, f"bit {i % 8} of byte {i}"
        except UnsupportedVersion:
            assert name == MANIFEST


def test_the_damaged_tensor_is_named_whichever_it_is(dqn):
    sound = (dqn / WEIGHTS).read_bytes()
    start = 8 + int.from_bytes(sound[:8], "little")
    for name, tensor in json.loads((dqn / MANIFEST).read_text())["files"][WEIGHTS]["tensors"].items():
        damaged = bytearray(sound)
        damaged[start + tensor["offset"]] ^= 64
        (dqn / WEIGHTS).write_bytes(damaged)
        (problem,) = validate(dqn).problems
        assert (problem.code, problem.where) == ("weights.digest", f"{WEIGHTS} {name}")


def test_a_damaged_header_does_not_hide_a_damaged_tensor(dqn):
    damaged = bytearray((dqn / WEIGHTS).read_bytes())
    damaged[34] ^= 1
    damaged[-1] ^= 1
    (dqn / WEIGHTS).write_bytes(damaged)
    assert codes(dqn) == ["weights.header", "weights.digest"]


def test_a_damaged_manifest_does_not_hide_a_damaged_tensor(dqn):
    text = (dqn / MANIFEST).read_text()
    (dqn / MANIFEST).write_text(text.replace('"created_at": "2026', '"created_at": "year 2026'))
    damaged = bytearray((dqn / WEIGHTS).read_bytes())
    damaged[-1] ^= 1
    (dqn / WEIGHTS).write_bytes(damaged)
    assert codes(dqn) == ["manifest.value", "manifest.digest", "weights.digest"]


def test_the_fast_look_reads_headers_and_no_tensor(dqn):
    damaged = bytearray((dqn / WEIGHTS).read_bytes())
    damaged[-1] ^= 1
    (dqn / WEIGHTS).write_bytes(damaged)
    assert codes(dqn, deep=False) == []
    assert validate(dqn, deep=False).bytes < validate(dqn).bytes
    damaged[34] ^= 1
    (dqn / WEIGHTS).write_bytes(damaged)
    assert codes(dqn, deep=False) == ["weights.header"]


def test_all_bytes_are_counted_as_read(dqn):
    report = validate(dqn)
    assert report.bytes == sum(file.stat().st_size for file in dqn.iterdir())


def test_progress_adds_up_to_the_data(dqn):
    parts = []
    validate(dqn, progress=parts.append)
    tensors = json.loads((dqn / MANIFEST).read_text())["files"][WEIGHTS]["tensors"]
    assert sum(parts) == sum(tensor_bytes(t["dtype"], t["shape"]) for t in tensors.values())


def test_with_strict_a_warning_makes_a_checkpoint_invalid():
    case = FIXTURES / "invalid" / "layout.unlisted" / "checkpoint"
    assert validate(case).valid
    assert not validate(case, strict=True).valid


def test_nothing_is_written_or_touched():
    for case in CASES:
        before = snapshot(case)
        look(case)
        assert snapshot(case) == before


def snapshot(case: Path) -> dict[str, tuple]:
    states = ((str(path), path.stat()) for path in case.rglob("*"))
    return {path: (s.st_size, s.st_mtime_ns, s.st_ino, s.st_mode) for path, s in states}


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST, "readme"])
def test_a_pipe_is_refused_and_never_waited_for(dqn, name):
    (dqn / name).unlink(missing_ok=True)
    os.mkfifo(dqn / name)
    assert codes(dqn)[0] == "layout.not-regular"


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST, "readme"])
def test_a_link_is_refused_even_to_the_right_bytes(dqn, tmp_path, name):
    target = tmp_path / "elsewhere"
    target.write_bytes((dqn / name).read_bytes() if (dqn / name).exists() else b"")
    (dqn / name).unlink(missing_ok=True)
    (dqn / name).symlink_to(target)
    assert "layout.not-regular" in codes(dqn)


def test_a_socket_is_named_for_what_it_is(dqn):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(dqn / "s"))
        (problem,) = validate(dqn).problems
    assert problem.message == "is a socket, a checkpoint holds plain files only"


def test_a_file_that_changes_while_it_is_read_is_no_sound_file(dqn):
    report = validate(dqn, progress=lambda _: os.utime(dqn / WEIGHTS, ns=(0, 1)))
    assert [problem.code for problem in report.problems] == ["layout.changed"]


def test_a_folder_that_cannot_be_opened_is_no_damaged_checkpoint(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(NotACheckpoint) as caught:
        validate(loop)
    assert caught.value.code == "layout.unreadable"
    assert str(caught.value) == f"{loop}: cannot be opened: Too many levels of symbolic links"


def test_the_list_of_problems_has_an_end(dqn):
    for i in range(1100):
        (dqn / f"note-{i}").touch()
    report = validate(dqn)
    assert len(report.problems) == 1001
    assert report.problems[-1].message == "has 100 problems more than the 1,000 listed"
    # Each of them is a warning, so many of them are no error; nor do they hide one.
    assert report.valid
    (dqn / WEIGHTS).write_bytes((dqn / WEIGHTS).read_bytes() + b"x")
    report = validate(dqn)
    assert not report.valid
    assert report.problems[0].code == "weights.size"


def test_a_folder_inside_is_an_error(dqn):
    (dqn / "inner").mkdir()
    (problem,) = validate(dqn).problems
    assert (problem.code, problem.severity, problem.where) == ("layout.not-regular", "error", "inner")
    assert problem.message == "is a folder, a checkpoint holds plain files only"


def test_the_sha256_of_a_large_file_is_held_against_the_manifest(tmp_path):
    ckptfmt.save(tmp_path / "a", {"x": np.zeros((THOROUGH >> 2) + 8, np.float32)}).close()
    manifest = parse_manifest((tmp_path / "a" / MANIFEST).read_bytes(), where="")
    entry = dataclasses.replace(manifest.files[WEIGHTS], sha256="0" * 64)
    forged = dataclasses.replace(manifest, files={WEIGHTS: entry}).sealed()
    (tmp_path / "a" / MANIFEST).write_bytes(render_manifest(forged))
    assert [problem.code for problem in validate(tmp_path / "a").problems] == ["weights.sha256"]


def test_codes_are_chosen_by_name_and_by_pattern(dqn):
    (dqn / "notes").touch()
    (dqn / WEIGHTS).write_bytes((dqn / WEIGHTS).read_bytes() + b"x")
    report = validate(dqn)
    assert [p.code for p in report.problems] == ["layout.unlisted", "weights.size"]
    assert [p.code for p in report.only(select=["weights.*"]).problems] == ["weights.size"]
    assert report.only(ignore=["weights.size"]).valid
    assert counts([report, validate(FIXTURES / "valid" / "dqn" / "checkpoint")]) == {
        "checkpoints": 2,
        "invalid": 1,
        "warnings": 0,
        "problems": 2,
    }


def test_of_two_major_versions_the_other_is_refused_in_one_sentence():
    path = FIXTURES / "invalid" / "version.unsupported" / "checkpoint"
    with pytest.raises(UnsupportedVersion) as caught:
        validate(path)
    assert str(caught.value) == (
        f"{path}/manifest.json: format_version is 2.0, this ckpt reads 1.x; install a newer ckptfmt"
    )


def test_a_large_file_is_read_in_parts(tmp_path):
    """192 MiB of weights, in a process of its own, which tells how much memory it had at most."""
    script = (
        "import sys; from ckptfmt.look.validate import validate; report = validate(sys.argv[1], strict=True);"
        "assert report.valid, report; assert 'numpy' not in sys.modules and 'jsonschema' not in sys.modules;"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    write_checkpoint(tmp_path / "large", {WEIGHTS: TensorFile({"w": Zeros()})}, label)
    run = subprocess.run(
        [sys.executable, "-P", "-c", script, tmp_path / "large"], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 150_000


class Zeros:
    dtype = "F32"
    shape = (48, 1024, 1024)

    def chunks(self):
        return (bytes(1 << 22) for _ in range(48))


def label(entries) -> Manifest:
    made = {"created_at": "2026-01-01T00:00:00Z", "created_by": {}, "architecture": None, "config": None}
    return Manifest(**made, files=entries, content_digest="")
