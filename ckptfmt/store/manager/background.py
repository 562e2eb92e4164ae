"""Jobs done one after another in a thread, whose errors come back to the caller.

At most one job waits behind the one that runs: a disk that is slower than the trainer slows the trainer down
and does not fill the memory. The process ends when all jobs are done; an error that nobody has asked for by then is
said in one line, and makes the exit status 120. A forked child has no jobs.
"""

import atexit
import contextlib
import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from ckptfmt.store.manager.snapshot import Buffers

__all__ = ["Background"]

# What is left of the time for an abandoned save to stop at its next part and clear away its staging, in seconds.
_GRACE = 1.0


class Background:
    """A queue of jobs with its thread, which ends when there is nothing to do, and the memory for what they hold.

    Its condition is one that a signal handler may use while the interrupted code holds it.
    """

    def __init__(self) -> None:
        self.abandoned = threading.Event()
        self.buffers = Buffers(self.abandoned)
        self._errors: deque[BaseException] = deque()
        self.forget()
        _LIVING.add(self)

    def forget(self) -> None:
        """Have no jobs: those that were given belong to the process this one was forked from."""
        # Reentrant: the handler of SIGTERM runs in the thread that may hold it at that moment.
        self._condition = threading.Condition(threading.RLock())
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = False

    def wait_for_room(self) -> None:
        """Wait until no job waits, and raise the error of one that failed."""
        with self._condition:
            self._condition.wait_for(lambda: not self._waiting or self._errors)
        self.raise_error()

    def submit(self, job: Callable[[], None]) -> None:
        """Do the job after those that were given before."""
        with self._condition:
            self._waiting.append(job)
            if not self._busy:
                self._busy = True
                # No daemon: the process waits for it at its end, so that no save is cut off by an exit.
                threading.Thread(target=self._run, name="ckptfmt-save").start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds until all is done; return whether it is. Raises nothing of the jobs."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._busy, timeout)

    def finish_or_abandon(self, timeout: float) -> bool:
        """Return whether all was done in time; else drop what waits, let the running job stop and clean up."""
        deadline = time.monotonic() + max(timeout, 0)
        # Of a time too short for the grace a half is kept for it.
        if self.wait(max(timeout - _GRACE, timeout / 2, 0)):
            return True
        self.abandoned.set()
        with self._condition:
            self._waiting.clear()
        self.wait(max(deadline - time.monotonic(), 0))
        return False

    def raise_error(self) -> None:
        """Raise the error of the first job that failed since this was asked last."""
        if self._errors:
            error = self._errors.popleft()
            # One error says what went wrong; those behind it mostly say the same of the next step.
            self._errors.clear()
            raise error

    def _run(self) -> None:
        while True:
            with self._condition:
                if not self._waiting:
                    self._busy = False
                    self._condition.notify_all()
                    return
                job = self._waiting.popleft()
                self._condition.notify_all()
            try:
                job()
            except BaseException as e:  # raised by the next call, in the thread of the caller
                if not self._errors:
                    _FAILED.append(self._errors)
                self._errors.append(e)


class _FailedEnd:
    """Standard error whose last flush fails: what Python makes the exit status 120 for, after all it does at an end.

    An exit from here would skip what other modules do at the end of the process, and what is not flushed yet.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def flush(self) -> None:
        """Flush, and once all handlers were called raise `OSError`, which Python shows to nobody."""
        if self._stream is not None:
            self._stream.flush()
        if sys.is_finalizing():
            raise OSError("a save in the background failed")


_LIVING: WeakSet[Background] = WeakSet()
# The errors outlive those who met them: a manager that nobody holds any more may have failed.
_FAILED: list[deque[BaseException]] = []


def _say_errors() -> None:
    """At the end of the process, when all threads have ended, say the errors that nobody has asked for."""
    unasked = [errors.popleft() for errors in _FAILED if errors]
    # A process without the stream, or with one that is closed, still has its exit status.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        for error in unasked:
            sys.stderr.write("".join(traceback.format_exception_only(error)))
    if unasked:
        sys.stderr = _FailedEnd(sys.stderr)


def _forget_in_child() -> None:
    for background in list(_LIVING):
        background.forget()
    for errors in _FAILED:
        errors.clear()
    _FAILED.clear()


atexit.register(_say_errors)
os.register_at_fork(after_in_child=_forget_in_child)
