"""Whole modules that were pickled: their parameters and buffers, read off the graph without their classes."""

from collections.abc import Iterator
from typing import Any

from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find.keys import distinct
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["attributes", "is_module", "own", "tensors", "walk"]

_SCRIPTED = "__torch__."


def is_module(value: Any) -> bool:
    """Whether a placeholder stands for an `nn.Module`, or for the root of a TorchScript archive."""
    if not isinstance(value, Opaque) or not isinstance(value.state, dict):
        return False
    return "_modules" in value.state or (value.kind == "instance" and value.name.startswith(_SCRIPTED))


def tensors(module: Opaque) -> dict[str, LegacyTensor]:
    """Return parameters and persistent buffers under the names that `state_dict` gives them, in its order."""
    return distinct((prefix + name, tensor) for prefix, node in walk(module) for name, tensor in own(node))


def walk(module: Opaque) -> Iterator[tuple[str, Opaque]]:
    """Yield (prefix of its tensors' names, placeholder) of a module and of all in it, in their order."""
    stack: list[tuple[str, Opaque]] = [("", module)]
    while stack:
        prefix, node = stack.pop()
        yield prefix, node
        below = [(f"{prefix}{name}.", child) for name, child in _children(node.state)]
        stack += reversed(below)


def attributes(module: Opaque) -> dict[Any, Any]:
    """Return what the module keeps besides its layers: its own settings."""
    return {
        name: value
        for name, value in module.state.items()
        if isinstance(name, str) and not name.startswith("_") and name != "training"
    }


def own(module: Opaque) -> Iterator[tuple[str, LegacyTensor]]:
    """Yield the parameters and persistent buffers that a module holds itself, by name."""
    state = module.state
    found = state.get("_non_persistent_buffers_set")
    # What was a set is a list here, in which looking up is slow.
    hidden = {name for name in found if isinstance(name, str)} if isinstance(found, list | tuple) else frozenset()
    for place in ("_parameters", "_buffers") if "_modules" in state else (None,):
        held = state if place is None else state.get(place)
        for name, value in held.items() if isinstance(held, dict) else ():
            if isinstance(value, LegacyTensor) and not (place == "_buffers" and name in hidden):
                yield str(name), value


def _children(state: dict[Any, Any]) -> Iterator[tuple[str, Opaque]]:
    held = state.get("_modules", state)
    for name, value in held.items() if isinstance(held, dict) else ():
        if isinstance(value, Opaque) and isinstance(value.state, dict):
            yield str(name), value
