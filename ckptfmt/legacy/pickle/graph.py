"""The object that a pickle made, walked once: its size when it is written out, its depth, its names, its cycles.

Who works with the object afterwards may walk it without a care: it is a tree of bounded depth once shared
parts are counted as often as they occur, and all paths to its tensors together are bounded too.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from ckptfmt.errors import BadPickle
from ckptfmt.legacy.bytes.budget import MAX_DEPTH, MAX_NODES, exceeded
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.pickle.inert import Opaque, Ordered, Unique

__all__ = ["check"]

# Text weighs one node for this many characters.
_PER_NODE = 16
# The characters of the path to one tensor or placeholder, and of all of them together.
_MAX_PATH = 64 << 10
_MAX_PATHS = 64 << 20
# The place of a child that cannot be replaced.
_FIXED = object()
_CONTAINERS = frozenset({list, tuple, dict, Opaque, Ordered, Unique})
# What is known of a container is packed into one integer, to save memory: (first bit, bits) of each part.
_WEIGHT, _DEPTH, _THINGS, _PATHS, _REACH = (0, 24), (24, 8), (32, 24), (56, 28), (84, 20)
_WEIGHT_MASK, _DEPTH_MASK, _THINGS_MASK, _PATHS_MASK = (
    (1 << bits) - 1 for _, bits in (_WEIGHT, _DEPTH, _THINGS, _PATHS)
)
_ONE_DEEP = 1 << _DEPTH[0]


class _Frame:
    """A container that is being walked.

    `things` are the tensors and placeholders below it, `paths` the characters of all their paths from here,
    `reach` those of the longest.
    """

    __slots__ = ("children", "depth", "key", "node", "paths", "place", "reach", "things", "weight")

    def __init__(self, node: Any) -> None:
        self.node = node
        self.children = _children(node)
        self.place: Any = None
        self.key: Any = None
        self.weight = 1
        self.depth = 1
        self.things = 1 if type(node) is Opaque else 0
        self.paths = 0
        self.reach = 0

    def packed(self) -> int:
        """Return what is known of the container, once all of it was walked."""
        known = self.weight | self.depth << _DEPTH[0]
        if self.things:
            known |= self.things << _THINGS[0] | self.paths << _PATHS[0] | self.reach << _REACH[0]
        return known


def _children(node: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield (place, key, child) of a container.

    The place is what `_cut` needs to put something else there, the key what the child is called in a path.
    """
    match node:
        case Opaque():
            yield _FIXED, None, node.args
            yield "state", None, node.state
            yield _FIXED, None, node.items
            for i, (key, item) in enumerate(node.pairs):
                yield ("pairs", i), None, key
                yield ("pairs", i), key, item
        case dict():
            for key, value in list(node.items()):
                yield _FIXED, None, key
                yield key, key, value
        case list():
            name = _name_in(node)
            for i, item in enumerate(node):
                yield i, name, item
        case tuple():
            name = _name_in(node)
            for item in node:
                yield _FIXED, name, item


def _name_in(node: Sequence[Any]) -> Any:
    """Return the name in a pair of a name and what it names; None for any other sequence."""
    return node[0] if len(node) == 2 and type(node[0]) is str else None


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
            done[id(frame.node)] = packed = frame.packed()
            if path:
                _add(path[-1], packed)
        elif id(child) in open_nodes:
            _cut(path, child)
        else:
            _push(path, open_nodes, _Frame(child))


def _next_container(frame: _Frame, done: dict[int, int]) -> Any:
    """Return the next child that must be walked itself, what is known of the others added; None at the end."""
    for place, key, child in frame.children:
        frame.place, frame.key = place, key
        if type(child) is LegacyTensor:
            _add(frame, 1 | 1 << _THINGS[0])
        elif type(child) not in _CONTAINERS:
            frame.weight += _leaf(child)
            _check_weight(frame)
        elif id(child) in done:
            _add(frame, done[id(child)])
        elif packed := _shallow(child):
            _add(frame, packed)
        else:
            return child
    return None


def _leaf(value: Any) -> int:
    return 1 + len(value) // _PER_NODE if isinstance(value, (str, bytes)) else 1


def _shallow(node: Any) -> int:
    """Return what is known of a sequence or an instance with nothing but leaves in it, 0 for any other container."""
    if type(node) is Opaque:
        return _shallow_instance(node)
    if not node:
        return 1 | _ONE_DEEP
    if isinstance(node, dict) or _name_in(node):
        return 0
    weight, things = 1, 0
    for item in node:
        if type(item) in _CONTAINERS:
            return 0
        weight += _leaf(item)
        things += type(item) is LegacyTensor
    # One more than allowed stays too many, and fits into its bits.
    return min(weight, MAX_NODES + 1) | _ONE_DEEP | things << _THINGS[0]


def _shallow_instance(node: Opaque) -> int:
    # A state with nothing in it is as good as none.
    if type(node.state) in _CONTAINERS and node.state:
        return 0
    weight, depth = 1 + _leaf(node.state), _ONE_DEEP
    for inside in (node.args, node.items, *node.pairs):
        if inside:
            depth = 2 * _ONE_DEEP
            for item in inside:
                if type(item) in _CONTAINERS or type(item) is LegacyTensor:
                    return 0
                weight += _leaf(item)
    return min(weight, MAX_NODES + 1) | depth | 1 << _THINGS[0]


def _key_size(key: Any) -> int:
    """Return about how many characters a key takes in a path."""
    match key:
        case None:
            return 0
        case str():
            return len(key)
        case bytes():
            # A byte that is no letter is shown as \xNN.
            return 4 * len(key)
        case int():
            # A digit holds a little more than three bits.
            return key.bit_length() // 3 + 1
        case tuple():
            return sum(map(_key_size, key))
        case Opaque():
            return len(key.name)
        case LegacyTensor():
            # Each length has up to 19 digits and a separator, the dtype and the brackets about as many.
            return 20 * len(key.shape) + 20
    # Floats, None and truth: the longest that Python writes has 24 characters, most are far shorter.
    return 20


def _push(path: list[_Frame], open_nodes: set[int], frame: _Frame) -> None:
    path.append(frame)
    open_nodes.add(id(frame.node))
    if len(path) > MAX_DEPTH:
        raise exceeded(f"holds an object nested more than {MAX_DEPTH} deep")


def _add(frame: _Frame, packed: int) -> None:
    """Add what is known of a child."""
    frame.weight += packed & _WEIGHT_MASK
    if frame.weight > MAX_NODES:
        _check_weight(frame)
    depth = (packed >> _DEPTH[0] & _DEPTH_MASK) + 1
    if depth > frame.depth:
        frame.depth = depth
        if depth > MAX_DEPTH:
            raise exceeded(f"holds an object nested more than {MAX_DEPTH} deep")
    # The rest is about names; most of what a bomb is made of has none.
    if packed >> _THINGS[0]:
        _add_names(frame, packed)


def _add_names(frame: _Frame, packed: int) -> None:
    things = packed >> _THINGS[0] & _THINGS_MASK
    paths = packed >> _PATHS[0] & _PATHS_MASK
    reach = packed >> _REACH[0]
    size = 1 + _key_size(frame.key)
    frame.things += things
    frame.paths += paths + things * size
    frame.reach = max(frame.reach, reach + size)
    if frame.reach > _MAX_PATH:
        raise exceeded(f"names what it holds by more than {_MAX_PATH:,} characters")
    if frame.paths > _MAX_PATHS:
        raise exceeded(f"names what it holds by more than {_MAX_PATHS >> 20} MiB of text")


def _check_weight(frame: _Frame) -> None:
    if frame.weight > MAX_NODES:
        raise exceeded(f"holds an object of more than {MAX_NODES:,} parts when it is written out")


def _cut(path: list[_Frame], target: Any) -> None:
    """Put a placeholder where a cycle back to `target` closes, if it is one of an object's parts."""
    start = next(i for i, frame in enumerate(path) if frame.node is target)
    cycle = path[start:]
    if not any(isinstance(frame.node, Opaque) for frame in cycle):
        raise BadPickle("refused, its pickle holds a list or dictionary that contains itself")
    for frame in reversed(cycle):
        if isinstance(frame.node, (dict, list)) and frame.place is not _FIXED:
            frame.node[frame.place] = Opaque("global", "cycle")
            return
        if isinstance(frame.node, Opaque) and frame.place == "state":
            frame.node.state = Opaque("global", "cycle")
            return
        if isinstance(frame.node, Opaque) and isinstance(frame.place, tuple):
            frame.node.pairs[frame.place[1]] = ("", Opaque("global", "cycle"))
            return
    raise BadPickle("refused, its pickle holds an object that contains itself")
