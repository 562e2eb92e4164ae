"""Run a function in a forked process under strace, whose system calls can be made to fail."""

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ckptfmt.errors import CkptError

_CALL = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call: the `nth` of its name in its thread; `text` is what strace says of it."""

    name: str
    nth: int
    text: str


@dataclass(frozen=True, slots=True)
class Run:
    """How a traced process ended (negative: by that signal), what it said, the calls it made."""

    code: int
    said: str
    lines: tuple[str, ...] = field(repr=False)

    def calls(self, touching: str) -> list[Call]:
        """Return the calls whose arguments name `touching`, in order."""
        counts: Counter[tuple[str, str]] = Counter()
        found = []
        for line in self.lines:
            if match := _CALL.match(line):
                counts[match["thread"], match["name"]] += 1
                if touching in line:
                    found.append(Call(match["name"], counts[match["thread"], match["name"]], match["rest"]))
        return found

    @property
    def injected(self) -> int:
        """Return how many calls were tampered with."""
        return sum("(INJECTED)" in line for line in self.lines) + (self.code == -signal.SIGKILL)


def run_traced(act: Callable[[], None], inject: Sequence[str] = (), *, dump: bool = False) -> Run:
    """Run `act` in a forked process under strace and return how it ended.

    With `dump` the lines hold all bytes that were written, and every text in hex. Exit status 0 is success, 2 a
    `CkptError` (said in one line), 1 any other exception (its traceback said).
    """
    go, said = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _child(act, go, said)
    os.close(go[0])
    os.close(said[1])
    os.read(said[0], 1)
    with tempfile.NamedTemporaryFile("r") as log:
        tracer = _attach(child, log.name, inject, dump=dump)
        os.write(go[1], b"g")
        os.close(go[1])
        _, status = os.waitpid(child, 0)
        tracer.wait()
        lines = tuple(log.read().splitlines())
    return Run(os.waitstatus_to_exitcode(status), _heard(said[0]), lines)


def run_fresh(act: Callable[[], None]) -> Run:
    """Run `act` in a forked process, not traced."""
    said = os.pipe()
    child = os.fork()
    if child == 0:
        go = os.pipe()
        os.write(go[1], b"g")
        _child(act, go, said)
    os.close(said[1])
    os.read(said[0], 1)
    _, status = os.waitpid(child, 0)
    return Run(os.waitstatus_to_exitcode(status), _heard(said[0]), ())


def _heard(pipe: int) -> str:
    with open(pipe, errors="replace") as file:
        return file.read()


def _child(act: Callable[[], None], go: tuple[int, int], said: tuple[int, int]) -> None:
    """Act and end the process; what it says fits into a pipe, and no descriptor of ours is in its way."""
    code = 1
    try:
        os.close(go[1])
        os.close(said[0])
        os.dup2(said[1], 1)
        os.dup2(said[1], 2)
        # From here on nothing but the act makes calls: they can be counted.
        os.write(2, b"r")
        select.select([go[0]], [], [])
        act()
        code = 0
    except CkptError as e:
        os.writev(2, [f"{e}\n".encode()])
        code = 2
    except BaseException:
        os.writev(2, [traceback.format_exc().encode()[-16_000:]])
    finally:
        os._exit(code)


def _attach(child: int, log: str, inject: Sequence[str], *, dump: bool) -> subprocess.Popen[bytes]:
    options = [part for one in inject for part in ("-e", f"inject={one}")]
    texts = ["-xx", "-s", str(1 << 24)] if dump else ["-s", "0"]
    command = ["strace", "-f", "-y", *texts, "-o", log, *options, "-p", str(child)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert tracer.stderr is not None
    select.select([tracer.stderr], [], [], 10)
    heard = os.read(tracer.stderr.fileno(), 4096)
    if b"attached" not in heard:
        sys.exit(f"strace cannot attach: {heard.decode(errors='replace')}")
    return tracer


def strace_works() -> str:
    """Return why processes cannot be traced here, "" where they can."""
    try:
        run = run_traced(lambda: Path("/").stat() and None)
    except FileNotFoundError:
        return "strace is not installed"
    except SystemExit as e:
        return str(e)
    return "" if run.code == 0 and run.lines else "strace traces nothing"
