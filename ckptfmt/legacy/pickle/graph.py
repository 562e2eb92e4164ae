"""The object that a pickle made, walked once: its size when it is written out, its depth, its cycles.

Who works with the object afterwards may walk it without a care: it is a tree of bounded depth once shared
parts are counted as often as they occur.
"""

from collections.abc import Iterator
from typing import Any

from ckptfmt.errors import BadPickle
from ckptfmt.legacy.bytes.budget import MAX_DEPTH, MAX_NODES, exceeded
from ckptfmt.legacy.pickle.inert import Opaque, Ordered, Unique

__all__ = ["check"]

# Text weighs one node for this many characters.
_PER_NODE = 16
# The place of a child that cannot be replaced.
_FIXED = object()
_DEPTH_BITS = 8
_CONTAINERS = frozenset({list, tuple, dict, Opaque, Ordered, Unique})


class _Frame:
    """A container that is being walked."""

    __slots__ = ("children", "depth", "key", "node", "weight")

    def __init__(self, node: Any) -> None:
        self.node = node
        self.children = _children(node)
        self.key: Any = None
        self.weight = 1
        self.depth = 1


def _children(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (place, child) of a container; the place is what `_cut` needs to put something else there."""
    match node:
        case Opaque():
            yield _FIXED, node.args
            yield "state", node.state
            yield _FIXED, node.items
            for i, pair in enumerate(node.pairs):
                for item in pair:
                    yield ("pairs", i), item
        case dict():
            for key, value in list(node.items()):
                yield _FIXED, key
                yield key, value
        case list():
            yield from enumerate(node)
        case tuple():
            for item in node:
                yield _FIXED, item


def check(root: Any) -> None:
    """Raise `SourceError` if the object is too deep, too large when shared parts are counted each time, or a cycle.

    A cycle that passes through an instance of code we do not run (a module that knows its parent) is cut where
    it closes: a placeholder stands there.
    """
    done: dict[int, int] = {}
    open_nodes: set[int] = set()
    path: list[_Frame] = []
    _push(path, open_nodes, _Frame([root]))
    while path:
        frame = path[-1]
        child = _next_container(frame, done)
        if child is None:
            path.pop()
            open_nodes.discard(id(frame.node))
            done[id(frame.node)] = packed = frame.weight << _DEPTH_BITS | frame.depth
            if path:
                _add(path[-1], packed)
        elif id(child) in open_nodes:
            _cut(path, child)
        else:
            _push(path, open_nodes, _Frame(child))


def _next_container(frame: _Frame, done: dict[int, int]) -> Any:
    """Return the next child that must be walked itself, the weight of the others added; None at the end."""
    for place, child in frame.children:
        frame.key = place
        if type(child) not in _CONTAINERS:
            _add(frame, _leaf(child) << _DEPTH_BITS)
        elif id(child) in done:
            _add(frame, done[id(child)])
        elif weight := _shallow(child):
            _add(frame, weight << _DEPTH_BITS | 1)
        else:
            return child
    return None


def _leaf(value: Any) -> int:
    return 1 + len(value) // _PER_NODE if isinstance(value, (str, bytes)) else 1


def _shallow(node: Any) -> int:
    """Return the weight of a sequence or an instance with nothing but leaves in it, 0 for any other container."""
    if type(node) is Opaque:
        bare = not (node.args or node.items or node.pairs or type(node.state) in _CONTAINERS)
        return 1 + _leaf(node.state) if bare else 0
    if isinstance(node, dict):
        return 0 if node else 1
    return 0 if any(type(item) in _CONTAINERS for item in node) else 1 + sum(map(_leaf, node))


def _push(path: list[_Frame], open_nodes: set[int], frame: _Frame) -> None:
    path.append(frame)
    open_nodes.add(id(frame.node))
    if len(path) > MAX_DEPTH:
        raise exceeded(f"holds an object nested more than {MAX_DEPTH} deep")


def _add(frame: _Frame, packed: int) -> None:
    """Add a child's weight and depth, packed into one integer to save memory."""
    frame.weight += packed >> _DEPTH_BITS
    frame.depth = max(frame.depth, (packed & (1 << _DEPTH_BITS) - 1) + 1)
    if frame.weight > MAX_NODES:
        raise exceeded(f"holds an object of more than {MAX_NODES:,} parts when it is written out")
    if frame.depth > MAX_DEPTH:
        raise exceeded(f"holds an object nested more than {MAX_DEPTH} deep")


def _cut(path: list[_Frame], target: Any) -> None:
    """Put a placeholder where a cycle back to `target` closes, if it is one of an object's parts."""
    start = next(i for i, frame in enumerate(path) if frame.node is target)
    cycle = path[start:]
    if not any(isinstance(frame.node, Opaque) for frame in cycle):
        raise BadPickle("refused, its pickle holds a list or dictionary that contains itself")
    for frame in reversed(cycle):
        if isinstance(frame.node, (dict, list)) and frame.key is not _FIXED:
            frame.node[frame.key] = Opaque("global", "cycle")
            return
        if isinstance(frame.node, Opaque) and frame.key == "state":
            frame.node.state = Opaque("global", "cycle")
            return
        if isinstance(frame.node, Opaque) and isinstance(frame.key, tuple):
            frame.node.pairs[frame.key[1]] = ("", Opaque("global", "cycle"))
            return
    raise BadPickle("refused, its pickle holds an object that contains itself")
