"""The families of networks that are known here: those of this package, and those that installed packages bring.

A family says what a config means: which tensors the network has, by name and shape. It knows no torch; the
module that computes with those tensors lies in `ckptfmt.rl.families`. A family of this package is a module of
`ckptfmt.families` that holds a `FAMILY`; one of another package is an entry point of the group `ckptfmt.families`
that bears the family's name, which begins with that of the distribution: `my-lab/decision-tree`. A manifest names a
family and nothing else: what is not installed is not imported.
"""

import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from ckptfmt import families
from ckptfmt.errors import CkptError, printable
from ckptfmt.families.claim import Misfit, Proposal
from ckptfmt.families.config import Config
from ckptfmt.families.skeleton import Skeleton
from ckptfmt.format.record import record

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "GROUP", "Family", "Shape", "asked", "carries_distribution", "find", "guarded", "modules_of", "named", "names",
    "own", "package_of", "proposals", "recognising", "told",
]  # fmt: skip

GROUP = "ckptfmt.families"
Shape = tuple[int, ...]
_Answer = TypeVar("_Answer")

# What the folders are called in which packages say what they offer.
_INFO = (".dist-info", ".egg-info")
_NAME = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)?")


@record(kw_only=True, slots=False)
class Family:
    """A family of networks.

    `network_name` gives what `architecture.name` says for a config. `tensors` gives {name: shape} of the network, in
    the order of its layers; `optional` the names that a checkpoint may leave out, since they are made anew before they
    are used. `unseen` are fields of the config that leave no trace in the weights and change no answer. `examples` are
    names of networks; `told_by` and `never` say for people what tells a network of it, and what its weights never say.
    `recognise` yields a `Proposal` for each reading of a skeleton, with the witnesses for it and, where the network can
    be rebuilt, a `Candidate`, or a `Misfit` that says why there is none; None for a family that is only saved and
    loaded, never told from foreign files.
    """

    name: str
    about: str
    config: type[Config]
    network_name: Callable[[Any], str]
    tensors: Callable[[Any], Mapping[str, Shape]]
    optional: Callable[[Any], frozenset[str]] = lambda config: frozenset()
    unseen: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    told_by: str = ""
    never: str = ""
    recognise: Callable[[Skeleton], Iterable[Proposal | Misfit]] | None = None


def names() -> tuple[str, ...]:
    """Return the names of all families that are installed, in alphabetical order."""
    return tuple(sorted({*own(), *_plugged_in()}))


def own() -> tuple[str, ...]:
    """Return the names of the families that this package brings, in alphabetical order."""
    return tuple(sorted(name for name in _own() if find(name)))


def find(name: str) -> Family | None:
    """Return the family of this name, None where it is not installed; raise `CkptError` where a plug-in is broken."""
    if name in _own():
        family = getattr(import_module(f"{families.__name__}.{_own()[name]}"), "FAMILY", None)
    elif _NAME.fullmatch(name) and name in _plugged_in():
        family = _load(_plugged_in()[name])
    else:
        return None
    return family if isinstance(family, Family) and family.name == name else None


def named(manifest: Mapping[str, Any]) -> Family | None:
    """Return the family that a raw manifest names; None where it names none, or one that is not installed."""
    architecture = manifest.get("architecture")
    name = architecture.get("family") if isinstance(architecture, dict) else None
    return find(name) if isinstance(name, str) else None


def recognising(*, ours: bool = True) -> Iterator[Family]:
    """Yield the families that tell networks of foreign files: `ours` where asked for, then those of other packages."""
    for name in (*(own() if ours else ()), *sorted({*_plugged_in()} - {*_own()})):
        family = find(name)
        if family is not None and family.recognise is not None:
            yield family


def proposals(family: Family, seen: Skeleton) -> list[Proposal | Misfit]:
    """Return what a family takes a skeleton for; raise `CkptError` where a plug-in breaks, or speaks for another."""
    assert family.recognise is not None
    if family.name in _own():
        return list(family.recognise(seen))
    with guarded(_plugged_in()[family.name], "fails to recognise networks"):
        found = list(family.recognise(seen))
        strangers = {item.family for item in found if not isinstance(item, Misfit)} - {family.name}
    if strangers:
        raise _broken(_plugged_in()[family.name], "proposes networks that are not of it")
    return found


def asked(family: Family, answer: Callable[[Any], _Answer], config: Any) -> _Answer:
    """Return what one of a family's functions makes of a config; raise `CkptError` where a plug-in breaks over it."""
    entry = None if family.name in _own() else _plugged_in().get(family.name)
    if entry is None:
        return answer(config)
    with guarded(entry, "fails to say what a config means"):
        return answer(config)


@contextmanager
def guarded(entry: "EntryPoint", what: str) -> Iterator[None]:
    """Say of whatever a stranger's module raises that its plug-in does; what would end the program is no exception."""
    try:
        yield
    except CkptError:
        raise
    except (Exception, GeneratorExit, SystemExit) as e:
        raise _broken(entry, f"{what}: {told(e)}") from e


def told(error: BaseException) -> str:
    """Return what an error of a stranger's module says, else what kind it is."""
    try:
        said = str(error)
    except Exception:  # its text is a stranger's as well
        said = ""
    return said if said and isinstance(error, Exception) else type(error).__name__


def package_of(name: str) -> str:
    """Return the distribution, with its version, that brings an installed family."""
    if name in _own():
        return "ckptfmt"
    brought_by = _plugged_in()[name].dist
    return f"{brought_by.name} {brought_by.version}" if brought_by else "unknown"


@cache
def modules_of(package: ModuleType) -> Mapping[str, str]:
    """Return the modules of a package by the names that families in them have; some hold what families share."""
    return {module.name.replace("_", "-"): module.name for module in pkgutil.iter_modules(package.__path__)}


def _own() -> Mapping[str, str]:
    return modules_of(families)


@cache
def _plugged_in() -> Mapping[str, "EntryPoint"]:
    if not any(map(_offers, sys.path)):
        return {}
    # The one import that waits: it takes as long as all others together, and few look for more families.
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=GROUP) if carries_distribution(entry)}


def carries_distribution(entry: "EntryPoint") -> bool:
    """Whether a name begins with that of the distribution that brings it, so that two packages cannot bring one."""
    brought_by = re.sub("[-_.]+", "-", entry.dist.name).lower() if entry.dist else ""
    return bool(brought_by) and entry.name.startswith(f"{brought_by}/")


def _offers(place: str) -> bool:
    """Whether a place where packages lie may hold one with families; what is no folder is not looked through."""
    try:
        with os.scandir(place or ".") as entries:
            return any(_names_group(entry.path) for entry in entries if entry.name.endswith(_INFO))
    except OSError:
        return os.path.isfile(place)


def _names_group(info: str) -> bool:
    try:
        with open(os.path.join(info, "entry_points.txt"), "rb") as file:
            return GROUP.encode() in file.read()
    except OSError:
        return False


def _load(entry: "EntryPoint") -> object:
    with guarded(entry, "cannot be imported"):
        return entry.load()


def _broken(entry: "EntryPoint", what: str) -> CkptError:
    return CkptError(
        f"the plug-in for the family {printable(entry.name, 60)} {what}",
        fix=f"mend or uninstall {printable(entry.value, 80)}",
        code="install.plug-in",
    )
