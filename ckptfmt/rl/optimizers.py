"""The state of an optimizer, checked against the parameters that it is for.

torch's `load_state_dict` looks at no shape, and its fused kernels trust what it took: a moment that is too
small is read and written past its end.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import optim

from ckptfmt.errors import printable
from ckptfmt.format.safetensors import shape_text
from ckptfmt.rl.alike import check_alike, item, refuse
from ckptfmt.rl.networks import shard_like

__all__ = ["numbered", "restore_optimizer"]

# What each of torch's own keeps for a parameter; what it keeps only under an option of its group.
_KEPT: dict[type[optim.Optimizer], frozenset[str]] = {
    optim.Adam: frozenset({"step", "exp_avg", "exp_avg_sq"}),
    optim.AdamW: frozenset({"step", "exp_avg", "exp_avg_sq"}),
    optim.NAdam: frozenset({"step", "mu_product", "exp_avg", "exp_avg_sq"}),
    optim.RAdam: frozenset({"step", "exp_avg", "exp_avg_sq"}),
    optim.Adamax: frozenset({"step", "exp_avg", "exp_inf"}),
    optim.RMSprop: frozenset({"step", "square_avg"}),
    optim.SGD: frozenset(),
    optim.Adagrad: frozenset({"step", "sum"}),
    optim.Adadelta: frozenset({"step", "square_avg", "acc_delta"}),
}
_OPTIONAL = {"amsgrad": "max_exp_avg_sq", "centered": "grad_avg", "momentum": "momentum_buffer"}
_SCALARS = frozenset({"step", "mu_product"})
# These choose which code runs, and which state it needs.
_WAYS = (bool, type(None))


def restore_optimizer(optimizer: optim.Optimizer, state: Any, where: str = "optimizer") -> None:
    """Set an optimizer to a state of an optimizer of the same kind; raise `WeightsError` for any other.

    Numbers of its groups (learning rate, betas) are taken over; which parameters and which algorithm are not.
    """
    live = optimizer.state_dict()
    groups = item(state, "param_groups", where)
    _check_groups(groups, live["param_groups"], f"{where}/param_groups")
    stored = item(state, "state", where)
    if not isinstance(stored, Mapping):
        refuse("must be a mapping", f"{where}/state")
    known = _parameters(optimizer, live["param_groups"])
    for number, entries in stored.items():
        place = f"{where}/state/{printable(number, 60)}"
        if type(number) is not int or number not in known:
            refuse("is for a parameter that the network does not have", place)
        _check_entries(*known[number], entries, place)
    spread = {number: _spread(entries, known[number][2]) for number, entries in stored.items()}
    try:
        optimizer.load_state_dict({"state": spread, "param_groups": groups})
    except (ValueError, KeyError, TypeError, RuntimeError) as e:
        refuse(f"is no state of this optimizer: {e}", where)


def numbered(optimizer: optim.Optimizer) -> dict[int, torch.Tensor]:
    """Return the parameters by the numbers that stand for them in a state."""
    groups = optimizer.state_dict()["param_groups"]
    return {number: parameter for number, (_, _, parameter) in _parameters(optimizer, groups).items()}


def _spread(entries: Mapping[str, Any], parameter: Any) -> dict[str, Any]:
    """Return the entries of a parameter, spread over processes where it is."""
    return {name: _laid_out(entry, parameter) if torch.is_tensor(entry) else entry for name, entry in entries.items()}


def _laid_out(entry: torch.Tensor, parameter: Any) -> torch.Tensor:
    """Return an entry spread as its parameter is, and in its order in memory: fused kernels take that for granted."""
    entry = shard_like(entry, parameter)
    if entry.shape != parameter.shape or entry.stride() == parameter.stride():
        return entry
    return torch.empty_like(parameter, dtype=entry.dtype, requires_grad=False).copy_(entry)


def _parameters(
    optimizer: optim.Optimizer, numbered: list[dict[str, Any]]
) -> dict[int, tuple[Mapping[str, Any], type, Any]]:
    """Return (its group, the kind of optimizer, itself) of each parameter, by the number that stands for it."""
    return {
        number: (group, type(optimizer), parameter)
        for group, names in zip(optimizer.param_groups, numbered, strict=True)
        for number, parameter in zip(names["params"], group["params"], strict=True)
    }


def _check_groups(stored: Any, live: list[dict[str, Any]], where: str) -> None:
    if not isinstance(stored, list) or len(stored) != len(live):
        refuse(f"must be a list of {len(live)}", where)
    for i, (group, model) in enumerate(zip(stored, live, strict=True)):
        place = f"{where}/{i}"
        check_alike(group, {**model, **({"initial_lr": 0.0} if "initial_lr" in _keys(group) else {})}, place)
        if group["params"] != model["params"]:
            refuse("is for other parameters", f"{place}/params")
        for name, value in model.items():
            if (isinstance(value, _WAYS) or name == "momentum") and bool(group[name]) is not bool(value):
                refuse(f"is {group[name]}, must be {value}", f"{place}/{name}")


def _keys(group: Any) -> Any:
    return group.keys() if isinstance(group, Mapping) else ()


def _check_entries(group: Mapping[str, Any], kind: type, parameter: Any, entries: Any, where: str) -> None:
    if not isinstance(entries, Mapping) or not all(isinstance(name, str) for name in entries):
        refuse("must be a mapping", where)
    if kind not in _KEPT:
        for name, entry in entries.items():
            _check_foreign(entry, parameter, f"{where}/{printable(name, 60)}")
        return
    wanted = _KEPT[kind] | {name for option, name in _OPTIONAL.items() if group.get(option)}
    # Plain gradient descent begins its momentum at the first step; before that there is none.
    present = {name for name, entry in entries.items() if entry is not None or kind is not optim.SGD}
    absent = set() if kind is optim.SGD else wanted - present
    for name in sorted(absent | (present - wanted)):
        refuse("is missing" if name in absent else "is not known here", f"{where}/{printable(name, 60)}")
    for name in sorted(present):
        _check_entry(entries[name], () if name in _SCALARS else tuple(parameter.shape), f"{where}/{name}")


def _check_entry(entry: Any, shape: tuple[int, ...], where: str) -> None:
    if not isinstance(entry, torch.Tensor):
        refuse("must be a tensor", where)
    if tuple(entry.shape) != shape:
        refuse(f"is {shape_text(entry.shape)}, must be {shape_text(shape)}", where)
    # Moments are cast to the parameter's dtype when they are taken over, counts of steps are not.
    if not entry.is_floating_point() or (shape == () and entry.dtype not in (torch.float32, torch.float64)):
        refuse(f"is {str(entry.dtype).removeprefix('torch.')}", where)


def _check_foreign(entry: Any, parameter: Any, where: str) -> None:
    """Let an optimizer that is not torch's own have numbers, and tensors that fit its parameter."""
    if isinstance(entry, torch.Tensor):
        fits = entry.ndim == parameter.ndim and all(
            mine in (1, theirs) for mine, theirs in zip(entry.shape, parameter.shape, strict=True)
        )
        if entry.ndim and not fits:
            refuse(f"is {shape_text(entry.shape)}, must fit {shape_text(parameter.shape)}", where)
    elif not isinstance(entry, int | float | None):
        refuse("must be a tensor or a number", where)
