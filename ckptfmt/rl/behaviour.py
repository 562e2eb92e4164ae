"""What two networks do with the same frames: where they choose otherwise, and how their values differ."""

import os
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import shape_text
from ckptfmt.look.trace import Trace, open_trace
from ckptfmt.rl.families.blocks import State
from ckptfmt.rl.families.network import BlockNetwork
from ckptfmt.rl.load import load_open_checkpoint
from ckptfmt.rl.player import observation_scale
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Behaviour", "compare_behaviour"]

# Frames answered at once: enough to keep a processor busy, some megabytes at most.
_BATCH = 64
# Enough to look at; `chosen_otherwise` counts all of them.
_LISTED = 20


@record
class Choice:
    """One step at which two networks choose otherwise, by the names of the actions."""

    step: int
    a: str
    b: str

    def to_dict(self) -> dict[str, Any]:
        """Return the choice as plain data."""
        return {"step": self.step, "a": self.a, "b": self.b}


@record
class Behaviour:
    """How two networks answer the frames of one trace.

    `chosen_otherwise` counts the steps at which they choose another action, `choices` are the first of them. The
    values of the network's own choice are compared, of Q-values or logits as `compared` says: their mean in each
    network, the mean and the largest difference, and their correlation (None where one of them is constant).
    `values_a` and `values_b` are those values step by step.
    """

    trace: str
    steps: int
    chosen_otherwise: int
    choices: tuple[Choice, ...]
    compared: str
    mean_a: float
    mean_b: float
    mean_difference: float
    largest_difference: float
    correlation: float | None
    values_a: tuple[float, ...]
    values_b: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "choices": [choice.to_dict() for choice in self.choices],
            "values_a": list(self.values_a),
            "values_b": list(self.values_b),
        }


def compare_behaviour(a: str | os.PathLike[str], b: str | os.PathLike[str], trace: str | os.PathLike[str]) -> Behaviour:
    """Let the networks of two checkpoints answer every frame of a trace, whoever played it.

    Raises `CkptError` where the trace holds no observations or they are of another shape than a network takes.
    """
    with open_trace(trace) as opened:
        answers_a, compared = _answers(a, opened, os.fspath(trace))
        answers_b, other = _answers(b, opened, os.fspath(trace))
        if compared != other or answers_a.shape != answers_b.shape:
            raise CkptError(
                f"one network gives {compared} of {answers_a.shape[1]} actions, the other {other} of "
                f"{answers_b.shape[1]}, which cannot be compared",
                where=os.fspath(trace),
                code="trace.shape",
            )
        names = [printable(name, 40) for name in opened.told.actions]
    return _compare(answers_a, answers_b, compared, os.fspath(trace), names)


def _compare(a: NDArray[np.float64], b: NDArray[np.float64], compared: str, trace: str, names: list[str]) -> Behaviour:
    def name(action: int) -> str:
        return names[action] if action < len(names) else str(action)

    chosen_a, chosen_b = a.argmax(axis=1), b.argmax(axis=1)
    apart = np.flatnonzero(chosen_a != chosen_b)
    value_a, value_b = a.max(axis=1), b.max(axis=1)
    # A correlation divides by both deviations.
    moves = value_a.std() > 0 and value_b.std() > 0
    return Behaviour(
        trace=trace,
        steps=len(a),
        chosen_otherwise=len(apart),
        choices=tuple(Choice(int(i), name(chosen_a[i]), name(chosen_b[i])) for i in apart[:_LISTED]),
        compared=compared,
        mean_a=float(value_a.mean()),
        mean_b=float(value_b.mean()),
        mean_difference=float(np.abs(value_a - value_b).mean()),
        largest_difference=float(np.abs(value_a - value_b).max()),
        correlation=float(np.corrcoef(value_a, value_b)[0, 1]) if moves else None,
        values_a=tuple(map(float, value_a)),
        values_b=tuple(map(float, value_b)),
    )


def _answers(path: str | os.PathLike[str], trace: Trace, where: str) -> tuple[NDArray[np.float64], str]:
    """Return (steps, actions) of what a network says of each action, and what that is."""
    if not trace.has("observations"):
        raise CkptError("holds no observations", where=where, fix="record it again", code="trace.shape")
    with Checkpoint(path) as checkpoint:
        scale = observation_scale(checkpoint)
        model, config, _ = load_open_checkpoint(checkpoint)
    shape, expected = trace.shape("observations")[1:], getattr(config, "input_shape", None)
    if expected is not None and tuple(expected) != shape:
        raise CkptError(
            f"its observations are {shape_text(shape)}, and {os.fspath(path)} takes {shape_text(expected)}",
            where=where,
            fix="record a trace of the environment that it plays",
            code="trace.shape",
        )
    state: State | None = {} if getattr(model, "is_recurrent", False) else None
    answers = [_answer(model, trace, begin, end, scale, state) for begin, end in _spans(trace, state is not None)]
    return np.concatenate([answer for answer, _ in answers]), answers[0][1]


def _spans(trace: Trace, by_episodes: bool) -> list[tuple[int, int]]:
    """Return which rows are answered at once; what remembers is given none that begin in another episode."""
    ends = {*range(0, trace.steps, _BATCH), trace.steps}
    if by_episodes:
        ends |= {int(step) + 1 for step in np.flatnonzero(np.diff(trace.episodes))}
    return list(pairwise(sorted(ends)))


@torch.no_grad()
def _answer(
    model: nn.Module, trace: Trace, begin: int, end: int, scale: float, state: State | None
) -> tuple[NDArray[np.float64], str]:
    rows = trace.rows("observations", begin, end)
    batch = torch.from_numpy(rows.copy())
    batch = batch if scale == 1 else batch.float() / scale
    batch = model.prepared(batch) if isinstance(model, BlockNetwork) else batch
    if state is None:
        said: Mapping[str, Tensor] = model.outputs(batch)  # type: ignore[operator]
    else:
        if begin and trace.episodes[begin] != trace.episodes[begin - 1]:
            state.clear()
        said = {name: value[:, 0] for name, value in model.run(batch.unsqueeze(1), state).items()}  # type: ignore[operator]
    for name in ("q_values", "logits") if getattr(getattr(model, "config", None), "choices", None) is None else ():
        if name in said:
            return said[name].double().cpu().numpy(), name
    raise CkptError(f"its network gives {', '.join(said)}, not one value for each action", code="trace.shape")
