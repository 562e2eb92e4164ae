"""What is told of a checkpoint before any of its tensors is read: a line, the folds of a notebook, what to know."""

import math
from collections.abc import Mapping

from ckptfmt.errors import Problem, printable
from ckptfmt.families.blueprint import Blueprint, absent_family
from ckptfmt.format.datafile import DataFile, unfetched
from ckptfmt.format.files import MANIFEST
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.notebook import Folds
from ckptfmt.format.safetensors import shape_text

__all__ = ["in_words", "known_problems", "outline"]


def in_words(manifest: Manifest) -> str:
    """Return which network it is and how large, on one line."""
    network = printable(manifest.architecture.name, 60) if manifest.architecture else "an unknown network"
    tensors = manifest.weights.tensors
    count = sum(math.prod(tensor.shape) for tensor in tensors.values())
    return f"{network}, {count:,} parameters in {len(tensors):,} tensors"


def outline(manifest: Manifest) -> Folds:
    """Return what the manifest says, folded for a notebook."""
    tensors = manifest.weights.tensors
    told = {
        "config": manifest.config or {},
        "training": manifest.training_info,
        "environment": manifest.environment,
    }
    rows = ((name, tensor.dtype, shape_text(tensor.shape, "scalar")) for name, tensor in tensors.items())
    folds = {name: fields.items() for name, fields in told.items() if fields}
    return {**folds, f"{len(tensors):,} tensors": rows}


def known_problems(manifest: Manifest, network: Blueprint | None, files: Mapping[str, DataFile]) -> tuple[Problem, ...]:
    """Return what should be known before use: fields of a newer version, a family not here, files not fetched."""
    newer = tuple(
        Problem(
            "version.newer",
            f"{MANIFEST} $.{printable(name)}",
            f"is unknown to this version, which reads {manifest.format_version} as far as it can",
            "install a newer ckptfmt",
            "warning",
        )
        for name in sorted(manifest.unknown)
    )
    entries = ((file, manifest.files[name]) for name, file in files.items())
    pointers = tuple(
        Problem.of(said) for file, entry in entries if not file.is_far and (said := unfetched(file, entry))
    )
    return (*newer, *absent_family(manifest, network), *pointers)
