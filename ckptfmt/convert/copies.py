"""Target copies of a file that its checkpoint does not hold: where each lies, so that it can be named and taken."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ckptfmt.convert.whole import Whole
from ckptfmt.families.names import words
from ckptfmt.families.vocabulary import TARGET_WORDS
from ckptfmt.legacy.find.find import Network

__all__ = ["below", "copies_left"]

# Stands for a prefix in a path; no name has this in it.
_HERE = "\0"


def copies_left(network: Network, names: Iterable[str]) -> dict[str, str]:
    """Return {path: what it is} of the copies that tensors of a network are."""
    found = Counter(_path_of(network, name) for name in names)
    return {path: f"a target copy, {count:,} tensor{'s' if count > 1 else ''}" for path, count in found.items()}


def below(networks: Iterable[Network], path: str) -> Iterator[Network]:
    """Yield what of networks lies below a path that ends in a prefix of names, each as a network of its own."""
    for network in networks:
        start = network.place.path(network.prefix + _HERE).removesuffix(_HERE)
        prefix = path.removeprefix(start)
        if not path.startswith(start) or not prefix.endswith("."):
            continue
        tensors = {name[len(prefix) :]: item for name, item in network.tensors.items() if name.startswith(prefix)}
        unread = {name[len(prefix) :]: kind for name, kind in network.unread.items() if name.startswith(prefix)}
        if tensors:
            yield replace(
                network, path=path, role="unknown", tensors=tensors, prefix=network.prefix + prefix, unread=unread
            )


def _path_of(network: Network, name: str) -> str:
    """Return the path of the copy that a tensor is of: that of its network, else up to the word that says it."""
    parts = (network.parts or {}) if isinstance(network, Whole) else {}
    prefix = max((prefix for prefix in parts if name.startswith(prefix)), key=len, default="")
    part = parts.get(prefix, network)
    if parts and part.role == "target":
        return part.path
    above = ""
    for piece in name.removeprefix(prefix).split(".")[:-1]:
        above += f"{piece}."
        if not TARGET_WORDS.isdisjoint(words(piece)):
            break
    return part.place.path(part.prefix + above)
