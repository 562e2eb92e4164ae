"""Convert many legacy files, in several processes, going on where one fails.

The workers are Pebble's: of what was tried, it alone knows which file a worker died of and ends one that hangs, so
that the file fails by its name and nothing is done twice. Any other executor may take its place.
"""

import contextlib
import hashlib
import os
import signal
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext
from typing import Any, Literal, NoReturn

from ckptfmt.convert.convert import convert
from ckptfmt.convert.sources import Item
from ckptfmt.errors import CkptError, TargetExists
from ckptfmt.format.datafile import open_data
from ckptfmt.format.files import MANIFEST, WEIGHTS, open_folder
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.parse import load_manifest

__all__ = ["Outcome", "convert_many"]

Status = Literal["converted", "planned", "unchanged", "failed"]
# A worker waits for the disk about a third of its time; two of them keep one processor busy.
_PER_PROCESSOR = 2
# The largest checkpoints of the corpus take seconds; ten minutes are enough for 100 GB from a slow disk.
_TIMEOUT = 600.0
_ALONE = "convert it alone to see why"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: `conversion` as of `Conversion.to_dict`, `error` as of `CkptError.to_dict`.

    A dry run leaves it `planned`; `unchanged` is one whose checkpoint was there already.
    """

    item: Item
    status: Status
    conversion: Mapping[str, Any] | None = None
    error: Mapping[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as one line of a `--json` answer."""
        return {
            "source": self.item.source,
            "dest": self.item.dest,
            "status": self.status,
            "conversion": self.conversion,
            "error": self.error,
        }


def convert_many(
    items: Sequence[Item | tuple[str, str]],
    *,
    jobs: int = 1,
    executor: Executor | None = None,
    timeout: float = _TIMEOUT,
    **options: Any,
) -> Generator[Outcome, None, None]:
    """Convert each (source, dest) and yield what became of it, in their order; `options` are those of `convert`.

    `jobs` is how many processors are kept busy, by workers that overlap waiting for the disk. A file that kills its
    worker, or takes longer than `timeout` seconds in one, fails alone. With more than one job a script must call
    this under `if __name__ == "__main__":`, as with `multiprocessing`. An `executor` takes the place of the workers:
    anything with the interface of `concurrent.futures`, such as Dask's or mpi4py's. It is not shut down here. Where
    it breaks, the files that it left are converted by workers of this machine.

    A file whose checkpoint is there already, made of the same bytes with the same options, is left as it is
    unless `overwrite` is given. So what was interrupted goes on when it is called again. No failure stops the
    rest; folders in which nothing was written are removed again. Who stops early closes the generator
    (`contextlib.closing`), which ends the workers.
    """
    todo = [item if isinstance(item, Item) else Item(*map(os.fspath, item)) for item in items]
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
    for folder in sorted({os.path.dirname(item.dest) for item in items if os.path.dirname(item.dest)}):
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
        if not options.get("overwrite") and _is_current(item, options):
            return Outcome(item, "unchanged")
        done: Status = "planned" if options.get("dry_run") else "converted"
        return Outcome(item, done, convert(item.source, item.dest, bulk=True, **options).to_dict())
    except CkptError as e:
        return Outcome(item, "failed", error=e.to_dict())
    except (OSError, MemoryError, RecursionError) as e:
        return _failed(item, str(e) or type(e).__name__, "convert.fault")
    except Exception as e:
        return _failed(item, f"a fault in ckptfmt: {type(e).__name__}: {e}", "convert.fault", "please report it")


def _failed(item: Item, what: str, code: str, fix: str = "") -> Outcome:
    return Outcome(item, "failed", error=CkptError(what, where=item.source, fix=fix, code=code).to_dict())


def _is_current(item: Item, options: Mapping[str, Any]) -> bool:
    """Return whether the target was made of these bytes with these options; raise for another checkpoint."""
    if not os.path.exists(os.path.join(item.dest, MANIFEST)):
        return False
    folder = open_folder(item.dest)
    try:
        manifest = load_manifest(folder, where=item.dest)
        with open_data(folder, WEIGHTS, manifest.weights.segments, where=item.dest) as weights:
            weights.check_layout()
            whole = weights.size == manifest.weights.bytes
    finally:
        os.close(folder)
    if whole and _answers(manifest, options) and _made_of(manifest, item.source):
        return True
    raise TargetExists(
        "is a checkpoint that was made of other bytes or with other options",
        where=item.dest,
        fix="add overwrite=True to replace it",
    )


def _made_of(manifest: Manifest, source: str) -> bool:
    if manifest.conversion is None or manifest.conversion.source.bytes != os.path.getsize(source):
        return False
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == manifest.conversion.source.sha256


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
    executor: Executor, items: Sequence[Item], workers: int, timeout: float, options: Mapping[str, Any]
) -> Iterator[Outcome]:
    """Convert by an executor of the caller's; what it leaves undone, because it broke, by workers of our own."""
    futures: list[Future[Outcome]] = []
    try:
        with contextlib.suppress(BrokenExecutor):
            futures.extend(executor.submit(_convert_one, item, options) for item in items)
        for place, item in enumerate(items):
            if place == len(futures) or isinstance(futures[place].exception(), BrokenExecutor):
                break
            yield _answer(item, futures[place])
        else:
            return
        rest = [(item, futures[i] if i < len(futures) else None) for i, item in enumerate(items) if i >= place]
        lost = [item for item, future in rest if not future or isinstance(future.exception(), BrokenExecutor)]
        again = {outcome.item: outcome for outcome in _in_workers(lost, workers, timeout, options)}
        yield from (again[item] if item in again or not future else _answer(item, future) for item, future in rest)
    finally:
        for future in futures:
            future.cancel()


def _answer(item: Item, future: "Future[Outcome]") -> Outcome:
    if (e := future.exception()) is not None:
        return _failed(item, f"its worker failed: {type(e).__name__}: {e}", "convert.worker", _ALONE)
    return future.result()


def _in_workers(items: Sequence[Item], workers: int, timeout: float, options: Mapping[str, Any]) -> Iterator[Outcome]:
    # The one import that waits: who converts one file needs no processes.
    from pebble import ProcessExpired, ProcessPool

    context = _KeepingContext()
    pool = ProcessPool(max_workers=workers, initializer=_begin, context=context)
    try:
        with _ctrl_c_withheld():
            futures = [pool.schedule(_work, args=(item, options), timeout=timeout) for item in items]
        for item, future in zip(items, futures, strict=True):
            try:
                outcome = future.result()
            except ProcessExpired as e:
                code = e.exitcode
                how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
                outcome = _failed(item, f"the process that converted it {how}", "convert.worker", _ALONE)
            except TimeoutError:
                outcome = _failed(
                    item, f"took longer than {timeout:g} seconds", "convert.worker", "allow more with timeout="
                )
            except BrokenExecutor:
                raise _cannot_start() from None
            yield outcome
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


class _KeepingContext(SpawnContext):
    """Keeps the locks that it makes: the pool drops its own first, where a worker that still starts looks for them."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    def RLock(self) -> Any:  # noqa: N802 (the name that it overrides)
        self.kept.append(super().RLock())
        return self.kept[-1]


@contextlib.contextmanager
def _ctrl_c_withheld() -> Iterator[None]:
    """Keep Ctrl-C from what is started in the block: a worker that is still importing would print a traceback.

    The threads that start workers inherit the mask, and the workers theirs; here it is as before after the block.
    """
    # Started within, it would lift the mask of the thread that starts it.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # A process that begins with Ctrl-C ignored installs no handler for it, whatever becomes of its mask.
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main else None
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cannot_start() -> CkptError:
    return CkptError(
        "no worker process can be started",
        where="convert_many",
        fix="in a script, call it under: if __name__ == '__main__'",
        code="convert.no-workers",
    )


_converting = False
_ending = False


def _begin() -> None:
    """Be a worker: Ctrl-C reaches the whole group, and the parent alone decides when a worker ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _told_to_end)


def _work(item: Item, options: Mapping[str, Any]) -> Outcome:
    global _converting
    _converting = True
    try:
        return _convert_one(item, {**options, "progress": _go_on})
    except KeyboardInterrupt:
        _end()
    finally:
        _converting = False
        if _ending:
            _end()


def _told_to_end(*_: object) -> None:
    """End at once, or where the file at hand can be left: an exception just anywhere would leave a lock behind."""
    global _ending
    _ending = True
    if not _converting:
        _end()


def _go_on(_: int) -> None:
    if _ending:
        raise KeyboardInterrupt


def _end() -> NoReturn:
    # The pool takes any exception for the answer of a file, and would give the worker another one.
    os._exit(128 + signal.SIGTERM)
