"""Archives of Stable-Baselines 2 (TensorFlow): settings as JSON in `data`, weights as NumPy arrays in `parameters`."""

from typing import Any

from ckptfmt.legacy.containers import npz, zip
from ckptfmt.legacy.containers.reading import Reading, within
from ckptfmt.legacy.containers.unsupported import refusal
from ckptfmt.legacy.containers.zip import Archive

__all__ = ["is_baselines", "read_baselines"]

_SETTINGS, _WEIGHTS = "data", "parameters"


def is_baselines(archive: Archive) -> bool:
    """Return whether an archive is a model of Stable-Baselines 2."""
    return {_SETTINGS, _WEIGHTS} <= archive.entries.keys()


def read_baselines(archive: Archive, reading: Reading) -> dict[str, Any]:
    """Return the weights by the names of their variables; the settings are kept as text, pickles in them never opened.

    Raises `SourceError`.
    """
    with within(_SETTINGS):
        reading.declare(_SETTINGS, reading.open(archive, _SETTINGS))
    with within(_WEIGHTS):
        block = reading.open(archive, _WEIGHTS)
        if not block.read(0, min(4, block.size)).startswith(zip.MAGIC):
            raise refusal("is no archive of NumPy arrays", "save the model again")
        inner = reading.take(zip.read_archive(block))
        if not npz.is_npz(inner):
            raise refusal("is no archive of NumPy arrays", "save the model again")
        return dict(npz.read_npz(inner, reading))
