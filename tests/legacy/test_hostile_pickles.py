"""Hostile files: each gets its one sentence, nothing is reached, and nothing takes long or much."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from ckptfmt.errors import SourceError
from ckptfmt.legacy import open as container

FIXTURES = Path(__file__).parents[2] / "fixtures"
HOSTILE = sorted(folder for folder in (FIXTURES / "hostile").iterdir() if (folder / "expected.json").is_file())
PICKLES = [folder for folder in HOSTILE if folder.name.startswith("pickle-")]
GUARD = Path(__file__).with_name("guarded.py")
BOMBS = Path(__file__).with_name("bombs.py")
DEAR = Path(__file__).with_name("dear.py")


def answer(file: Path) -> tuple[str, str]:
    with pytest.raises(SourceError) as refusal, container.read(file):
        pass
    return refusal.value.code, str(refusal.value).replace(str(file), "{path}")


@pytest.mark.parametrize("folder", PICKLES, ids=lambda folder: folder.name)
def test_a_hostile_pickle_gets_its_answer(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    assert answer(next(folder.glob("case.*"))) == (expected["code"], expected["error"])


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_hostile", FIXTURES / "make_hostile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_fixtures_are_those_that_the_script_makes() -> None:
    made = script()
    assert {folder.name for folder in PICKLES} == {f"pickle-{name}" for name in made.CASES}
    for name, case in made.CASES.items():
        folder = FIXTURES / "hostile" / f"pickle-{name}"
        assert (folder / f"case.{case.ext}").read_bytes() == case.data
        assert (folder / "expected.json").read_text() == made.expected(case)


def run(script: Path, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", str(script), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def files() -> list[Path]:
    return [file for folder in HOSTILE for file in folder.glob("case.*")]


@pytest.mark.parametrize("allow_unsafe", [False, True])
def test_no_import_call_or_process_is_reached_while_hostile_files_are_read(allow_unsafe: bool) -> None:
    done = run(GUARD, "unsafe" if allow_unsafe else "safe", *files())
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"read": len(files()), "reached": [], "loaded": []}


def test_nothing_is_imported_for_honest_files_either() -> None:
    honest = sorted((FIXTURES / "foreign").glob("*/*.pth"))
    done = run(GUARD, "safe", *honest)
    assert json.loads(done.stdout) == {"read": len(honest), "reached": [], "loaded": []}
    assert len(honest) >= 16


def test_what_is_gone_on_with_is_inert_all_the_way(tmp_path: Path) -> None:
    """Names of other packages: dotted, attributes of them, calls of calls, classes that are made by calls."""
    made = script()
    nested = made.text("agents") + made.text("Agent.Config") + b"\x93"
    attribute = made.call(made.name("builtins", "getattr"), made.FOREIGN, made.text("Config"))
    bodies = {
        "dotted": nested + b")\x81}" + made.text("lr") + b"K\x01sb",
        "attribute": attribute + b")\x81}" + made.text("lr") + b"K\x01sb",
        "attribute-called": made.call(attribute, made.TOUCH),
        "call-of-a-call": made.call(made.call(made.FOREIGN), made.TOUCH),
        "class-of-a-call": made.call(made.FOREIGN, made.TOUCH) + b")\x81}b",
        "set-of-a-class": made.FOREIGN + b")\x81(K\x01\x90",
        "stored": b"}" + made.text("hook") + made.name("posix", "system") + b"s",
        "stored-in-a-call": made.call(made.FOREIGN, made.name("posix", "system"), made.TOUCH),
    }
    files = []
    for case, body in bodies.items():
        files.append(tmp_path / f"{case}.pkl")
        files[-1].write_bytes(made.pickled(body, 4))
        with container.read(files[-1]) as opened:
            assert opened.members[""] is not None
    for mode in ("safe", "unsafe"):
        done = run(GUARD, mode, *files)
        assert json.loads(done.stdout) == {"read": len(files), "reached": [], "loaded": []}


def test_the_source_text_in_a_module_id_is_neither_run_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's own handler compares that text with the source file, and writes a patch beside it."""
    made = script()
    pid = made.tuple_of(made.text("module"), made.FOREIGN, made.text("agent.py"), made.text("import os"))
    (tmp_path / "case.pth").write_bytes(made.stream(body=pid + b"Q)\x81}b"))
    (tmp_path / "agent.py").write_text("import sys")
    monkeypatch.chdir(tmp_path)
    with container.read("case.pth") as opened:
        assert opened.members[""].name == "agent.Agent"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.py", "case.pth"]
    assert (tmp_path / "agent.py").read_text() == "import sys"


def test_the_guard_notices_a_reader_that_does_run_files() -> None:
    done = run(GUARD, "pickle", FIXTURES / "hostile" / "pickle-name-posix-system" / "case.pkl")
    assert json.loads(done.stdout) == {
        "read": 1,
        "reached": ["pickle.find_class", "__import__ posix", "os.system"],
        "loaded": ["pickle", "_pickle"],
    }


def bombs() -> list[str]:
    return run(BOMBS).stdout.split()


@pytest.mark.parametrize("name", bombs())
def test_a_megabyte_of_anything_stays_within_300_mb_and_five_seconds_of_work(name: str) -> None:
    """The process limits itself to 5 s of processor time: it is killed beyond that."""
    done = run(BOMBS, name)
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["bytes"] <= 1 << 20
    assert said["peak_mb"] < 300


def dear() -> list[str]:
    return run(DEAR).stdout.split()


@pytest.mark.parametrize("name", dear())
def test_a_small_file_is_looked_at_and_converted_within_a_gibibyte_and_ten_seconds_of_work(
    name: str, tmp_path: Path
) -> None:
    """The process limits itself to 10 s of processor time for both: it is killed beyond that."""
    done = run(DEAR, name, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["peak_mb"] < 1024


def test_text_of_protocol_0_is_read_without_a_codec_that_is_imported_for_it(tmp_path: Path) -> None:
    (tmp_path / "case.pkl").write_bytes(b"(dVgr\\u00fcn\nV\\ud83d\\ude00\ns.")
    done = run(GUARD, "safe", tmp_path / "case.pkl")
    assert json.loads(done.stdout) == {"read": 1, "reached": [], "loaded": []}
