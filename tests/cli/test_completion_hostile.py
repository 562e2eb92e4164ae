"""Names written by strangers, completed in real shells: nothing that is offered is anybody's command."""

import json
import os
import pty
import select
import shutil
import subprocess
import time

import pytest

from .conftest import CKPT, environment

# Each makes the file X when a shell reads it as a command, or says more than one word, or acts as an option.
EVIL = (
    "evil$(touch X)x",
    "evil`touch X`x",
    "evil;touch X",
    "evil;touch${IFS}X",
    "evil|touch X",
    "evil&touch X&",
    "evil>X",
    "evil\ntouch X",
    "evil\rtouch X",
    "evil\nplain,forged",
    'evil"$(touch X)"',
    "evil'$(touch X)'",
    "evil\\$(touch X)",
    "evil(touch X)",
    "evil{a,b}",
    "evil*",
    "evil[ab]",
    "evil?",
    "evil!!",
    "evil^a^b",
    "evil#x",
    "evil$HOME",
    "evil,forged",
    "evil\tforged",
    "evil x",
    "evil\x1b]0;x\x07",
    "evil\u2028x",
    "evil\u00a0x",
    "--force",
    "-rf",
    "=touch",
    "~root",
    "%1",
)
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
MANIFEST = "manifest.json"


def checkpoint(folder, tensors=()):
    folder.mkdir(parents=True)
    entry = {"tensors": {name: {} for name in tensors}}
    (folder / MANIFEST).write_text(json.dumps({"files": {"weights.safetensors": entry}}))


def asked(folder, line, *, shell="bash"):
    """Return the raw answer of the completion for `line`."""
    words = line.split()
    position = len(words) if line.endswith(" ") else len(words) - 1
    current = "" if line.endswith(" ") else words[-1]
    run = subprocess.run(
        [CKPT],
        cwd=folder,
        env=environment(
            _CKPT_COMPLETE=f"{shell}_complete",
            COMP_WORDS=line,
            COMP_CWORD=current if shell == "fish" else str(position),
        ),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert run.stderr == ""
    return run.stdout


@pytest.fixture
def strangers(tmp_path):
    """A folder of checkpoints with hostile names among two plain ones, one of which has hostile tensors."""
    for name in EVIL:
        checkpoint(tmp_path / name)
    checkpoint(tmp_path / "evil$(touch X)" / "inner")
    # Alone with their first letters, so that a shell would insert them.
    checkpoint(tmp_path / "one$(touch X)")
    checkpoint(tmp_path / "two;touch X")
    checkpoint(tmp_path / "fine-1")
    checkpoint(tmp_path / "fine-2", [*EVIL, "conv.0.weight", "three;touch${IFS}X"])
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_only_plain_words_are_offered(strangers, shell):
    paths = asked(strangers, "ckpt validate ", shell=shell)
    assert [row.split(",")[-1] for row in paths.split() if row not in ("plain", "_")] == ["fine-1", "fine-2"]
    names = asked(strangers, "ckpt inspect fine-2 --tensor ", shell=shell)
    assert [row.split(",")[-1] for row in names.split() if row not in ("plain", "_")] == ["conv.0.weight"]


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_and_enter_run_nothing(ckpt, strangers, shell, tmp_path_factory):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    home = tmp_path_factory.mktemp("home")
    script = home / "completion"
    script.write_text(ckpt("completion", shell).out)
    before = set(os.listdir(strangers))
    lines = ("ckpt validate on\t", "ckpt validate tw\t", "ckpt inspect fine-2 --tensor thr\t", "ckpt validate fi\t")
    said = typed(shell, strangers, home, [f"source {script}", *lines])
    assert "ckpt validate fine-" in said.replace("\a", "")
    assert set(os.listdir(strangers)) == before


def typed(shell, folder, home, lines):
    """Type lines into an interactive shell in a terminal of its own and return what it showed."""
    path = f"{os.path.dirname(CKPT)}:{os.environ['PATH']}"
    home = {"PATH": path, "HOME": str(home), "XDG_CONFIG_HOME": "", "TERM": "dumb"}
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(SHELLS[shell][0], SHELLS[shell], environment(**home))
    shown = ""
    for number, line in enumerate(lines):
        os.write(terminal, f"{line}\recho en''d{number}\r".encode())
        shown += until(terminal, f"end{number}")
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(terminal)
    return shown


def until(terminal, text):
    shown, last = "", time.monotonic() + 60
    while text not in shown:
        assert time.monotonic() < last, shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 65536).decode(errors="replace")
    return shown


@pytest.mark.parametrize(
    "kind", ["fifo", "zero", "link to a fifo", "folder", "huge", "deep", "text", "numbers", "lists"]
)
def test_what_stands_in_place_of_a_manifest_does_not_hold_the_shell(tmp_path, kind):
    checkpoint(tmp_path / "fine", ["conv.0.weight"])
    odd = tmp_path / "odd"
    odd.mkdir()
    match kind:
        case "fifo":
            os.mkfifo(odd / MANIFEST)
        case "zero":
            (odd / MANIFEST).symlink_to("/dev/zero")
        case "link to a fifo":
            os.mkfifo(tmp_path / "pipe")
            (odd / MANIFEST).symlink_to(tmp_path / "pipe")
        case "folder":
            (odd / MANIFEST).mkdir()
        case "huge":
            with open(odd / MANIFEST, "wb") as file:
                file.truncate(1 << 40)
        case "deep":
            (odd / MANIFEST).write_text("[" * 100_000)
        case "text":
            (odd / MANIFEST).write_text('{"files": {"weights.safetensors": {"tensors": "evil"}}}')
        case "numbers":
            (odd / MANIFEST).write_text('{"files": {"a": {"tensors": [1, null]}}}')
        case "lists":
            (odd / MANIFEST).write_text('{"files": {"a": {"tied": [["a"], {}]}}}')
    assert asked(tmp_path, "ckpt inspect odd --tensor ").strip() in ("", "plain,e\nplain,i\nplain,l\nplain,v")
    assert asked(tmp_path, "ckpt validate f") == "plain,fine\n"


@pytest.mark.parametrize("changes", [{}, {"COMP_WORDS": "ckpt val"}, {"COMP_WORDS": "ckpt val", "COMP_CWORD": "x"}])
def test_a_completion_without_its_variables_says_nothing(tmp_path, changes):
    env = environment(_CKPT_COMPLETE="bash_complete", **changes)
    run = subprocess.run([CKPT], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=20)
    assert (run.returncode, run.stdout, run.stderr) == (2, "", "")
