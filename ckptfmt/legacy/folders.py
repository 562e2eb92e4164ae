"""Folders that other libraries write: of RLlib's the file with the policy, of others the name of what reads them.

RLlib writes `policies/NAME/policy_state.pkl`, its newer stack `…/rl_module/NAME/module_state.pkl`, both as pickles.
"""

import os
from collections.abc import Iterator
from glob import escape, glob
from itertools import islice

from ckptfmt.errors import SourceError, printable

__all__ = ["policy_file", "refuse_folder"]

_MARK = "rllib_checkpoint.json"
# Where the one or the other stack keeps a policy, seen from a folder of an algorithm, of a policy or of a module.
_PLACES = (
    "policies/*/policy_state.pkl", "policy_state.pkl", "learner_group/learner/rl_module/*/module_state.pkl",
    "rl_module/*/module_state.pkl", "module_state.pkl",
)  # fmt: skip
_NAMED = 4
# What Orbax calls files of a checkpoint, how deep in its folder they lie, and of how many entries a run is known.
_OF_ORBAX = ("manifest.ocdbt", "_METADATA", "_CHECKPOINT_METADATA", "_sharding", ".zarray", "array_metadatas")
_DEEP, _LOOKED_AT = 4, 64
# A file that marks a folder, the ending that another one has, what the folder is, and what to do with it.
_OTHERS = (
    ("_CHECKPOINT_METADATA", "", "a folder of Orbax (JAX)", "restore it with orbax.checkpoint"),
    ("_METADATA", "", "a folder of Orbax (JAX)", "restore it with orbax.checkpoint"),
    ("meta.json", ".memmap", "a folder of memory-mapped tensors", "load it with tensordict.TensorDict.load_memmap"),
    ("saved_model.pb", "", "a SavedModel of TensorFlow", "load it with tensorflow.saved_model.load"),
)


def policy_file(folder: str) -> str | None:
    """Return the file with the weights of the one policy in a folder of RLlib, None where it is no such folder.

    Raises `SourceError` where it holds no policy that is read here, or several.
    """
    if not os.path.isfile(os.path.join(folder, _MARK)):
        return None
    found = next(filter(None, (sorted(glob(os.path.join(escape(folder), place))) for place in _PLACES)), [])
    if len(found) == 1:
        return found[0]
    names = ", ".join(printable(os.path.relpath(path, folder), 80) for path in found[:_NAMED])
    raise SourceError(
        f"is a folder of RLlib with {len(found)} policies: {names}" if found else "is a folder of RLlib with no policy",
        where=folder,
        fix="give the file of one of them" if found else "give the folder of the whole checkpoint",
        code="source.not-a-checkpoint",
    )


def refuse_folder(path: str) -> None:
    """Raise `SourceError` for a folder, or a file in it, that is a checkpoint of a library that is not read here."""
    if os.path.isdir(path):
        for inside in (path, *_below(path)):
            _refuse(path, inside, "is" if inside == path else "holds")
        return
    place = os.path.dirname(os.path.abspath(path))
    for _ in range(_DEEP if _is_of_orbax(path) else 0):
        _refuse(path, place, "is a file of")
        place = os.path.dirname(place)


def _refuse(path: str, place: str, how: str) -> None:
    try:
        names = os.listdir(place)
    except OSError:
        return
    for mark, end, what, reads in _OTHERS:
        if mark in names and any(name.endswith(end) for name in names):
            raise SourceError(
                f"{how} {what}, which is not read here",
                where=path,
                fix=f"{reads} where it is installed, and save the weights with numpy.savez or torch.save",
                code="source.not-a-checkpoint",
            )


def _below(folder: str) -> Iterator[str]:
    """Yield the folders that lie in one, as far as one looks: a run of Orbax has one for each step."""
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, _LOOKED_AT):
                if entry.is_dir(follow_symlinks=False) and entry.name.isdigit():
                    yield entry.path
    except OSError:
        return


def _is_of_orbax(path: str) -> bool:
    """Whether a file is called, or lies, as those that Orbax writes."""
    above, name = os.path.split(os.path.abspath(path))
    return name in _OF_ORBAX or os.path.basename(above) == "d"
