"""What is done while faults strike, and what must be found afterwards."""

import contextlib
import dataclasses
import os
import random
import signal
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ckptfmt.errors import CkptError, NotACheckpoint
from ckptfmt.format.files import STATE, WEIGHTS
from ckptfmt.format.manifest import FileEntry, Manifest
from ckptfmt.format.provenance import created_by, instant
from ckptfmt.look.validate import validate
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.clean import leftovers
from ckptfmt.store.forms import compress
from ckptfmt.store.manager import CheckpointManager
from ckptfmt.store.write import Compression, TensorFile, publish, update_manifest, write_checkpoint

SHAPE = (192, 1024)


class Violation(Exception):
    """The promise was broken."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A tensor whose every number is `value`."""

    value: int
    shape: tuple[int, ...]
    dtype: str = "F32"

    def chunks(self) -> Iterator[bytes]:
        yield struct.pack("<f", self.value) * int(np.prod(self.shape))


@dataclass(frozen=True, slots=True)
class Noise:
    """A tensor that no compression makes smaller."""

    shape: tuple[int, ...] = (50_000,)
    dtype: str = "U8"

    def chunks(self) -> Iterator[bytes]:
        yield random.Random(0).randbytes(int(np.prod(self.shape)))


def write(
    path: Path,
    generation: int,
    *,
    small: bool = False,
    compression: Compression | None = None,
    state: bool = False,
    **options: Any,
) -> None:
    """Write a checkpoint that says everywhere which generation it is, with options of `write_checkpoint`."""
    shape = (3,) if small else SHAPE
    tensors = {"a": Numbers(generation, shape), "b": Numbers(generation, (2, 2))}
    files = {WEIGHTS: TensorFile(tensors, {"c": "b"}, compression)}
    if state:
        files[STATE] = TensorFile({"noise": Noise()})

    def build(entries: dict[str, FileEntry]) -> Manifest:
        return Manifest(
            created_at=instant(),
            created_by=created_by(),
            architecture=None,
            config=None,
            files=entries,
            extra={"generation": generation},
            content_digest="",
        )

    write_checkpoint(path, files, build, **options)


def generation(path: Path) -> int | None:
    """Return the generation of the checkpoint at `path`, None where there is none.

    Raises `Violation` where it is not whole, or where `validate` says otherwise.
    """
    try:
        with Checkpoint(path) as checkpoint:
            checkpoint.verify()
            claimed = int(checkpoint.manifest.extra["generation"])
            values = {float(value) for array in checkpoint.tensors.values() for value in np.unique(array)}
    except NotACheckpoint:
        if path.exists() and any(path.iterdir()):
            raise Violation(f"{path.name} holds files but is no checkpoint") from None
        return None
    except CkptError as e:
        raise Violation(f"{path.name} is damaged: {e}") from None
    if values != {float(claimed)}:
        raise Violation(f"{path.name} says it is {claimed} and holds {sorted(values)}")
    # A predecessor that is set aside is read in its place; validate looks at what is at the path.
    if path.exists() and not (report := validate(path)).valid:
        raise Violation(f"{path.name} is whole, validate finds {[p.code for p in report.errors]}")
    return claimed


def managed(path: Path) -> list[int]:
    """Return the steps whose checkpoints are whole; raise `Violation` for one that is not."""
    manager = CheckpointManager(path)
    for step in manager.steps():
        folder = Path(manager.path(step))
        try:
            with Checkpoint(folder) as checkpoint:
                checkpoint.verify()
                if {float(v) for v in np.unique(checkpoint.tensors["a"])} != {float(step)}:
                    raise Violation(f"{folder.name} holds the numbers of another step")
        except CkptError as e:
            raise Violation(f"{folder.name} is damaged: {e}") from None
        if not validate(folder).valid:
            raise Violation(f"{folder.name} is whole, validate says otherwise")
    return manager.steps()


def write_step(manager: CheckpointManager, step: int) -> None:
    """Save a step that says everywhere which one it is."""
    manager.save(step, {"a": np.full(3, step, "f4")})


@dataclass(frozen=True, slots=True)
class Scenario:
    """`prepare` makes what is there before, `act` is struck, `look` tells old from new or raises `Violation`.

    `always` are faults that strike every time: a filesystem that lacks something. A `variant` does most of what
    another scenario does; faults strike only at its calls that change something.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    look: Callable[[Path], str]
    always: tuple[str, ...] = ()
    variant: bool = False


def _nothing(root: Path) -> None:
    root.mkdir(exist_ok=True)


def _first(root: Path) -> None:
    _nothing(root)
    write(root / "out", 1)


def _second(root: Path) -> None:
    write(root / "out", 2, overwrite=True)


def _one_of_many(root: Path) -> None:
    write(root / "out", 2, bulk=True)


def _compressed(root: Path) -> None:
    write(root / "out", 2, overwrite=True, compression=Compression())


def _with_state(root: Path) -> None:
    _nothing(root)
    write(root / "out", 1, state=True)


def _change_form(root: Path) -> None:
    """The weights are written anew, the state gets a second name."""
    assert compress(root / "out", everything=True).changed == (WEIGHTS,)


def _look_form(root: Path) -> str:
    if generation(root / "out") != 1:
        return "wrong"
    with Checkpoint(root / "out") as checkpoint:
        checkpoint.verify()
        return "new" if checkpoint.compressed() else "old"


def _look(root: Path) -> str:
    return {None: "old", 2: "new"}.get(generation(root / "out"), "wrong")


def _look_replaced(root: Path) -> str:
    return {1: "old", 2: "new"}.get(generation(root / "out"), "wrong")


def _look_copies(root: Path) -> str:
    """Where folders cannot be renamed, a folder without a manifest is what the protocol leaves behind."""
    out = root / "out"
    if out.is_dir() and "manifest.json" not in os.listdir(out):
        return "old"
    return _look(root)


def _look_unrenamed(root: Path) -> str:
    """Where nothing can be renamed and files show before they are closed, a torn manifest is found to be one."""
    try:
        return _look_copies(root)
    except Violation:
        with contextlib.suppress(CkptError):
            Checkpoint(root / "out").close()
            raise
        return "old"


def _update(root: Path) -> None:
    update_manifest(root / "out", lambda m: dataclasses.replace(m, extra={**m.extra, "looked": 1}))


def _look_updated(root: Path) -> str:
    if generation(root / "out") != 1:
        return "wrong"
    with Checkpoint(root / "out") as checkpoint:
        return "new" if "looked" in checkpoint.manifest.extra else "old"


def _array(step: int) -> dict[str, np.ndarray]:
    return {"a": np.full((64, 8), step, "f4")}


def _steps(root: Path) -> None:
    _nothing(root)
    manager = CheckpointManager(root / "run")
    for step in (1, 2, 3):
        manager.save(step, _array(step), metrics={"reward": -step})


def _save_step(root: Path) -> None:
    CheckpointManager(root / "run", keep_last=2).save(4, _array(4))


def _look_steps(root: Path) -> str:
    steps = managed(root / "run")
    if 3 not in steps:
        return "wrong"
    return "new" if steps[0] == 4 else "old"


def _save_behind(root: Path) -> None:
    with CheckpointManager(root / "run", background=True) as manager:
        array = _array(4)
        manager.save(4, array)
        array["a"][:] = 5
        manager.save(5, array)


def _look_behind(root: Path) -> str:
    steps = managed(root / "run")
    if not {1, 2, 3} <= set(steps):
        return "wrong"
    return "old" if 5 not in steps else "new" if 4 in steps else "unordered"


def _after_a_death(root: Path) -> None:
    """One writer dies between its rename and the flush that makes it last; the next one comes."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            publish.sync_folder = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
            write(root / "out", 2, overwrite=True)
        os._exit(1)
    os.waitpid(child, 0)
    write(root / "out", 3, overwrite=True)


def _look_after_death(root: Path) -> str:
    return {1: "old", 2: "old", 3: "new"}.get(generation(root / "out"), "wrong")


SCENARIOS = (
    Scenario("new", _nothing, _second, _look),
    Scenario("replace", _first, _second, _look_replaced),
    Scenario("update", _first, _update, _look_updated),
    Scenario("compressed", _first, _compressed, _look_replaced),
    Scenario("change of form", _with_state, _change_form, _look_form),
    Scenario("manager", _steps, _save_step, _look_steps),
    Scenario("background", _steps, _save_behind, _look_behind),
    Scenario("one of many", _nothing, _one_of_many, _look, variant=True),
    Scenario("no exchange", _first, _second, _look_replaced, ("renameat2:error=EINVAL",), variant=True),
    Scenario("compressed, no exchange", _first, _compressed, _look_replaced, ("renameat2:error=EINVAL",), variant=True),
    Scenario("change of form, no links", _with_state, _change_form, _look_form, ("linkat:error=EPERM",), variant=True),
    Scenario("after a death", _first, _after_a_death, _look_after_death, variant=True),
    Scenario("no folder renames", _nothing, _second, _look_copies, ("renameat2:error=EMFILE:when=1",), variant=True),
    Scenario(
        "no renames", _nothing, _second, _look_unrenamed, ("rename,renameat,renameat2:error=ENOSYS",), variant=True
    ),
)


def recognised(root: Path) -> list[str]:
    """Return what lies beside the targets; raise `Violation` for a name that nobody would recognise."""
    known = {Path(left.path) for left in leftovers(root)}
    for folder in {root, root / "run"}:
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.name.startswith(".") and entry not in known:
                raise Violation(f"{entry.name} is left and not recognised")
    return sorted(path.name for path in known)
