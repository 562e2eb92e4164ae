"""Convert many legacy files, in several processes, going on where one fails.

Workers of our own do it, or any other executor in their place; what that one leaves undone is done by ours.
"""

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

from ckptfmt.convert.convert import convert
from ckptfmt.convert.fetched import fetched
from ckptfmt.convert.outcome import ALONE, Outcome, Status, failed
from ckptfmt.convert.sources import Item
from ckptfmt.convert.spread import Spread, Undone
from ckptfmt.errors import CkptError, TargetExists, WeightsError
from ckptfmt.format.far import is_manifest
from ckptfmt.format.files import MANIFEST
from ckptfmt.format.manifest import Manifest
from ckptfmt.legacy.fingerprint import sha256_of, size_of
from ckptfmt.remote.far import open_far
from ckptfmt.remote.url import is_url
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.remote.names import far_files

__all__ = ["Outcome", "convert_many"]

# A worker waits for the disk about a third of its time; two of them keep one processor busy.
_PER_PROCESSOR = 2
# The largest checkpoints of the corpus take seconds; ten minutes are enough for 100 GB from a slow disk.
_TIMEOUT = 600.0


def convert_many(
    items: Sequence[Item | tuple[str, str]],
    *,
    jobs: int = 1,
    executor: Executor | Callable[[], Executor] | None = None,
    timeout: float = _TIMEOUT,
    **options: Any,
) -> Generator[Outcome, None, None]:
    """Convert each (source, dest) and yield what became of it, in their order; `options` are those of `convert`.

    `jobs` is how many processors are kept busy, by workers that overlap waiting for the disk. A file that kills its
    worker, or takes longer than `timeout` seconds in one, fails alone. With more than one job a script must call
    this under `if __name__ == "__main__":`, as with `multiprocessing`. An `executor` takes the place of the workers:
    anything with the interface of `concurrent.futures`, such as Dask's or mpi4py's, or a function that makes one, which
    is called again where one breaks. It is given files in chunks; a worker that is lost costs the rest of its chunk,
    which is converted again, and a file that two workers died of fails alone. An executor itself is left running, one
    that the function made is shut down. What an executor leaves undone, because it breaks or one of its workers hangs
    for longer than `timeout`, is done by workers of this machine; where its futures never say that they are running,
    the time is not limited.

    Sources and targets may be URLs; a source is fetched while it is converted.

    A file whose checkpoint is there already, whole and made of the same bytes with the same options, is left as it is
    unless `overwrite` is given. So what was interrupted goes on when it is called again. No failure stops the
    rest; folders in which nothing was written are removed again. Who stops early closes the generator
    (`contextlib.closing`), which ends the workers.
    """
    todo = [item if isinstance(item, Item) else Item(*map(os.fspath, item)) for item in items]
    # Made before all: workers that made them at the same time would remove one another's again.
    made = _make_folders(todo) if not options.get("dry_run") else []
    workers = min(jobs * _PER_PROCESSOR, len(todo))
    try:
        if executor is not None:
            yield from _by(executor, todo, max(workers, 1), timeout, options)
        elif jobs > 1 and len(todo) > 1:
            yield from _in_workers(todo, workers, timeout, options)
        else:
            yield from (_convert_one(item, options) for item in todo)
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                os.rmdir(folder)


def _make_folders(items: Sequence[Item]) -> list[str]:
    """Make the folders that the targets lie in, and return those that were not there, outer ones first."""
    made = []
    # A bucket has no folders to be made.
    near = (os.path.dirname(item.dest) for item in items if not is_url(item.dest))
    for folder in sorted(set(filter(None, near))):
        missing = []
        while folder and not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for name in reversed(missing):
            try:
                os.mkdir(name)
            except OSError:  # The conversion says why it cannot write there.
                break
            made.append(name)
    return made


def _convert_one(item: Item, options: Mapping[str, Any]) -> Outcome:
    """Convert one file; whatever goes wrong is in the outcome, so that an executor's own errors can be told from it."""
    try:
        with fetched(item.source) as source:
            if not options.get("overwrite") and _is_current(source, item.dest, options):
                return Outcome(item, "unchanged")
            done: Status = "planned" if options.get("dry_run") else "converted"
            return Outcome(item, done, convert(source, item.dest, bulk=True, **options).to_dict())
    except CkptError as e:
        return Outcome(item, "failed", error=e.to_dict())
    except (OSError, MemoryError, RecursionError) as e:
        return failed(item, str(e) or type(e).__name__, "convert.fault")
    except Exception as e:
        return failed(item, f"a fault in ckptfmt: {type(e).__name__}: {e}", "convert.fault", "please report it")


def _is_current(source: str, dest: str, options: Mapping[str, Any]) -> bool:
    """Return whether the target was made of these bytes with these options; raise for another or a damaged checkpoint.

    On a disk every byte of it is read; of a store a listing is, since a conversion anew would take no longer than that.
    """
    if not _is_there(dest):
        return False
    with Checkpoint(dest) as checkpoint:
        if not (_answers(checkpoint.manifest, options) and _made_of(checkpoint.manifest, source)):
            raise TargetExists(
                "is a checkpoint that was made of other bytes or with other options",
                where=dest,
                fix="add overwrite=True to replace it",
            )
        try:
            if isinstance(checkpoint.folder, int):
                checkpoint.verify()
            else:
                far_files(checkpoint.folder, checkpoint.manifest.files)
        except WeightsError as e:
            raise e.but(fix="add overwrite=True to convert it again") from None
    return True


def _is_there(dest: str) -> bool:
    """Return whether a target was committed, whole or not."""
    if is_url(dest):
        return is_manifest(open_far(dest).size(MANIFEST))
    return os.path.exists(os.path.join(dest, MANIFEST))


def _made_of(manifest: Manifest, source: str) -> bool:
    # The size first: it costs nothing, and other bytes mostly have another.
    if manifest.conversion is None or manifest.conversion.source.bytes != size_of(source):
        return False
    return sha256_of(source) == manifest.conversion.source.sha256


def _answers(manifest: Manifest, options: Mapping[str, Any]) -> bool:
    """Return whether a manifest says what these options would make it say."""
    config = manifest.config or {}
    found = {**config, "architecture": manifest.architecture.name if manifest.architecture else "none"}
    asked = {name: value for name, value in options.items() if name in found and value is not None}
    asked |= options.get("settings") or {}
    key = options.get("key")
    if manifest.conversion is None or (key is not None and manifest.conversion.found_at != key):
        return False
    return all(found.get(name) == _plain(value) for name, value in asked.items())


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _by(
    executor: Executor | Callable[[], Executor],
    items: Sequence[Item],
    workers: int,
    timeout: float,
    options: Mapping[str, Any],
) -> Iterator[Outcome]:
    """Convert by an executor of the caller's; what it leaves undone by workers of our own, who know what hangs."""
    there = frozenset(i for i, item in enumerate(items) if _is_there(item.dest))
    known: dict[int, Outcome] = {}
    left: list[int] = []
    given = 0
    for number, outcome in Spread(partial(_convert_one, options=dict(options)), items, executor, timeout):
        if outcome is Undone.LEFT:
            left.append(number)
            continue
        if outcome is Undone.DEADLY:
            known[number] = failed(items[number], "two workers that converted it died", "convert.worker", ALONE)
        elif isinstance(outcome, Outcome):
            known[number] = outcome
        while given in known:
            yield _of_this_run(known.pop(given), given in there, options)
            given += 1
    again = _in_workers([items[number] for number in sorted(left)], workers, timeout, options)
    for number in range(given, len(items)):
        yield _of_this_run(known[number] if number in known else next(again), number in there, options)


def _of_this_run(outcome: Outcome, was_there: bool, options: Mapping[str, Any]) -> Outcome:
    """Return an outcome; what a worker made of this run before it was lost is not what was there already."""
    if outcome.status != "unchanged" or was_there:
        return outcome
    item = outcome.item
    try:
        with fetched(item.source) as source:
            told = convert(source, item.dest, bulk=True, **{**options, "dry_run": True})
    except CkptError:  # the source is gone since
        return outcome
    return Outcome(item, "converted", told.to_dict())


def _in_workers(items: Sequence[Item], workers: int, timeout: float, options: Mapping[str, Any]) -> Iterator[Outcome]:
    # The one import that waits: who converts one file needs no processes.
    from ckptfmt.convert.workers import in_workers

    yield from in_workers(_convert_one, items, workers, timeout, options)
