"""Environments in processes of their own: played at the same time, stored and restored as those of this process.

A process is a fresh interpreter that is sent the description of its environments over a pipe, and ends with the pipe.
So an environment that only the running script registers is not known there.

What goes over the pipe is pickled by one of our own processes and read by the other; no file and no stranger can put
bytes of its own into it. The state of a game, which may have been read out of a checkpoint, goes over as what it is
stored as: arrays by name and a text, neither of which can name anything to be called.
"""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ckptfmt.errors import CkptError
from ckptfmt.rl.environment import Environment
from ckptfmt.rl.envs.make import make_env
from ckptfmt.rl.envs.played import Elsewhere, Played, begin, failed, play
from ckptfmt.rl.envs.state import capture_env, restore_env
from ckptfmt.rl.tree import flatten, unflatten

__all__ = ["RemoteEnv", "make_remote", "play_remotely", "serve"]

_SERVE = "import sys; from ckptfmt.rl.envs.remote import serve; serve(int(sys.argv[1]))"
# Seconds for an environment to close its window or its emulator, before its process is killed.
_WAIT = 10.0
# An array, or the bytes of a tensor with its dtype and shape.
_Sent = NDArray[Any] | tuple[NDArray[Any], torch.dtype, tuple[int, ...]]


def make_remote(environment: Environment, count: int, processes: int, *, trusted: bool = True) -> list["RemoteEnv"]:
    """Return `count` environments shared out among so many processes; raise as `make_env`."""
    shares = [len(range(first, count, processes)) for first in range(min(processes, count))]
    workers = [_Process() for _ in shares]
    try:
        for worker, share in zip(workers, shares, strict=True):
            worker.send("make", environment.to_dict(), share, trusted)
        spaces = [worker.receive() for worker in workers]
    except BaseException:
        for worker in workers:
            worker.close()
        raise
    # Dealt out in turn, so that neighbours play at the same time.
    return [RemoteEnv(workers[i % len(shares)], i // len(shares), *spaces[0]) for i in range(count)]


class RemoteEnv(Elsewhere):
    """Environment number `index` of another process; `play_remotely` takes steps in many of them."""

    def __init__(self, process: "_Process", index: int, observation_space: Any, action_space: Any) -> None:
        self.process, self.index = process, index
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, as `gymnasium.Env.reset`."""
        observation: Any = self.process.ask("reset", self.index, seed)
        return observation, {}

    def capture(self) -> tuple[list[Any], tuple[str, ...]]:
        """Return its state and what of it cannot be stored, as `capture_env` does."""
        sent, lacks = self.process.ask("capture", self.index)
        return _unpacked(sent), lacks

    def restore(self, captured: Any, where: str) -> None:
        """Set it to a state, as `restore_env` does."""
        self.process.ask("restore", self.index, _packed(captured), where)

    def close(self) -> None:
        """End its process, and the environments beside it."""
        self.process.close()


def play_remotely(
    envs: Sequence[RemoteEnv], actions: Sequence[int], meanwhile: Callable[[], None] | None = None
) -> list[Played]:
    """Take one step in every environment, in all processes at the same time, while `meanwhile` runs here."""
    shares: dict[_Process, list[int]] = {}
    for place, env in enumerate(envs):
        shares.setdefault(env.process, []).append(place)
    # One message a process: to wake it and be woken takes as long as a step of Pong.
    for process, places in shares.items():
        process.send("play", [(envs[place].index, actions[place]) for place in places])
    if meanwhile is not None:
        meanwhile()
    played = {
        place: one for process, places in shares.items() for place, one in zip(places, process.receive(), strict=True)
    }
    return [played[place] for place in range(len(envs))]


class _Process:
    """The other end of the pipe; answers come in the order of the questions."""

    def __init__(self) -> None:
        self._pipe, theirs = multiprocessing.Pipe()
        # -P: a module of the working folder must not stand for one of ours.
        words = [sys.executable, "-P", "-c", _SERVE, str(theirs.fileno())]
        self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()

    def send(self, verb: str, *words: Any) -> None:
        with self._reported():
            self._pipe.send((verb, *words))

    def receive(self) -> Any:
        with self._reported():
            done, answer = self._pipe.recv()
        if not done:
            raise CkptError(**answer)
        return answer

    def ask(self, verb: str, *words: Any) -> Any:
        self.send(verb, *words)
        return self.receive()

    @contextlib.contextmanager
    def _reported(self) -> Any:
        try:
            yield
        except (EOFError, OSError):
            raise CkptError(
                "the process of an environment has ended", where="environment", code="environment.process"
            ) from None

    def close(self) -> None:
        self._pipe.close()
        try:
            self._process.wait(_WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@dataclass(slots=True)
class _Served:
    """The environments of this process."""

    envs: Sequence[Any] = ()

    def make(self, description: dict[str, Any], count: int, trusted: bool) -> tuple[Any, Any]:
        environment = Environment.from_dict(description)
        self.envs = [make_env(environment, trusted=trusted) for _ in range(count)]
        return self.envs[0].observation_space, self.envs[0].action_space

    def reset(self, index: int, seed: int | None) -> Any:
        return begin(self.envs[index], seed)

    def play(self, actions: Sequence[tuple[int, int]]) -> list[Played]:
        return [play(self.envs[index], action) for index, action in actions]

    def capture(self, index: int) -> tuple[dict[str, _Sent], tuple[str, ...]]:
        state = capture_env(self.envs[index])
        return _packed(state.layers), state.lacks

    def restore(self, index: int, sent: dict[str, _Sent], where: str) -> None:
        restore_env(self.envs[index], _unpacked(sent), where)


def _packed(state: Any) -> dict[str, _Sent]:
    """Return the state of a game as arrays by name."""
    return {name: _as_sent(array) for name, array in flatten(state).items()}


def _unpacked(sent: dict[str, _Sent]) -> Any:
    return unflatten({name: _as_received(array) for name, array in sent.items()})


def _as_sent(array: NDArray[Any] | Tensor) -> _Sent:
    if isinstance(array, np.ndarray):
        return array
    # Torch lends its own pickles the memory of a tensor in place of a copy, which asks for more than this pipe.
    return array.contiguous().reshape(-1).view(torch.uint8).numpy(), array.dtype, tuple(array.shape)


def _as_received(sent: _Sent) -> NDArray[Any] | Tensor:
    if isinstance(sent, np.ndarray):
        return sent
    data, dtype, shape = sent
    received = torch.empty(shape, dtype=dtype)
    received.reshape(-1).view(torch.uint8).numpy()[:] = data
    return received


def serve(descriptor: int) -> None:
    """Answer what comes over a pipe until it is closed: the work of a process of environments."""
    # Ctrl-C is for the trainer, which ends this process when it has saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe, served = Connection(descriptor), _Served()
    with contextlib.suppress(EOFError, OSError):
        while True:
            verb, *words = pipe.recv()
            try:
                answer = True, getattr(served, verb)(*words)
            except Exception as e:  # an environment may raise anything
                told = e if isinstance(e, CkptError) else failed(e)
                answer = False, {"what": told.what, "where": told.where, "fix": told.fix, "code": told.code}
            pipe.send(answer)
    # At once: nothing here is left to be written down, and the trainer waits for this end.
    os._exit(0)
