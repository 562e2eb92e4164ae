"""Models of Keras: HDF5 files of Keras 2 and 3, and the `.keras` archives around one.

Keras 2 writes a group for each layer and says their order and the names of their weights in attributes. Keras 3 counts
layers of a kind (`dense_1`) and numbers their weights; what the layers are called says the config beside them.
The library of HDF5 runs in another process, which gives back safetensors.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from threading import Timer
from typing import Any

from ckptfmt.errors import SourceError, missing_package
from ckptfmt.format import jsontext
from ckptfmt.legacy.bytes.blocks import Block, MemoryBlock, pieces
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.containers.kerascells import split_cells
from ckptfmt.legacy.containers.keraslayers import KerasLayer, path_of, read_layers
from ckptfmt.legacy.containers.reading import Reading
from ckptfmt.legacy.containers.safetensors import read_safetensors
from ckptfmt.legacy.containers.unsupported import refusal
from ckptfmt.legacy.containers.zip import Archive

__all__ = ["CONFIG", "read_keras", "read_keras_archive"]

# What the text of a model's layers is called among the texts of a source.
CONFIG = "keras"
_WEIGHTS, _LAYERS = "model.weights.h5", "config.json"
_PROGRAM = "ckptfmt.legacy.containers.hdf5"
# Agents take some megabytes; the file and what is made of it are held at once.
_MOST, _MOST_CONFIG, _SECONDS = 1 << 30, 16 << 20, 120
# What an interpreter needs to find itself; passwords and keys in the environment are none of the program's business.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "HOME")
# Groups that hold the layers of a model, in Keras 3 and in its first releases of this form.
_HOLDERS = ("layers", "_layer_checkpoint_dependencies")
_NUMBERED = re.compile(r"(.*?)(?:^|/)vars/(\d+)")
_NAMES = {
    (1,): ("gamma",), (1, 1): ("gamma", "beta"), (1, 1, 1, 1): ("gamma", "beta", "moving_mean", "moving_variance"),
    (2,): ("kernel",), (2, 1): ("kernel", "bias"), (4,): ("kernel",), (4, 1): ("kernel", "bias"),
    (2, 2): ("kernel", "recurrent_kernel"), (2, 2, 1): ("kernel", "recurrent_kernel", "bias"),
    (2, 2, 2): ("kernel", "recurrent_kernel", "bias"),
}  # fmt: skip

_Tensors = Mapping[str, LegacyTensor]


def read_keras_archive(archive: Archive, reading: Reading) -> dict[str, Any]:
    """Return the weights of a `.keras` archive by the names of their layers; code in its config stays text."""
    config = reading.open(archive, _LAYERS)
    text = config.read(0, min(config.size, _MOST_CONFIG + 1))
    return read_keras(reading.open(archive, _WEIGHTS), reading, text)


def read_keras(block: Block, reading: Reading, config: bytes = b"") -> dict[str, Any]:
    """Return the weights that an HDF5 file of Keras holds, each of what belongs together in a dict of its own.

    `config` is the text of the layers where it lies elsewhere. Raises `SourceError` for a file that is damaged or
    none of Keras, and `MissingPackage` where the library of HDF5 is not installed.
    """
    arrays, metadata = read_safetensors(reading.spool.add(_unpacked(block, reading)))
    texts: dict[str, dict[str, list[str]]] = jsontext.parse(metadata.get("hdf5", "{}").encode(), where="", limit=_MOST)
    for name in texts.get("", {}).get("skipped", ()):
        reading.warn("source.skipped", name, "is no array of numbers and was left out")
    said = "".join(texts.get("", {}).get("model_config", ())).encode() or config
    top = "model_weights" if "layer_names" in texts.get("model_weights", {}) else ""
    if "layer_names" in texts.get(top, {}):
        named = dict(_of_two(arrays, texts, top))
    elif any(_NUMBERED.fullmatch(name) for name in arrays):
        named = dict(_of_three(arrays, read_layers(said)))
    else:
        raise refusal("is an HDF5 file, but none that Keras saved", "save the arrays of a network with numpy.savez")
    if said:
        reading.declare(CONFIG, MemoryBlock(said))
    whole: dict[str, dict[str, LegacyTensor]] = {}
    for (part, name), tensor in named.items():
        whole.setdefault(part, {})[name] = tensor
    whole["model"] = split_cells(whole.get("model", {}))
    return {"": whole["model"] if len(whole) == 1 else whole}


def _unpacked(block: Block, reading: Reading) -> Iterator[bytes]:
    """Yield what the program writes of a file, as it writes it."""
    if find_spec("h5py") is None and (missing := missing_package(ImportError(name="h5py"), "a model of Keras")):
        raise missing
    if block.size > _MOST:
        raise refusal(f"is a model of Keras of more than {_MOST >> 20:,} MiB", "save its weights with numpy.savez")
    # Without the folder that the user is in, where a file may be called as a module is; and without plug-ins.
    command = [sys.executable, "-P", "-m", _PROGRAM, str(reading.spool.room)]
    known = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    alone = {**known, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=alone) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        late = Timer(_SECONDS, child.kill)
        late.start()
        try:
            # It reads all before it writes anything, so neither waits for the other.
            for piece in pieces(block):
                child.stdin.write(piece)
            child.stdin.close()
            while chunk := child.stdout.read(1 << 20):
                yield chunk
            told = child.stderr.read(1 << 16)
        except BrokenPipeError:
            told = b""
        finally:
            late.cancel()
            child.kill()
    if child.returncode:
        raise _told(told)


def _told(line: bytes) -> SourceError:
    """Return what the program says it refused; a process that died says nothing."""
    fix = "save the weights with numpy.savez"
    try:
        said = jsontext.parse(line.strip().rpartition(b"\n")[2], where="", limit=1 << 16)
        return SourceError(said["what"], fix=fix, code=said["code"])
    except (SourceError, LookupError, TypeError, ValueError):
        return SourceError("is an HDF5 file that its library cannot read", fix=fix, code="source.damaged")


def _of_two(arrays: _Tensors, texts: Mapping[str, Any], top: str) -> Iterator[tuple[tuple[str, str], LegacyTensor]]:
    """Yield ((part, name), array) as Keras 2 names them, in the order of the layers; the optimizer's come last."""
    taken = set()
    for layer in texts[top]["layer_names"]:
        group = f"{top}/{layer}" if top else layer
        for weight in texts.get(group, {}).get("weight_names", ()):
            if (path := f"{group}/{weight}") in arrays and path not in taken:
                taken.add(path)
                pieces_of = weight.split("/")
                inner = pieces_of[pieces_of.index(layer) :] if layer in pieces_of else [layer, *pieces_of]
                yield ("model", ".".join(inner).removesuffix(":0")), arrays[path]
    for path, tensor in arrays.items():
        if path not in taken:
            yield ("optimizer" if path.startswith("optimizer") else "beside", path), tensor


def _of_three(arrays: _Tensors, layers: Sequence[KerasLayer]) -> Iterator[tuple[tuple[str, str], LegacyTensor]]:
    """Yield ((part, name), array) as Keras 3 numbers them, by the names of their layers where these are known."""
    groups: dict[str, dict[int, str]] = {}
    for path in arrays:
        if found := _NUMBERED.fullmatch(path):
            groups.setdefault(found[1], {})[_number(found[2])] = path
        else:
            yield ("beside", path), arrays[path]
    for group, members in sorted(groups.items(), key=lambda item: _order(item[0])):
        paths = [members[i] for i in sorted(members)]
        names = _NAMES.get(tuple(len(arrays[path].shape) for path in paths))
        part = "optimizer" if group.startswith("optimizer") else "beside" if "seed_generator" in group else "model"
        for i, path in enumerate(paths):
            leaf = names[i] if names else f"vars.{i}"
            stem = _named(group, layers)
            yield (part, f"{stem}.{leaf}" if stem else leaf), arrays[path]


def _order(group: str) -> list[str | int]:
    """Return what puts `dense_2` before `dense_10`, unlike HDF5."""
    return [part if i % 2 == 0 else _number(part) for i, part in enumerate(re.split(r"(\d+)", group))]


def _named(group: str, layers: Sequence[KerasLayer]) -> str:
    """Return the path of a group with the names of its layers, without the groups that only hold others."""
    found = path_of(layers, [piece for piece in group.split("/") if piece not in _HOLDERS])
    # The cell of a recurrent layer is all of it.
    return ".".join(found[:-1] if found[-1:] == ("cell",) and len(found) > 1 else found)


def _number(text: str) -> int:
    # More digits than nine count nothing, and Python takes its time to read them.
    return int(text[-9:])
