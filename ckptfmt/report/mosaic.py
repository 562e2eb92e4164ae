"""Weights as pictures of pixels: kernels as tiles, a matrix as a map of heat; blue below zero, red above."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptfmt.report.png import png_uri

__all__ = ["MOST_CHANNELS", "MOST_FILTERS", "filters", "heat"]

# Colours saturate at this quantile of the magnitudes, so that one large weight does not pale all others.
_QUANTILE = 0.995
# Tiles of a mosaic: more than this many filters or input channels are not drawn, and that is said beside it.
MOST_FILTERS, MOST_CHANNELS = 64, 8
# So that single weights of a kernel are seen.
_TILE_PIXELS = 4
# About what a screen shows of a matrix beside its text.
_MOST_CELLS = 512
# The ends and the middle of ColorBrewer's RdBu, which is told apart by the colour-blind.
_BLUE, _WHITE, _RED = (np.array(colour, dtype=float) for colour in ((33, 102, 172), (247, 247, 247), (178, 24, 43)))


def filters(weights: NDArray[Any], limit: float | None = None) -> tuple[str, int, int, float]:
    """Return (PNG as a data URI, filters, channels, limit) of convolution kernels (out, in, height, width).

    One tile for each filter and input channel, blue below zero, red above; colours saturate at `limit`.
    """
    kernels = weights[:MOST_FILTERS, :MOST_CHANNELS].astype(float)
    reach = limit or _saturation(kernels)
    out, channels, height, width = kernels.shape
    tiles = _colours(np.nan_to_num(kernels / reach, nan=0.0, posinf=1.0, neginf=-1.0))
    tiles = tiles.repeat(_TILE_PIXELS, axis=2).repeat(_TILE_PIXELS, axis=3)
    # A border of one dark pixel after each tile; a row of the picture is an input channel, a column a filter.
    framed = np.full((out, channels, height * _TILE_PIXELS + 1, width * _TILE_PIXELS + 1, 3), 32, np.uint8)
    framed[:, :, :-1, :-1] = tiles
    rows, columns = framed.shape[2:4]
    # From (filter, channel, row, column) to rows of channels and columns of filters.
    picture = framed.transpose(1, 2, 0, 3, 4).reshape(channels * rows, out * columns, 3)
    return png_uri(picture), out, channels, reach


def heat(matrix: NDArray[Any]) -> tuple[str, int, int, float]:
    """Return (PNG as a data URI, rows, columns, limit) of a matrix, its rows sorted by their norm.

    A matrix larger than the picture is thinned out evenly.
    """
    rows, columns = matrix.shape
    values = matrix.astype(float)
    norms = np.linalg.norm(np.nan_to_num(values), axis=1)
    values = values[np.argsort(-norms, kind="stable")]
    thin = values[:: math.ceil(rows / _MOST_CELLS) or 1, :: math.ceil(columns / _MOST_CELLS) or 1]
    reach = _saturation(thin)
    return png_uri(_colours(np.nan_to_num(thin / reach, nan=0.0, posinf=1.0, neginf=-1.0))), rows, columns, reach


def _saturation(values: NDArray[Any]) -> float:
    """Return the magnitude from which on colours are full, 1 where all is zero or nothing is finite."""
    # The nearest rank: `np.quantile` imports masked arrays, which takes longer than a page's pictures.
    finite = np.abs(values[np.isfinite(values)])
    place = math.ceil(_QUANTILE * finite.size) - 1
    return float(np.partition(finite, place)[place]) or 1.0 if finite.size else 1.0


def _colours(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return colours of values from -1 to 1 in a last dimension of 3."""
    clipped = np.clip(values, -1, 1)[..., None]
    towards = np.where(clipped < 0, _BLUE, _RED)
    colours: NDArray[np.uint8] = (_WHITE + (towards - _WHITE) * np.abs(clipped)).astype(np.uint8)
    return colours
