"""The manager of a run's checkpoints."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

from ckptfmt.errors import CkptError, ManifestError, NotACheckpoint, Problem
from ckptfmt.families.config import Config
from ckptfmt.format.freeform import decode_free, encode_free
from ckptfmt.format.manifest import Lineage, Manifest, Resume
from ckptfmt.remote.url import as_path, is_url
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.store.manager.background import Background
from ckptfmt.store.manager.pruning import Pruning
from ckptfmt.store.manager.retention import Retention, order
from ckptfmt.store.manager.sigterm import on_sigterm
from ckptfmt.store.manager.snapshot import abandoned
from ckptfmt.store.manager.steps import MANAGED, Entry, Index, list_steps, named_steps, step_name
from ckptfmt.store.save import write
from ckptfmt.store.write.failure import reported
from ckptfmt.store.write.together import Peers

__all__ = ["CheckpointManager"]

# The tensors of a save by the names of its parameters.
_Given = Mapping[str, Mapping[str, Any]]


class CheckpointManager:
    """Save checkpoints by step into `folder`, find the latest and the best again, remove what is superfluous.

    `folder` may be the URL of a folder in a bucket; there the checkpoint of a step is never replaced.

    What is kept: the `keep_last` newest, the `keep_best` best by `metric` (`mode` is "max" or "min"), and every
    step that is a multiple of `keep_every`; one reason suffices, and without any all are kept. A metric that is not
    finite is the worst in either mode; while no checkpoint has it, `keep_best` keeps all. Only checkpoints that a
    manager wrote and that are older than the one just saved are ever removed.

    A relative `folder` is that of the working directory of now, whatever that is later.

    With `background`, `save` returns once the tensors are copied, saves are done in order, and the error of one
    is raised by the next call or by `close`; one that nobody asked for is said at the end of the process, whose exit
    status is 120 then. `report` is called with each `Problem` worth knowing: a damaged checkpoint that was passed
    over, weights that have not changed since the last step.
    `on_saved` is called with the step and the manifest of each checkpoint that is on the disk, by the thread
    that wrote it. With `compress`, files that get a tenth smaller are stored as zstd: of a run on Atari the state
    and, above all, the replay buffer.

    With `peers` (`ckptfmt.rl.peers.Ranks()`) each process of a training has a manager of the same folder and calls
    `save` with what it holds, spread tensors among it; rank 0 commits, and alone removes what is superfluous.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        keep_last: int | None = None,
        keep_best: int | None = None,
        keep_every: int | None = None,
        metric: str = "reward",
        mode: Literal["max", "min"] = "max",
        background: bool = False,
        compress: bool = False,
        wait: float = 0.0,
        report: Callable[[Problem], None] | None = None,
        on_saved: Callable[[int, Manifest], None] | None = None,
        peers: Peers | None = None,
    ) -> None:
        self.folder = as_path(folder)
        self._is_far = is_url(folder)
        self._place = self.folder if self._is_far else _from_here(self.folder)
        self._steps: set[int] | None = None
        self.retention = Retention(last=keep_last, best=keep_best, every=keep_every, metric=metric, mode=mode)
        self.problems: list[Problem] = []
        self._compress = compress
        self._wait = wait
        self._report = report
        self._on_saved = on_saved
        self.peers = peers
        self._index = Index(self._place)
        self._pruning = Pruning(self._place, self.retention, self._index)
        self._background = Background() if background else None

    def save(
        self,
        step: int,
        tensors: Mapping[str, Any],
        config: Config | Mapping[str, Any] | None = None,
        training_info: Mapping[str, Any] | None = None,
        *,
        metrics: Mapping[str, float] | None = None,
        overwrite: bool = False,
        state: Mapping[str, Any] | None = None,
        replay: Mapping[str, Any] | None = None,
        environment: Mapping[str, Any] | None = None,
        evaluation: Sequence[Mapping[str, Any]] = (),
        lineage: Lineage | None = None,
        resume: Resume | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str:
        """Save the checkpoint of a step and return its path; what is not told here is as in `ckptfmt.save`.

        Raises as `ckptfmt.save`, in the background for the save before this one.
        """
        path = self.path(step)
        noted = {MANAGED: {"step": step, "metrics": _mapping(metrics, "$.extra.manager.metrics")}}
        said = {
            "config": config,
            "training_info": training_info,
            "environment": environment,
            "evaluation": evaluation,
            "extra": {**_mapping(extra, "$.extra"), **noted},
        }
        arrays = {"tensors": tensors, "state": state, "replay": replay}
        given = {name: part for name, part in arrays.items() if part is not None}
        if self.peers is not None:
            given = {name: self.peers.pieces(part) for name, part in given.items()}

        records = {"lineage": lineage, "resume": resume}

        def keep(given: _Given) -> None:
            self._keep(step, given, overwrite=overwrite, **said, **records)

        if self._background is None:
            keep(given)
        else:
            said = {name: _as_it_is_now(value, f"$.{name}") for name, value in said.items()}
            self._save_later(self._background, keep, given)
        return path

    def path(self, step: int) -> str:
        """Return the folder of a step's checkpoint, from where the folder of the manager was given."""
        return _joined(self.folder, step)

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, newest first; whether it is whole is not looked at."""
        return list_steps(self._place)

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint whose every byte verifies, opened; None where there is none.

        Those that were passed over are reported, with what is wrong with them.
        """
        self._raise_error()
        return self._first_whole(named_steps(self._place))

    def best(self, metric: str | None = None, mode: Literal["max", "min"] | None = None) -> Checkpoint | None:
        """Return the best checkpoint whose every byte verifies, opened; None where none has the metric."""
        self._raise_error()
        self._index.forget()
        values = self._index.values(named_steps(self._place), metric or self.retention.metric)
        return self._first_whole(order(values, mode or self.retention.mode))

    def restore(self, step: int | None = None) -> Checkpoint:
        """Return the checkpoint of `step`, or the latest, verified and opened.

        Raises `NotACheckpoint` where there is none, and for a given step what is wrong with it.
        """
        if step is None:
            found = self.latest()
            if found is None:
                raise NotACheckpoint("holds no checkpoint that is whole", where=self.folder, code="manager.empty")
            return found
        self._raise_error()
        return _verified(self._place_of(step))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all saves are done and raise the error of one that failed; return False after `timeout`."""
        done = self._background.wait(timeout) if self._background else True
        self._raise_error()
        return done

    def close(self, timeout: float | None = None) -> None:
        """Finish the saves, or abandon them after `timeout` seconds; raise the error of one that failed."""
        if self._background is None:
            return
        done = self._background.wait() if timeout is None else self._background.finish_or_abandon(timeout)
        self._background.raise_error()
        if not done:
            raise abandoned()

    def finish_on_sigterm(self, seconds: float) -> contextlib.AbstractContextManager[None]:
        """While the block runs, let SIGTERM finish the saves within `seconds`, abandon them after that.

        The process then goes the way it would have gone: the handler before this one is called, or the signal
        ends it. To be used in the main thread.
        """
        return on_sigterm(lambda: self._background and self._background.finish_or_abandon(seconds))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep(self, step: int, given: _Given, *, overwrite: bool, **said: Any) -> None:
        """Write the checkpoint of a step, and remove what it makes superfluous."""
        place = self._place_of(step)
        with reported(place):
            manifest = write(
                place,
                given["tensors"],
                state=given.get("state"),
                replay=given.get("replay"),
                # In a store it replaces nothing, and takes over what a run that died has left.
                overwrite=overwrite or self._is_far,
                wait=self._wait,
                compress=self._compress,
                peers=self.peers,
                **said,
            )
            if self._on_saved is not None:
                self._on_saved(step, manifest)
            if self.peers is None or self.peers.rank == 0:
                self._pruning.clean_once()
                self._after(step)

    def _save_later(self, background: Background, save: Callable[[_Given], None], given: _Given) -> None:
        background.wait_for_room()
        buffers = background.buffers
        copies = {name: buffers.copy(arrays) for name, arrays in given.items()}

        def job() -> None:
            try:
                save(copies)
            finally:
                for copy in copies.values():
                    buffers.give_back(copy)

        background.submit(job)

    def _place_of(self, step: int) -> str:
        """Return where the checkpoint of a step lies, whatever the working directory is by now."""
        return _joined(self._place, step)

    def _after(self, step: int) -> None:
        """Look at what was just saved, and remove what it makes superfluous."""
        # After a resume from an earlier step there may be later ones, which belong to the run that was left.
        older = [known for known in self._listed(step) if known <= step]
        saved = self._index.entry(step)
        if saved is None:
            return
        if before := next((entry for known in older[1:] if (entry := self._index.entry(known))), None):
            self._alarm_if_stale(saved, before)
        for problem in self._pruning.prune(older):
            self._tell(problem)

    def _listed(self, saved: int) -> list[int]:
        """Return the steps that are there, newest first, after a save.

        A store takes a request for a thousand names, so it is asked once: what others write later is not removed.
        """
        if not self._is_far:
            return named_steps(self._place)
        known = named_steps(self._place) if self._steps is None else self._steps
        self._steps = {*known, saved} - self._pruning.removed
        self._pruning.removed.clear()
        return sorted(self._steps, reverse=True)

    def _alarm_if_stale(self, saved: Entry, before: Entry) -> None:
        if saved.content_digest == before.content_digest:
            self._tell(
                Problem(
                    "manager.stale",
                    self.path(saved.step),
                    f"its weights are those of step {before.step}, so the training has not changed them",
                    "make sure that the network that is saved is the one that is trained",
                    "warning",
                )
            )

    def _first_whole(self, steps: list[int]) -> Checkpoint | None:
        for step in steps:
            path = self._place_of(step)
            try:
                return _verified(path)
            except CkptError as e:
                # In a store that is an upload which was not finished.
                if not (self._is_far and isinstance(e, NotACheckpoint)):
                    self._tell(Problem(e.code, e.where or path, f"{e.what}; passed over", e.fix, "warning"))
        return None

    def _tell(self, problem: Problem) -> None:
        self.problems.append(problem)
        if self._report is not None:
            self._report(problem)

    def _raise_error(self) -> None:
        if self._background is not None:
            self._background.raise_error()


def _from_here(folder: str) -> str:
    # Not `abspath`: what lies above a link is not what its name says.
    return folder if os.path.isabs(folder) else os.path.join(os.getcwd(), folder)


def _joined(folder: str, step: int) -> str:
    if step < 0:
        raise ValueError(f"step is {step}, it must not be negative")
    return os.path.join(folder, step_name(step))


def _mapping(given: Any, where: str) -> dict[Any, Any]:
    if given is not None and not isinstance(given, Mapping):
        raise ManifestError("must be an object", where=where)
    return dict(given or {})


def _as_it_is_now(value: Any, where: str) -> Any:
    """Return a copy of what is said in a manifest, which the caller may go on changing."""
    # A config is a record, and cannot change.
    if value is None or hasattr(value, "to_dict"):
        return value
    listed = value if isinstance(value, Mapping | str) or not hasattr(value, "__iter__") else list(value)
    return decode_free(encode_free(listed, where=where), where=where)


def _verified(path: str) -> Checkpoint:
    checkpoint = Checkpoint(path)
    try:
        checkpoint.verify()
    except BaseException:
        checkpoint.close()
        raise
    return checkpoint
