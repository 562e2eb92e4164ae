"""Replay the recorded calls of a save and build what a power cut may leave, on a filesystem that promises little.

The model: what a file holds lasts once the file was flushed, what a folder lists once the folder was flushed; a
rename within one folder is one step; whatever was not flushed may be there or not, in any combination, and the
data of a file that was not flushed may be missing, torn or zero. ext4 and xfs promise more.
"""

import itertools
import os
import random
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.calls import Tally, judge, nothing
from tests.faults.parallel import MEMORY, in_parallel
from tests.faults.scenarios import Scenario
from tests.faults.trace import Run, run_traced

_LINE = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)", re.DOTALL)
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)", re.DOTALL)
_DATA = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_HEX = re.compile(r"\\x([0-9a-f]{2})")
_RESULT = re.compile(r".*\) += (-?\d+)", re.DOTALL)
_DESCRIPTOR = re.compile(r"^(?:\d+|AT_FDCWD)<(?P<path>[^>]*)>")
_NAMED = re.compile(r'(?:(?:\d+|AT_FDCWD)<(?P<folder>[^>]*)>, )?"(?P<name>[^"]*)"')
# All combinations of up to so many steps that were not flushed are built, of more a seeded choice.
_ALL = 6
_CHOICE = 48
DATA = ("all", "none", "zeros", "torn")


@dataclass(slots=True)
class Step:
    """One step towards what lasts: entries of one folder set or removed, bytes written, or a flush."""

    kind: str
    node: int
    entries: dict[str, int | None] = field(default_factory=dict)
    begin: int = 0
    data: bytes = b""


@dataclass(slots=True)
class Model:
    """The nodes of a tree (folders hold entries, files bytes), before any step, and the steps."""

    folders: dict[int, dict[str, int]] = field(default_factory=dict)
    files: dict[int, bytes] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    now: dict[int, dict[str, int]] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def add_tree(self, path: Path) -> int:
        """Take what is at `path` as it lasts already; return its node."""
        node = self.new()
        if path.is_dir():
            self.folders[node] = {child.name: self.add_tree(child) for child in sorted(path.iterdir())}
            self.now[node] = dict(self.folders[node])
        else:
            self.files[node] = path.read_bytes()
        return node

    def new(self) -> int:
        self.count += 1
        return self.count

    def find(self, parts: list[str]) -> int | None:
        """Return the node at a path below the root as the running process sees it."""
        node: int | None = 1
        for part in parts:
            node = self.now.get(node or 0, {}).get(part)
        return node

    def set(self, folder: int, entries: dict[str, int | None]) -> None:
        """Change entries of a folder, in one step."""
        self.steps.append(Step("entries", folder, entries))
        _apply(self.now[folder], entries)


def _apply(folder: dict[str, int], entries: dict[str, int | None]) -> None:
    for name, node in entries.items():
        if node is None:
            folder.pop(name, None)
        else:
            folder[name] = node


def replay(scenario: Scenario, *, short: bool = False, breaking: Callable[[], None] = nothing) -> Tally:
    """Record the scenario once, then look at every state that a power cut during it may leave."""
    with tempfile.TemporaryDirectory(prefix="replay-", dir=MEMORY) as top:
        root = Path(top) / "root"
        scenario.prepare(root)
        model = Model()
        model.add_tree(root)
        run = run_traced(lambda: (breaking(), scenario.act(root)), scenario.always, dump=True)
        for name, rest in _completed(run.lines):
            _take(model, name, rest, str(root))
    states = _states(model, short=short)
    wrong = in_parallel(_look_at, [(scenario, model, state, last) for state, last in states.items()])
    return Tally(len(model.steps), len(model.steps), len(states), [text for text in wrong if text])


def _completed(lines: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield (name, arguments and result) of each call that succeeded, in the order of their ends."""
    begun: dict[str, str] = {}
    for line in lines:
        if line.endswith("<unfinished ...>") and (match := _LINE.match(line)):
            begun[match["thread"]] = match["rest"].removesuffix("<unfinished ...>").rstrip()
            continue
        resumed = _RESUMED.match(line)
        match = resumed or _LINE.match(line)
        if match:
            rest = (begun.pop(match["thread"], "") if resumed else "") + match["rest"]
            result = _RESULT.match(rest)
            if result and int(result[1]) >= 0:
                yield match["name"], rest


def _take(model: Model, name: str, rest: str, root: str) -> None:
    """Add what a call did below the root to the model."""
    if name not in ("write", "pwrite64"):
        rest = _HEX.sub(lambda found: chr(int(found[1], 16)), rest)
    inside = [_below(root, os.path.join(m["folder"] or "/", m["name"])) for m in _NAMED.finditer(rest)]
    described = _DESCRIPTOR.match(_HEX.sub(lambda found: chr(int(found[1], 16)), rest[:4096]))
    own = _below(root, described["path"]) if described else None
    if name in ("mkdir", "mkdirat") and inside[0]:
        _make(model, inside[0], folder=True)
    elif name == "openat" and inside[0] and "O_CREAT" in rest:
        model.positions["/".join(inside[0])] = 0
        if model.find(inside[0]) is None:
            _make(model, inside[0], folder=False)
    elif name in ("write", "pwrite64") and own:
        _write(model, own, rest, at_offset=name == "pwrite64")
    elif name.startswith("rename") and inside[0] and inside[1]:
        _rename(model, inside[0], inside[1], exchange="EXCHANGE" in rest)
    elif name == "linkat" and inside[0] and inside[1]:
        model.set(_folder(model, inside[1]), {inside[1][-1]: model.find(inside[0])})
    elif name in ("unlink", "unlinkat", "rmdir") and inside[0]:
        model.set(_folder(model, inside[0]), {inside[0][-1]: None})
    elif name in ("fsync", "fdatasync") and own is not None and (node := model.find(own)):
        model.steps.append(Step("flush", node))


def _below(root: str, path: str) -> list[str] | None:
    if path != root and not path.startswith(root + "/"):
        return None
    return [part for part in path[len(root) :].split("/") if part]


def _folder(model: Model, parts: list[str]) -> int:
    node = model.find(parts[:-1])
    assert node is not None, parts
    return node


def _make(model: Model, parts: list[str], *, folder: bool) -> None:
    node = model.new()
    if folder:
        model.folders[node], model.now[node] = {}, {}
    else:
        model.files[node] = b""
    model.set(_folder(model, parts), {parts[-1]: node})


def _write(model: Model, own: list[str], rest: str, *, at_offset: bool) -> None:
    node, key = model.find(own), "/".join(own)
    result = _RESULT.match(rest)
    if node is None or result is None:
        return
    begin = int(rest.rsplit(")", 1)[0].rsplit(", ", 1)[1]) if at_offset else model.positions.get(key, 0)
    model.positions[key] = begin + int(result[1])
    data = bytes.fromhex(_DATA.search(rest)[1].replace("\\x", ""))  # type: ignore[index]
    model.steps.append(Step("data", node, begin=begin, data=data[: int(result[1])]))


def _rename(model: Model, old: list[str], new: list[str], *, exchange: bool) -> None:
    source, target = _folder(model, old), _folder(model, new)
    moved, replaced = model.now[source][old[-1]], model.now[target].get(new[-1])
    here: dict[str, int | None] = {old[-1]: replaced if exchange else None}
    there: dict[str, int | None] = {new[-1]: moved}
    if source == target:
        model.set(source, here | there)
    else:
        model.set(target, there)
        model.set(source, here)


State = tuple[frozenset[int], str]


def _states(model: Model, *, short: bool) -> dict[State, bool]:
    """Return the sets of steps that may have lasted, with how data went; True where all of the save was done."""
    states: dict[State, bool] = {}
    generator = random.Random(0)
    for end in range(len(model.steps) + 1):
        lasting, open_ones = _split(model.steps[:end])
        for kept in _choices(open_ones, generator, short=short):
            for data in DATA[:2] if short else DATA:
                state = (frozenset(lasting | kept), data)
                states[state] = end == len(model.steps)
    return states


def _split(steps: list[Step]) -> tuple[frozenset[int], list[int]]:
    """Return which steps were flushed, and which may be there or not."""
    lasting, pending = set(), []
    for number, step in enumerate(steps):
        if step.kind == "flush":
            continue
        flushed = any(later.kind == "flush" and later.node == step.node for later in steps[number:])
        if flushed:
            lasting.add(number)
        else:
            pending.append(number)
    return frozenset(lasting), pending


def _choices(pending: list[int], generator: random.Random, *, short: bool) -> Iterator[frozenset[int]]:
    if len(pending) <= (_ALL // 2 if short else _ALL):
        for size in range(len(pending) + 1):
            yield from map(frozenset, itertools.combinations(pending, size))
        return
    yield frozenset()
    yield frozenset(pending)
    for one in pending:
        yield frozenset({one})
        yield frozenset(pending) - {one}
    for _ in range(_CHOICE // 8 if short else _CHOICE):
        yield frozenset(one for one in pending if generator.random() < 0.5)


def _look_at(scenario: Scenario, model: Model, state: State, last: bool) -> str:
    with tempfile.TemporaryDirectory(prefix="replay-", dir=MEMORY) as top:
        root = Path(top) / "root"
        _build(model, state, root)
        wrong = judge(scenario, root, Run(0 if last else -9, "", ()), fresh=False)
    if not wrong:
        return ""
    missing = sorted(set(range(len(model.steps))) - state[0])
    lost = [
        f"{s.kind} {list(s.entries) or s.node}" for n, s in enumerate(model.steps) if n in missing and s.kind != "flush"
    ]
    return f"{scenario.name}: without {lost[:6]}, data {state[1]}: {wrong}"


def _build(model: Model, state: State, root: Path) -> None:
    folders = {node: dict(entries) for node, entries in model.folders.items()}
    files = {node: bytearray(data) for node, data in model.files.items()}
    kept, data = state
    flushed = _flushed_data(model, kept)
    for number, step in enumerate(model.steps):
        if step.kind == "entries" and number in kept:
            _apply(folders[step.node], step.entries)
        elif step.kind == "data":
            _put(files[step.node], step, "all" if number in flushed else data)
    _lay(1, folders, files, root)


def _flushed_data(model: Model, kept: frozenset[int]) -> set[int]:
    return {n for n in kept if model.steps[n].kind == "data"}


def _put(file: bytearray, step: Step, how: str) -> None:
    if how == "none":
        return
    size = len(step.data) // 2 if how == "torn" else len(step.data)
    if len(file) < step.begin:
        file.extend(bytes(step.begin - len(file)))
    file[step.begin : step.begin + size] = bytes(size) if how == "zeros" else step.data[:size]


def _lay(node: int, folders: dict[int, dict[str, int]], files: dict[int, bytearray], path: Path) -> None:
    if node not in folders:
        path.write_bytes(files[node])
        return
    os.mkdir(path)
    for name, child in folders[node].items():
        _lay(child, folders, files, path / name)
