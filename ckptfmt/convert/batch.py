"""Convert many legacy files, in several processes, going on where one file fails.

A worker is a fresh interpreter that is fed one file at a time over a pipe. So a file that exhausts the memory
of its worker fails alone, and a program that has threads or no main guard may call this all the same.
"""

import contextlib
import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

from ckptfmt.convert.convert import convert
from ckptfmt.convert.sources import Item
from ckptfmt.errors import CkptError, TargetExists
from ckptfmt.format.datafile import open_data
from ckptfmt.format.files import MANIFEST, WEIGHTS, open_folder, read_manifest
from ckptfmt.format.manifest import Manifest, parse_manifest

__all__ = ["Outcome", "convert_many"]

Status = Literal["converted", "planned", "unchanged", "failed"]
_Pending = queue.SimpleQueue[tuple[int, Item]]
_Results = queue.SimpleQueue[tuple[int, "Outcome"]]
_PATIENCE = 5.0
# A worker waits for the disk about a third of its time; two of them keep one processor busy.
_PER_PROCESSOR = 2


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


def convert_many(items: Sequence[Item], *, jobs: int = 1, **options: Any) -> Iterator[Outcome]:
    """Convert each item and yield what became of it, in their order; `options` are those of `convert`.

    `jobs` is how many processors are kept busy, by workers that overlap waiting for the disk.

    A file whose checkpoint is there already, made of the same bytes with the same options, is left as it is
    unless `overwrite` is given. So what was interrupted goes on when it is called again. No failure stops the
    rest; folders in which nothing was written are removed again.
    """
    made = _make_folders(items) if not options.get("dry_run") else []
    try:
        if jobs > 1 and len(items) > 1:
            yield from _in_workers(items, min(jobs * _PER_PROCESSOR, len(items)), options)
        else:
            yield from (_convert_one(item, options) for item in items)
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
    try:
        if not options.get("overwrite") and _is_current(item, options):
            return Outcome(item, "unchanged")
        done: Status = "planned" if options.get("dry_run") else "converted"
        return Outcome(item, done, convert(item.source, item.dest, bulk=True, **options).to_dict())
    except CkptError as e:
        return Outcome(item, "failed", error=e.to_dict())
    except (OSError, MemoryError, RecursionError) as e:
        failure = CkptError(str(e) or type(e).__name__, where=item.source, code="convert.fault")
        return Outcome(item, "failed", error=failure.to_dict())


def _is_current(item: Item, options: Mapping[str, Any]) -> bool:
    """Return whether the target was made of these bytes with these options; raise for another checkpoint."""
    if not os.path.exists(os.path.join(item.dest, MANIFEST)):
        return False
    folder = open_folder(item.dest)
    try:
        manifest = parse_manifest(read_manifest(folder, where=item.dest), where=os.path.join(item.dest, MANIFEST))
        with open_data(folder, WEIGHTS, manifest.weights.segments, where=item.dest) as weights:
            weights.check_layout()
            whole = weights.size == manifest.weights.bytes
    finally:
        os.close(folder)
    if whole and _answers(manifest, options) and _made_of(manifest, item.source):
        return True
    raise TargetExists(
        "is a checkpoint of other bytes or of other options", where=item.dest, fix="add overwrite=True to replace it"
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


def _in_workers(items: Sequence[Item], jobs: int, options: Mapping[str, Any]) -> Iterator[Outcome]:
    results: _Results = queue.SimpleQueue()
    pending: _Pending = queue.SimpleQueue()
    for place, item in enumerate(items):
        pending.put((place, item))
    workers: list[_Worker] = []
    try:
        for _ in range(jobs):
            workers.append(_Worker(options, pending, results))  # noqa: PERF401 - those begun are ended if one cannot
        yield from _in_order(results, len(items))
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join()


def _in_order(results: _Results, total: int) -> Iterator[Outcome]:
    early: dict[int, Outcome] = {}
    for place in range(total):
        while place not in early:
            arrived, outcome = results.get()
            early[arrived] = outcome
        yield early.pop(place)


class _Worker:
    """A process that converts what is pending, and the thread that feeds it; another one takes its place if it dies."""

    def __init__(self, options: Mapping[str, Any], pending: _Pending, results: _Results) -> None:
        self._options = json.dumps(options)
        self._pending, self._results = pending, results
        # Held wherever the process is started, told something or told to end: it may die at any of these.
        self._lock = threading.Lock()
        self._stopped = False
        self._process = self._start()
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        self._feeder.start()

    def stop(self) -> None:
        """Tell the process to end once it has finished its file."""
        with self._lock:
            self._stopped = True
            _close(self._process.stdin)

    def join(self) -> None:
        """Wait for the process to end; one whose file takes long is made to clear it away."""
        for end in (self._process.terminate, self._process.kill):
            try:
                self._process.wait(_PATIENCE)
                break
            except subprocess.TimeoutExpired:
                end()
        self._process.wait()
        self._feeder.join()
        _close(self._process.stdout)

    def _feed(self) -> None:
        while not self._stopped:
            try:
                place, item = self._pending.get_nowait()
            except queue.Empty:
                return
            self._results.put((place, self._convert(item)))

    def _convert(self, item: Item) -> Outcome:
        """Return what became of one file."""
        try:
            if answer := self._ask(json.dumps([item.source, item.dest])):
                return Outcome(item, **json.loads(answer))
            code = self._process.wait()
            what = f"its worker was killed by signal {-code}" if code < 0 else f"its worker ended with {code}"
        except OSError as e:
            what = f"its worker cannot be started: {e.strerror}"
        error = CkptError(what, where=item.source, fix="convert it alone to see why", code="convert.worker")
        return Outcome(item, "failed", error=error.to_dict())

    def _ask(self, line: str) -> str:
        """Return the answer of the process, nothing where it dies or was told to end."""
        with self._lock:
            if self._stopped:
                return ""
            if self._process.returncode is not None:
                dead, self._process = self._process, self._start()
                _close(dead.stdin)
                _close(dead.stdout)
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line + "\n")  # type: ignore[union-attr]
                self._process.stdin.flush()  # type: ignore[union-attr]
        return self._process.stdout.readline()  # type: ignore[union-attr]

    def _start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "ckptfmt.convert.batch", self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="ascii",
        )


def _close(pipe: IO[str] | None) -> None:
    # What a dead worker was still to be told cannot be delivered.
    with contextlib.suppress(OSError):
        pipe.close()  # type: ignore[union-attr]


def _work() -> None:
    """Be a worker: take a file on each line and write a line that says what became of it."""
    options = json.loads(sys.argv[1])
    if options.get("input_shape"):
        options["input_shape"] = tuple(options["input_shape"])
    for line in sys.stdin:
        outcome = _convert_one(Item(*json.loads(line)), options)
        answer = {"status": outcome.status, "conversion": outcome.conversion, "error": outcome.error}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _told_to_end(*_: object) -> None:
    """Clear away what is half written, which a second signal must not cut short."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    # Ctrl-C reaches the whole group; the parent alone decides when a worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _told_to_end)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        _work()
