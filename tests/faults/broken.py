"""Ways to break the protocol on purpose; the suite must find each of them.

Each is a change of the running code, made in the process that saves.
"""

import functools
import os
import shutil
from collections.abc import Callable
from typing import Any

from ckptfmt.format.files import MANIFEST
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.write import commit, datafile, held, lock, mend, place, publish, readback
from ckptfmt.store.write.held import Held, hold_open
from ckptfmt.store.write.place import Place
from tests.faults import ranks
from tests.faults.calls import Tally, strike
from tests.faults.crowd import crowd
from tests.faults.flips import flip_bits
from tests.faults.neighbours import NAMES, neighbours
from tests.faults.power import cut_power
from tests.faults.ranks import strike_ranks
from tests.faults.replay import replay
from tests.faults.scenarios import SCENARIOS

_fsync = os.fsync


def _is_folder(file: int) -> bool:
    return os.path.isdir(f"/proc/self/fd/{file}")


def no_file_flush() -> None:
    os.fsync = lambda file: _fsync(file) if _is_folder(file) else None


def no_stage_flush() -> None:
    staged = lambda file: ".ckpt-stage-" in os.readlink(f"/proc/self/fd/{file}")  # noqa: E731
    os.fsync = lambda file: None if _is_folder(file) and staged(file) else _fsync(file)


def no_parent_flush() -> None:
    publish.sync_folder = commit.sync_folder = mend.sync_folder = lambda folder: None


def manifest_first() -> None:
    """Where files are copied one by one, the marker comes before what it marks."""
    copied = publish._copy

    def copy(source: int, target: int, name: str, sha256: str, where: str) -> Held:
        if MANIFEST not in os.listdir(target):
            os.rename(MANIFEST, MANIFEST, src_dir_fd=source, dst_dir_fd=target)
        return copied(source, target, name, sha256, where)

    publish._copy = copy
    publish._place_manifest = lambda _, target, *__: Held(target, MANIFEST, -1, os.stat(MANIFEST, dir_fd=target))


def rename_early() -> None:
    """The staging folder gets its name before the manifest is in it."""
    written = commit.write_file

    def write_file(folder: int, name: str, data: bytes, *, where: str) -> os.stat_result:
        stage = os.readlink(f"/proc/self/fd/{folder}")
        if not os.path.exists(where):
            os.rename(stage, where)
        return written(folder, name, data, where=where)

    commit.write_file = write_file
    commit.publish_folder = lambda *_, **__: None


def remove_first() -> None:
    """The old checkpoint is removed before the new one takes its name."""

    def publish_folder(at: Place, stage: Held, *_: Any, **__: Any) -> None:
        shutil.rmtree(at.path)
        os.rename(stage.name, at.name, src_dir_fd=at.folder, dst_dir_fd=at.folder)
        _fsync(at.folder)

    commit.publish_folder = publish_folder


def remove_before_flush() -> None:
    """The predecessor is removed before the exchange is durable."""
    flush = publish.sync_folder

    def sync_folder(folder: int) -> None:
        for name in os.listdir(folder):
            if ".ckpt-stage-" in name:
                with hold_open(folder, name) as held:
                    held.remove()
        flush(folder)

    publish.sync_folder = sync_folder


def no_read_back() -> None:
    """What was given is digested, and not what lies in the file."""

    def read(self: Any, block: bytes) -> None:
        self._digest_segments(memoryview(block))
        buffer = self._hasher.buffer()
        buffer[: len(block)] = bytes(block)
        self._hasher.give(self._sha256, buffer, len(block))

    readback.ReadBack._read = read
    # The last look at sizes finds some of it, too.
    publish._check_staged = lambda *_: None


def ignore_errors() -> None:
    """A write that fails is taken for one that went well."""

    def write_all(file: int, data: Any) -> None:
        try:
            os.write(file, data)
        except OSError:
            os.lseek(file, len(data), os.SEEK_CUR)

    datafile.write_all = write_all
    no_read_back()


def no_cleaning() -> None:
    Held.remove = lambda self, name="": False


def no_lock() -> None:
    lock.fcntl.flock = lambda *_: None


def no_check_on_load() -> None:
    for way in ("chunks", "read"):
        plain = getattr(Checkpoint, way)
        setattr(Checkpoint, way, functools.partialmethod(_unverified, plain))


def _unverified(self: Checkpoint, plain: Callable[..., Any], name: str, *args: Any, **options: Any) -> Any:
    return plain(self, name, *args, **{**options, "verify": False})


def no_second_look() -> None:
    """A name is taken for what was opened under it once."""
    Held.is_at = lambda self, name, folder=None: True


def any_lock() -> None:
    """Whatever has the name of the lock is taken for one, and written to."""
    lock._require_lock = lambda lock: None


def any_leftover() -> None:
    """Whatever has the name of a leftover is taken for one."""
    mend.unknown_leftover = lambda held, stem: ""


def any_file() -> None:
    """Whatever has the name of a checkpoint's file is removed with it."""
    held.resembles = lambda name, head: True


def follow_links() -> None:
    """A link at the target is followed to where it leads."""
    place._split = lambda path: os.path.split(os.path.realpath(path))


def _scenario(name: str) -> Any:
    return next(scenario for scenario in SCENARIOS if scenario.name == name)


def _struck(row: str, breaking: Callable[[], None]) -> Tally:
    return strike_ranks(only=row, breaking=breaking)


# What is broken, and a part of the suite that must find it.
BREAKS: dict[str, tuple[Callable[[], None], Callable[[Callable[[], None]], Tally]]] = {
    "no flush of files": (no_file_flush, lambda b: cut_power(_scenario("new"), short=True, breaking=b)),
    "no flush of files, by the model": (no_file_flush, lambda b: replay(_scenario("new"), breaking=b)),
    "no flush of the staging folder": (no_stage_flush, lambda b: replay(_scenario("new"), breaking=b)),
    "no flush of the parent": (no_parent_flush, lambda b: cut_power(_scenario("new"), short=True, breaking=b)),
    "no flush of the parent, by the model": (no_parent_flush, lambda b: replay(_scenario("replace"), breaking=b)),
    "manifest first": (manifest_first, lambda b: strike(_scenario("no folder renames"), short=True, breaking=b)),
    "renamed early": (rename_early, lambda b: strike(_scenario("new"), short=True, breaking=b)),
    "old one removed first": (remove_first, lambda b: strike(_scenario("replace"), short=True, breaking=b)),
    "old one removed before the flush": (remove_before_flush, lambda b: replay(_scenario("replace"), breaking=b)),
    "not read back": (no_read_back, lambda b: strike(_scenario("new"), breaking=b)),
    "write errors ignored": (ignore_errors, lambda b: strike(_scenario("new"), short=True, breaking=b)),
    "nothing cleaned up": (no_cleaning, lambda b: strike(_scenario("new"), short=True, breaking=b)),
    "no lock": (no_lock, lambda b: crowd(seconds=3, breaking=b)),
    "names not looked at again": (no_second_look, lambda b: neighbours(every=6, only="replace", breaking=b)),
    "any lock taken for one": (any_lock, lambda b: neighbours(every=6, only="new", names=NAMES[:1], breaking=b)),
    "any leftover taken for one": (any_leftover, lambda b: neighbours(every=12, only="clean", breaking=b)),
    "any file of a checkpoint removed": (any_file, lambda b: neighbours(every=6, only="remove", breaking=b)),
    "a link followed to the target": (
        follow_links,
        lambda b: neighbours(every=6, only="update", names=("{}",), breaking=b),
    ),
    "ranks: nobody is told of a failure": (ranks.nobody_is_told, ranks.refuse),
    "ranks: no end of waiting": (
        ranks.wait_for_ever,
        functools.partial(_struck, "stall rank 2 after 'write'"),
    ),
    "ranks: slices of others believed": (ranks.slices_believed, ranks.refuse),
    "ranks: the target taken in any case": (ranks.target_taken, ranks.refuse),
    "not verified on load": (no_check_on_load, lambda b: flip_bits(every=16, breaking=b)),
}
