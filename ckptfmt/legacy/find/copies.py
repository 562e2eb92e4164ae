"""Several networks in one flat dict: online and target copies side by side, wrappers around all names."""

from collections.abc import Iterable, Mapping
from typing import Literal

from ckptfmt.families.names import words
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.storages import LegacyTensor

__all__ = ["Part", "Role", "is_network", "role_of", "split"]

Role = Literal["online", "target", "optimizer", "unknown"]

# DataParallel, torch.compile, FSDP, activation checkpointing.
_WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"})
# What code bases call the copy that learns slowly, and the one that is trained.
_TARGET = frozenset({"target", "targets", "targ", "tgt", "old", "frozen", "slow", "ema", "lagged", "shadow", "prev"})
_ONLINE = frozenset({"online", "local", "current", "eval", "main", "behavior", "behaviour", "learner", "live"})
_OPTIMIZER = frozenset({"optimizer", "optimizers", "optim", "optimiser"})

# Tensors beside copies are parts of each: of a file with more of both these are something else.
_MAX_BESIDE = 10_000
# More words than this before the names of layers are no wrappers.
_MAX_PREFIX = 16

Tensors = Mapping[str, LegacyTensor]


@record
class Part:
    """One network of a flat dict: the prefix that was left away, its role, its tensors."""

    prefix: str
    role: Role
    tensors: Tensors


def role_of(text: str) -> Role:
    """Return the role that words of a path or a prefix speak of."""
    found = frozenset(words(text))
    if found & _OPTIMIZER:
        return "optimizer"
    if found & _TARGET:
        return "target"
    return "online" if found & _ONLINE else "unknown"


def is_network(tensors: Iterable[LegacyTensor]) -> bool:
    """Whether there are a convolution and a linear layer, as every network of this field has."""
    ranks = {len(tensor.shape) for tensor in tensors}
    # Matrices of linear layers have 2 dimensions, kernels of convolutions 4.
    return {2, 4} <= ranks


def split(tensors: Tensors) -> list[Part]:
    """Return the networks of a flat dict, wrappers' prefixes left away; one where there are no copies."""
    prefix, inner = _unwrap(tensors)
    # From the surest to the least: equal layers under two prefixes, a word in each name, then prefixes of any depth.
    parts = _by_prefix(inner) or _by_word(inner) or _by_depth(inner)
    if parts is None:
        return [Part(prefix, "unknown", inner)]
    found = []
    for part in _with_online(parts):
        wrapped, bare = _unwrap(part.tensors)
        found.append(Part(prefix + part.prefix + wrapped, part.role, bare))
    return found


def _unwrap(tensors: Tensors) -> tuple[str, Tensors]:
    prefix = ""
    for _ in range(_MAX_PREFIX):
        heads = {name.partition(".")[0] if "." in name else "" for name in tensors}
        if len(heads) != 1 or not heads & _WRAPPERS:
            return prefix, tensors
        head = heads.pop() + "."
        prefix += head
        tensors = {name.removeprefix(head): tensor for name, tensor in tensors.items()}
    return prefix, tensors


def _by_prefix(tensors: Tensors) -> list[Part] | None:
    """Copies under prefixes of their own: the same names and shapes, a trunk and linear layers each."""
    shared, below = _descend(tensors)
    groups: dict[str, dict[str, LegacyTensor]] = {}
    loose: dict[str, LegacyTensor] = {}
    for name, tensor in below.items():
        head, dot, rest = name.partition(".")
        if dot:
            groups.setdefault(head, {})[rest] = tensor
        else:
            loose[name] = tensor
    alike: dict[frozenset[tuple[str, tuple[int, ...]]], list[str]] = {}
    for head, group in groups.items():
        if is_network(group.values()):
            alike.setdefault(frozenset((name, tensor.shape) for name, tensor in group.items()), []).append(head)
    most: list[str] = max(alike.values(), key=len, default=[])
    copies = dict.fromkeys(most)
    others = {f"{head}.{name}": t for head in groups if head not in copies for name, t in groups[head].items()}
    told = any(role_of(head) == "target" for head in copies)
    # Without the word target two equal networks beside other weights may be parts of one, such as twin critics.
    if len(copies) < 2 or (not told and any(len(tensor.shape) > 1 for tensor in others.values())):
        return None
    # A support beside the copies (Tianshou's policies) belongs to each of them; counters do not.
    beside = {name: tensor for name, tensor in loose.items() if tensor.shape}
    if len(copies) * len(beside) > _MAX_BESIDE:
        return None
    parts = [Part(f"{shared}{head}.", role_of(head), {**beside, **groups[head]}) for head in copies]
    return [*parts, Part(shared, "unknown", others)] if others else parts


def _descend(tensors: Tensors) -> tuple[str, Tensors]:
    """Go below a prefix of whole words that all names share."""
    shared = ""
    for _ in range(_MAX_PREFIX):
        heads = {name.partition(".")[0] if "." in name else "" for name in tensors}
        if len(heads) != 1 or "" in heads:
            return shared, tensors
        head = heads.pop() + "."
        shared += head
        tensors = {name.removeprefix(head): tensor for name, tensor in tensors.items()}
    return shared, tensors


def _by_word(tensors: Tensors) -> list[Part] | None:
    """Copies told by a word inside their names: `conv1.weight` and `target_conv1.weight`."""
    target = {name: tensor for name, tensor in tensors.items() if _TARGET & frozenset(words(name))}
    online = {name: tensor for name, tensor in tensors.items() if name not in target}
    if not target or not is_network(target.values()) or _bare(target) != _bare(online):
        return None
    return [Part("", "online", online), Part("", "target", target)]


def _by_depth(tensors: Tensors) -> list[Part] | None:
    """Copies under prefixes of different depth: `policy.model.conv1.weight` and `model_old.module.conv1.weight`."""
    target = {name: tensor for name, tensor in tensors.items() if _TARGET & frozenset(words(name))}
    # Counters lie beside the one or the other; they are no part of a network.
    online = {name: tensor for name, tensor in tensors.items() if name not in target and tensor.shape}
    if not target or not is_network(target.values()):
        return None
    (first, inner), (second, copy) = _descend(online), _descend(target)
    if not first or not second or _shapes(inner) != _shapes(copy):
        return None
    return [Part(first, "online", inner), Part(second, "target", copy)]


def _shapes(tensors: Tensors) -> set[tuple[str, tuple[int, ...]]]:
    return {(name, tensor.shape) for name, tensor in tensors.items()}


def _bare(tensors: Tensors) -> set[tuple[tuple[str, ...], tuple[int, ...]]]:
    spoken = _TARGET | _ONLINE
    return {
        (tuple(word for word in words(name) if word not in spoken), tensor.shape) for name, tensor in tensors.items()
    }


def _with_online(parts: list[Part]) -> list[Part]:
    """Beside target copies, the one copy that is not called so is the online network."""
    roles = [part.role for part in parts]
    alone = [part for part in parts if part.role == "unknown" and is_network(part.tensors.values())]
    if "target" not in roles or "online" in roles or len(alone) != 1:
        return parts
    return [Part(part.prefix, "online", part.tensors) if part is alone[0] else part for part in parts]
