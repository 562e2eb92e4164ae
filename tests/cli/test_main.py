"""The command line as a whole, through real processes: streams, exit codes, errors, start-up."""

import ast
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from ckptfmt.cli.main import COMMANDS, main

import ckptfmt
from ckptfmt.format.schemas import schema_names

from .conftest import CKPT, environment

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = [name for section in COMMANDS.values() for name in section]


# Packages of extras, and those that take longest of the others.
HIDDEN = (
    *("torch", "gymnasium", "ale_py", "cv2", "yaml", "tensorboard", "imageio_ffmpeg", "stable_baselines3", "lightning"),
    *("cryptography", "jinja2", "starlette", "uvicorn", "onnx", "onnxruntime", "pebble", "jsonschema"),
)


def without_extras(*words):
    program = f"import sys; sys.modules.update(dict.fromkeys({HIDDEN})); sys.argv = ['ckpt', *{words}]\n"
    program += "from ckptfmt.cli.main import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_says_what_the_command_says_of_itself(name):
    command = getattr(import_module(f"ckptfmt.cli.commands.{name}"), name)
    listed = next(section[name] for section in COMMANDS.values() if name in section)
    assert command.help.strip().splitlines()[0] == listed


def test_every_command_module_is_in_the_table():
    modules = {path.stem for path in (ROOT / "cli" / "commands").glob("*.py")} - {"__init__"}
    assert modules == set(NAMES)


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_every_command_in_its_group(ckpt, option):
    run = ckpt(option)
    assert (run.code, run.err) == (0, "")
    for section, commands in COMMANDS.items():
        assert f"\n{section}:\n" in run.out
        assert all(f"  {name} " in run.out and text in run.out for name, text in commands.items())


@pytest.mark.parametrize("name", NAMES)
def test_help_needs_no_package_of_an_extra(name):
    done = without_extras(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(next(section[name] for section in COMMANDS.values() if name in section))


def test_settings_of_a_training_are_told_without_the_packages_that_train():
    done = without_extras("train", "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith('env: "ALE/Pong-v5"')


@pytest.mark.parametrize("words", [("play", "x"), ("evaluate", "x"), ("train", "--out", "x")])
def test_what_plays_says_that_it_needs_torch(words):
    done = without_extras(*words)
    line = f'error: {words[0]} needs torch, which is not installed; run: pip install "ckptfmt[rl]"\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command_begins_with_what_it_does_and_ends_with_examples(ckpt, name):
    run = ckpt(name, "-h")
    assert (run.code, run.err) == (0, "")
    lines = run.out.splitlines()
    assert lines[0] == next(section[name] for section in COMMANDS.values() if name in section)
    examples = lines[lines.index("Examples:") + 1 :]
    assert 2 <= len(examples) <= 4
    assert all(example.startswith(f"  ckpt {name}") for example in examples)
    assert "Output:" in lines
    assert max(map(len, lines)) <= 80


def test_without_a_command_the_help_goes_to_stderr(ckpt):
    run = ckpt()
    assert (run.code, run.out) == (2, "")
    assert run.err == ckpt("--help").out


def test_version(ckpt):
    run = ckpt("--version")
    assert (run.code, run.out, run.err) == (0, f"ckpt {ckptfmt.__version__}\n", "")


def test_python_dash_m_is_the_same_command(ckpt):
    run = subprocess.run([sys.executable, "-P", "-m", "ckptfmt", "--version"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, f"ckpt {ckptfmt.__version__}\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["shcema"], "ckpt: no such command: shcema; did you mean schema?"),
        (["xyzzy"], "ckpt: no such command: xyzzy; see: ckpt --help"),
        (["--vresion"], "ckpt: no such option: --vresion; did you mean --version?"),
        (["-v", "schema"], "ckpt: -v goes behind the command; as in: ckpt COMMAND -v"),
        (["schema", "--jsn"], "ckpt schema: no such option: --jsn; did you mean --json?"),
        (["schema", "--version", "x"], "ckpt schema: --version: 'x' is not a whole number; see: ckpt schema --help"),
        (["convert"], "ckpt convert: no SOURCE was given; see: ckpt convert --help"),
        (
            ["compress", "a", "--level", "0"],
            "ckpt compress: --level: must be 1 to 19, not 0; see: ckpt compress --help",
        ),
        (["play", "a", "--seed", "-1"], "ckpt play: --seed: must be 0 or more, not -1; see: ckpt play --help"),
        (["diff", "a", "b", "--rtol", "x"], "ckpt diff: --rtol: 'x' is not a number; see: ckpt diff --help"),
        (["schema", "x"], f"there is no schema 'x'; use one of {', '.join(schema_names())}"),
        (["schema", "report", "more"], "ckpt schema: got unexpected extra argument (more); see: ckpt schema --help"),
        (["schema", "--version", "9"], "there are no schemas of version 9 of the format; use version 1"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(ckpt, words, line):
    run = ckpt(*words)
    assert (run.code, run.out, run.err) == (2, "", f"error: {line}\n")


@pytest.mark.parametrize(
    ("words", "command", "code"),
    [
        (["shcema", "--json"], "", "usage.wrong"),
        (["--json", "schema"], "", "usage.wrong"),
        (["schema", "--jsn", "--json"], "schema", "usage.wrong"),
        (["schema", "--json", "--version"], "schema", "usage.wrong"),
        (["schema", "--json", "--version", "9"], "schema", "version.unsupported"),
    ],
)
def test_json_is_one_document_on_failure_too(ckpt, words, command, code):
    run = ckpt(*words)
    document = run.document
    assert list(document) == ["ckpt", "command", "ok", "exit", "error"]
    assert list(document["error"]) == ["code", "what", "where", "fix"]
    assert (run.code, document["exit"], document["ok"]) == (2, 2, False)
    assert (document["command"], document["error"]["code"]) == (command, code)
    assert run.err.startswith("error: ")


def test_an_answer_in_json_has_the_envelope(ckpt):
    document = ckpt("schema", "--list", "--json").document
    assert list(document) == ["ckpt", "command", "ok", "exit", "result"]
    assert document["result"]["schemas"][0] == {"name": "manifest", "version": 1}


def test_quiet_prints_no_answer_and_keeps_errors(ckpt):
    assert (run := ckpt("schema", "-q")).out == ""
    assert run.code == 0
    assert ckpt("schema", "-q", "--json").out == ""
    failed = ckpt("shcema", "-q")
    assert (failed.code, failed.out) == (2, "")
    assert failed.err != ""


COLOURED = "\x1b[31;1merror:\x1b[0m"


@pytest.mark.parametrize(
    ("option", "variables", "terminal", "coloured"),
    [
        ((), {}, True, True),
        ((), {}, False, False),
        ((), {"TERM": "dumb"}, True, False),
        ((), {"NO_COLOR": "1"}, True, False),
        ((), {"NO_COLOR": ""}, True, True),
        ((), {"FORCE_COLOR": "1"}, False, True),
        ((), {"FORCE_COLOR": ""}, False, False),
        ((), {"FORCE_COLOR": "1", "TERM": "dumb"}, False, True),
        ((), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        (("--color", "always"), {"NO_COLOR": "1", "TERM": "dumb"}, False, True),
        (("--color=always",), {"NO_COLOR": "1"}, False, True),
        (("--color", "never"), {"FORCE_COLOR": "1"}, True, False),
        (("--color", "auto"), {"FORCE_COLOR": "1"}, False, True),
    ],
)
def test_who_decides_over_colour(ckpt, on_terminal, option, variables, terminal, coloured):
    run = (on_terminal if terminal else ckpt)("schema", "--version", "9", *option, **variables)
    assert run.err.startswith(COLOURED if coloured else "error:")
    assert ("\x1b" in run.err) is coloured


def test_a_closed_pipe_ends_silently():
    process = subprocess.Popen([CKPT, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == -signal.SIGPIPE
    assert err == b""


def test_a_full_device_is_an_error():
    with open("/dev/full", "wb") as full:
        run = subprocess.run([CKPT, "schema"], stdout=full, stderr=subprocess.PIPE, env=environment())
    assert run.returncode == 2
    assert run.stderr == b"error: standard output: no space left; free some and run it again\n"


def test_an_error_whose_document_cannot_be_written_is_still_said_in_one_line(tmp_path):
    with open("/dev/full", "wb") as full:
        words = [CKPT, "validate", "nope", "--json"]
        run = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, env=environment(), cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr == b"error: nope: no such folder; check the path\n"


def test_a_closed_stdout_changes_nothing_but_the_answer(tmp_path):
    run = subprocess.run(["sh", "-c", f"{CKPT} schema >&-"], capture_output=True, env=environment(), cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["nosuch"]])
def test_starting_loads_nothing_heavy(words):
    heavy = "torch numpy jsonschema gymnasium ale_py safetensors blake3 rfc8785 starlette jinja2 shutil tempfile"
    program = (
        "import sys; from ckptfmt.cli.main import main; main(sys.argv[1:]);"
        f"print([m for m in {heavy.split()!r} if m in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-P", "-c", program, *words], capture_output=True, text=True, timeout=60)
    assert run.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
def test_help_and_version_do_not_even_load_the_parser_of_command_lines(option):
    program = (
        "import sys; from ckptfmt.cli.main import main; code = main(sys.argv[1:]);"
        "print(code, [m for m in ('click', 'inspect', 'json') if m in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-P", "-c", program, option], capture_output=True, text=True, timeout=60)
    assert run.stderr.splitlines() == ["0 []"]


def test_commands_import_ckptfmt_by_name_and_cli_relatively():
    for path in (ROOT / "cli").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert not (node.module or "").startswith(("cli.", "ckptfmt.cli")), path
                assert node.module != "cli", path


def test_debugging_shows_the_traceback_and_the_same_line(ckpt):
    run = ckpt("schema", "--version", "9", CKPT_DEBUG="1")
    lines = run.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "error: there are no schemas of version 9 of the format; use version 1"
    assert run.code == 2
    assert "Traceback" not in ckpt("schema", "--version", "9").err


def test_a_conversion_of_a_dqn_loads_no_other_family_and_no_reader_of_images_from_elsewhere(tmp_path):
    program = (
        "import sys; from ckptfmt.cli.main import main; main(sys.argv[1:]);"
        "print(*[m for m in sys.modules if m.split('.')[-1] in ('actor_critic', 'draft', 'outline', 'pixels')"
        " and 'rivals' not in m], 'end', file=sys.stderr)"
    )
    source = Path(__file__, "../../../fixtures/foreign/dqn/dqn_best.pth").resolve()
    run = subprocess.run(
        [sys.executable, "-P", "-c", program, "convert", source, tmp_path / "out"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (run.stderr.splitlines()[-1], (tmp_path / "out" / "manifest.json").is_file()) == ("end", True)


def test_a_program_that_runs_a_command_keeps_its_signals(capsys):
    before = [signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT)]
    assert main(["schema"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT)] == before
    assert capsys.readouterr().out.startswith("{")
