"""The weights of a checkpoint as rows and pictures; beside those of another one, on the same scales."""

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from markupsafe import Markup

from ckptfmt.errors import printable
from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import shape_text
from ckptfmt.look.shape import TensorShape, shape_of
from ckptfmt.look.spectrum import Spectrum, spectrum_of
from ckptfmt.look.summary import summarize_checkpoint
from ckptfmt.report.draw import histogram, spectrum
from ckptfmt.report.mosaic import MOST_CHANNELS, MOST_FILTERS, filters
from ckptfmt.report.render import figure
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["MOST_ELEMENTS", "MOST_TENSORS", "WeightRow", "first_layers", "spectrum_rows", "weight_rows"]

# A page shows no more tensors than somebody looks at; the first ones, in the order of the layers.
MOST_TENSORS = 400
# Kernels smaller than this are points, not pictures; tensors larger are no first layer of images.
_LEAST_KERNEL = 3
# A spectrum takes up to seconds, and a network that acts has fewer layers than this.
_MOST_SPECTRA = 24
# Larger tensors take longer to draw than a page may.
MOST_ELEMENTS = 4 << 20


@record
class WeightRow:
    """One tensor of the table: its name, dtype, shape, figures, picture."""

    name: str
    dtype: str
    shape: str
    parameters: int
    figures: TensorShape | None
    picture: Markup

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the figures as the table has them, none where its dtype has no numbers."""
        if self.figures is None:
            return ()
        stats = self.figures.stats
        dead = f"{self.figures.dead} of {len(self.figures.norms)}" if self.figures.norms else str(self.figures.dead)
        numbers = (figure(value) for value in (stats.mean, stats.std, stats.min, stats.max))
        return (*numbers, f"{stats.zeros:,}", dead)

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data, without its picture."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": self.shape,
            "parameters": self.parameters,
            "figures": self.figures.to_dict() if self.figures else None,
        }


def weight_rows(newer: Checkpoint, older: Checkpoint | None) -> Iterator[WeightRow]:
    """Yield a row for each stored tensor of the network; the older one's histogram lies over the newer one's."""
    stored = (
        tensor for tensor in summarize_checkpoint(newer).tensors if tensor.file == WEIGHTS and tensor.tied_to is None
    )
    named = frozenset(older.names()) if older else frozenset()
    for tensor in islice(stored, MOST_TENSORS):
        name, info = tensor.name, newer.info(tensor.name)
        found = shape_of(newer, name)
        before = shape_of(older, name, reach=found.reach) if older and found and name in named else None
        if found and before and before.reach > found.reach:
            found = shape_of(newer, name, reach=before.reach)
        picture = Markup("")
        if found:
            picture = histogram(found.counts, found.values, found.reach, before.counts if before else ())
        size = shape_text(info.shape, "scalar")
        yield WeightRow(printable(name, 120), info.dtype, size, math.prod(info.shape), found, picture)


def spectrum_rows(newer: Checkpoint, older: Checkpoint | None) -> list[dict[str, Any]]:
    """Return the singular values of each layer, those of the older checkpoint on the same axes."""
    rows: list[dict[str, Any]] = []
    named = frozenset(older.names()) if older else frozenset()
    for name in newer.names():
        found = _spectrum(newer, name)
        if found is None or len(rows) == _MOST_SPECTRA:
            continue
        before = _spectrum(older, name) if older and name in named else None
        rows.append(
            {
                "name": printable(name, 120),
                "picture": spectrum(found.values, before.values if before else ()),
                "newer": _spectrum_figures(found),
                "older": _spectrum_figures(before) if before else None,
            }
        )
    return rows


def _spectrum(checkpoint: Checkpoint, name: str) -> Spectrum | None:
    shape = checkpoint.info(name).shape
    if len(shape) < 2 or not 0 < math.prod(shape) <= MOST_ELEMENTS:
        return None
    return spectrum_of(checkpoint.tensors[name])


def _spectrum_figures(found: Spectrum) -> dict[str, Any]:
    return {
        "largest": found.values[0],
        "smallest": found.values[-1],
        "count": len(found.values),
        "effective_rank": found.effective_rank,
    }


def first_layers(newer: Checkpoint, older: Checkpoint | None) -> list[dict[str, Any]]:
    """Return pictures of the first convolution's kernels, side by side where there are two, in the same colours."""
    name = _first_convolution(newer)
    if name is None:
        return []
    limit = None
    pictures = []
    for checkpoint in (newer, older):
        if checkpoint is None or name not in checkpoint.names():
            continue
        weights = checkpoint.tensors[name]
        # Only kernels of convolutions (outputs, inputs, height, width) are pictures.
        if weights.ndim != 4:
            continue
        uri, shown, channels, limit = filters(weights, limit)
        norms = np.linalg.norm(weights.astype(np.float64).reshape(len(weights), -1), axis=1)
        pictures.append(
            {
                "older": checkpoint is older,
                "name": printable(name, 120),
                "uri": uri,
                "filters": shown,
                "channels": channels,
                "cut": len(weights) > MOST_FILTERS or weights.shape[1] > MOST_CHANNELS,
                "limit": limit,
                "norms": [f"{norm:.4g}" for norm in norms[:MOST_FILTERS]],
            }
        )
    return pictures


def _first_convolution(checkpoint: Checkpoint) -> str | None:
    for name, info in checkpoint.manifest.weights.tensors.items():
        if len(info.shape) == 4 and min(info.shape[2:]) >= _LEAST_KERNEL and math.prod(info.shape) <= MOST_ELEMENTS:
            return name
    return None
