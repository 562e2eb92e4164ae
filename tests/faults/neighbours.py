"""A hostile neighbour in the folder: at each system call of a writer something of theirs takes one of its names.

The neighbour acts once, right before a call: it moves away what has a name that the writer uses and puts a link,
a second name of somebody's file, a folder or a pipe there. Whatever the writer does then, nothing of anybody
else may be lost, written to or moved in silence. Linux removes and renames by name alone; so where the neighbour
comes right before the very call that removes or renames this name, what it planted may go; what its links name
may not.
"""

import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ckptfmt.errors import CkptError
from ckptfmt.look.validate import validate
from ckptfmt.store.clean import clean
from ckptfmt.store.manager import CheckpointManager
from ckptfmt.store.write import linux, remove_checkpoint, update_manifest
from tests.faults.calls import Tally, nothing
from tests.faults.parallel import MEMORY, in_parallel
from tests.faults.scenarios import Violation, generation, write, write_step

_CALLS = (
    "close",
    "fstat",
    "fsync",
    "ftruncate",
    "link",
    "listdir",
    "lstat",
    "mkdir",
    "open",
    "pread",
    "preadv",
    "pwrite",
    "readlink",
    "rename",
    "rmdir",
    "scandir",
    "stat",
    "unlink",
    "write",
)
_BY_NAME = {"rename", "rmdir", "unlink", "_rename"}
_STAGE = "0123456789abcdef"


@dataclass(frozen=True, slots=True)
class Prey:
    """What is done beside the neighbour: `stem` is the target whose names it takes."""

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], object]
    stem: str = "out"
    exchange: bool = True


def _nothing(root: Path) -> None:
    root.mkdir()


def _first(root: Path) -> None:
    _nothing(root)
    write(root / "out", 1, small=True)


def _dead(root: Path) -> None:
    """What writers that died leave: a stage, a predecessor set aside, a lock."""
    _first(root)
    shutil.copytree(root / "out", root / f".out.ckpt-stage-{_STAGE}")
    os.rename(root / "out", root / ".out.ckpt-old")
    (root / ".out.ckpt-lock").write_text("")


def _steps(root: Path) -> None:
    _nothing(root)
    for step in (1, 2):
        write_step(CheckpointManager(root), step)


def _retain(root: Path) -> None:
    write_step(CheckpointManager(root, keep_last=1), 3)


def _replace(root: Path) -> None:
    write(root / "out", 2, small=True, overwrite=True, bulk=True)


PREY = (
    Prey("new", _nothing, lambda root: write(root / "out", 2, small=True, bulk=True)),
    Prey("replace", _first, _replace),
    Prey("replace, no exchange", _first, _replace, exchange=False),
    Prey("update", _first, lambda root: update_manifest(root / "out", lambda m: m)),
    Prey("remove", _first, lambda root: remove_checkpoint(root / "out")),
    Prey("clean", _dead, clean),
    Prey("mend", _dead, _replace),
    Prey("retention", _steps, _retain, stem="step-000000000002"),
)


def _link_to_a_file(path: Path, theirs: Path) -> None:
    path.symlink_to(theirs / "x.pth")


def _link_to_a_checkpoint(path: Path, theirs: Path) -> None:
    path.symlink_to(theirs / "checkpoint")


def _second_name(path: Path, theirs: Path) -> None:
    os.link(theirs / "x.pth", path)


def _file(path: Path, theirs: Path) -> None:
    path.write_text("mine, and all that I have")


def _folder(path: Path, theirs: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def _folder_of_second_names(path: Path, theirs: Path) -> None:
    path.mkdir()
    for name in ("manifest.json", "weights.safetensors"):
        os.link(theirs / "checkpoint" / name, path / name)


def _checkpoint(path: Path, theirs: Path) -> None:
    shutil.copytree(theirs / "checkpoint", path)
    (path / "notes.txt").write_text("mine")


def _pipe(path: Path, theirs: Path) -> None:
    os.mkfifo(path)


PLANTS = (
    _link_to_a_file,
    _link_to_a_checkpoint,
    _second_name,
    _file,
    _folder,
    _folder_of_second_names,
    _checkpoint,
    _pipe,
)
# Names that a writer uses, "*" for the stage that is there; below it and below the target lie its files.
NAMES = (
    ".{}.ckpt-lock",
    ".{}.ckpt-owner",
    ".{}.ckpt-old",
    ".{}.ckpt-stage-*",
    "{}",
    ".{}.ckpt-stage-*/weights.safetensors",
    ".{}.ckpt-stage-*/manifest.json",
    "{}/manifest.json",
)


def tree(folder: Path) -> dict[str, object]:
    """Return everything below a folder, with its inode: links as what they name, files as their bytes."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name, inode = str(path.relative_to(folder)), path.lstat().st_ino
        if path.is_symlink():
            found[name] = (inode, os.readlink(path))
        else:
            found[name] = (inode, path.read_bytes()) if path.is_file() else inode
    return found


@dataclass(slots=True)
class Neighbour:
    """Acts before the call number `at`; `planted` is where and what, `call` what came right behind."""

    root: Path
    theirs: Path
    stem: str
    name: str
    plant: Callable[[Path, Path], None]
    at: int
    count: int = 0
    call: str = ""
    arguments: tuple[object, ...] = ()
    planted: Path | None = None
    before: dict[str, object] = field(default_factory=dict)
    quiet: bool = False

    def comes(self, call: str, arguments: tuple[object, ...]) -> None:
        """Count a call, and act where it is the one."""
        if self.quiet or threading.current_thread() is not threading.main_thread():
            return
        if self.count == self.at:
            self.quiet = True
            self.call, self.arguments = call, arguments
            with contextlib.suppress(OSError):
                self._act()
            self.quiet = False
        self.count += 1

    def _act(self) -> None:
        path = self._path()
        if os.path.lexists(path):
            os.rename(path, self.root.parent / "moved")
        self.plant(path, self.theirs)
        self.planted, self.before = path, _of(path)

    def _path(self) -> Path:
        pattern = self.name.format(self.stem)
        first = pattern.split("/")[0]
        known = sorted(self.root.glob(first)) or [self.root / first.replace("*", _STAGE)]
        return known[0] / pattern.partition("/")[2]

    def struck_by_name(self) -> bool:
        """Return whether the call that came right behind takes away by name what was planted."""
        assert self.planted is not None
        return self.call in _BY_NAME and self.planted.name in self.arguments


def _of(path: Path) -> dict[str, object]:
    if path.is_symlink() or not path.is_dir():
        return {"": (path.lstat().st_ino, path.lstat().st_mode)}
    return {"": path.lstat().st_ino, **tree(path)}


@contextlib.contextmanager
def _watched(neighbour: Neighbour) -> Iterator[None]:
    """Let the neighbour see each system call that the writer makes; where it is called for, it comes first."""
    holders = [(os, name) for name in _CALLS] + [(fcntl, "flock"), (linux, "_rename")]
    plain = [(holder, name, getattr(holder, name)) for holder, name in holders]

    def watch(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def watched(*args: Any, **options: Any) -> Any:
            neighbour.comes(name, (*args, *options.values()))
            return call(*args, **options)

        return watched

    for holder, name, call in plain:
        setattr(holder, name, watch(name, call))
    try:
        yield
    finally:
        for holder, name, call in plain:
            setattr(holder, name, call)


def neighbours(
    *, every: int = 1, only: str = "", breaking: Callable[[], None] = nothing, names: tuple[str, ...] = NAMES
) -> Tally:
    """Let a neighbour come before each call, with each plant at each name; with `every`, with some of them."""
    tally, jobs = Tally(), []
    for prey in PREY:
        if only in prey.name:
            calls = _one(prey, NAMES[0], PLANTS[0], 1 << 30, nothing)[0]
            tally.calls += calls
            cases = [(name, plant) for name in names for plant in PLANTS if not _is_wanted(prey, name, plant)]
            jobs += [
                (prey, name, plant, at, breaking)
                for at in range(calls)
                for place, (name, plant) in enumerate(cases)
                if (place + 7 * at) % every == 0
            ]
    found = in_parallel(_one, jobs)
    tally.faults = tally.states = len(jobs)
    tally.violations = [text for _, text in found if text]
    return tally


def _is_wanted(prey: Prey, name: str, plant: Callable[[Path, Path], None]) -> bool:
    """Return whether what is planted is what the writer was told to change: a checkpoint at the target."""
    told = prey.name not in ("new", "clean", "retention")
    return told and name == "{}" and plant in (_checkpoint, _folder_of_second_names)


def _one(
    prey: Prey, name: str, plant: Callable[[Path, Path], None], at: int, breaking: Callable[[], None]
) -> tuple[int, str]:
    """Return how many calls there were and what is wrong."""
    with tempfile.TemporaryDirectory(prefix="neighbour-", dir=MEMORY) as top:
        root, theirs = Path(top) / "root", Path(top) / "theirs"
        theirs.mkdir()
        (theirs / "x.pth").write_text("weights of mine")
        write(theirs / "checkpoint", 7, small=True)
        prey.prepare(root)
        before = tree(theirs)
        neighbour = Neighbour(root, theirs, prey.stem, name, plant, at)
        said = _act(prey, root, neighbour, breaking)
        wrong = _judge(prey, root, neighbour, said)
        if not wrong and tree(theirs) != before:
            wrong = "what is somebody else's was changed"
        where = f"{prey.name}: {plant.__name__} at {name} before {neighbour.call} ({at})"
        return neighbour.count, f"{where}: {wrong}" if wrong else ""


def _act(prey: Prey, root: Path, neighbour: Neighbour, breaking: Callable[[], None]) -> str:
    with _unbroken(), _watched(neighbour):
        breaking()
        if not prey.exchange:
            renamed = linux._rename
            linux._rename = lambda *args: args[-1] != linux._RENAME_EXCHANGE and renamed(*args)
        try:
            prey.act(root)
        except CkptError as e:
            return str(e)
        except Exception as e:
            return f"{type(e).__name__}: {e}\n"
    return ""


@contextlib.contextmanager
def _unbroken() -> Iterator[None]:
    """Take back, at the end, what breaking changed in the modules of the writer."""
    from ckptfmt.store.write import commit, held, lock, mend, place, proof, publish

    places = [vars(module) for module in (commit, held, linux, lock, mend, place, proof, publish)]
    kept = [dict(names) for names in places]
    at = held.Held.is_at
    try:
        yield
    finally:
        held.Held.is_at = at
        for names, before in zip(places, kept, strict=True):
            names.update(before)


def _judge(prey: Prey, root: Path, neighbour: Neighbour, said: str) -> str:
    if "\n" in said:
        return f"no clear error but {said.strip()}"
    if neighbour.planted is None:
        return ""
    if neighbour.struck_by_name():
        return ""
    if wrong := _planted_wrong(root, neighbour, said):
        return wrong
    beside = "/" not in neighbour.name and neighbour.name != "{}"
    return _target_wrong(prey, root, said) if beside else ""


def _planted_wrong(root: Path, neighbour: Neighbour, said: str) -> str:
    path = neighbour.planted
    assert path is not None
    if os.path.lexists(path) and _of(path) == neighbour.before:
        return ""
    inode = neighbour.before[""]
    for found in root.rglob("*"):
        if _of(found) == neighbour.before:
            # A folder in which it lies may have got its new name, or it was moved and that was said.
            return "" if said or "/" in neighbour.name else f"what was planted was moved to {found.name} in silence"
    return f"what was planted ({inode}) is gone or was changed; it said '{said}'"


def _target_wrong(prey: Prey, root: Path, said: str) -> str:
    """The target itself was not touched by the neighbour: it is the old one or the new one, whole."""
    try:
        if prey.name in ("new", "replace", "replace, no exchange", "mend"):
            found = generation(root / "out")
            if (found != 2 and not said) or found not in (None, 1, 2):
                return f"it said '{said}' and left {found}"
            if found is None and prey.name == "replace":
                return "the old one is gone"
        elif (root / prey.stem).is_dir() and not validate(root / prey.stem).valid:
            return "the target is not whole"
    except (Violation, CkptError, OSError) as e:
        return str(e)
    return ""
