"""Screens and what fits them: the strides of plain convolutions, the stages of residual ones."""

from collections.abc import Callable, Sequence

from ckptfmt.families.encoder import Conv
from ckptfmt.families.outline import Unit

__all__ = ["halved", "plain", "screen", "stages"]

Shape = tuple[int, ...]

# Screens that people use, the likeliest first.
_SCREENS = (84, 64, 42, 96, 128, 36, 72, 80, 100, 210)
# Convolutions that have no name and are common: kernels, strides, padding, and the screens that need not be said.
_PLAIN: tuple[tuple[Shape, Shape, int, Shape], ...] = (
    ((3, 3, 3, 3), (2, 2, 2, 2), 1, ()),
    ((3,), (1,), 0, (10,)),
)


def screen(shape: Shape | None, fits: Callable[[int], bool]) -> int:
    """Return the likeliest side of a square screen that fits, 0 for none; only that of `shape` where it is known."""
    # Of a known screen only a square one can fit here.
    sizes = _SCREENS if shape is None else shape[1:2] if shape[1:2] == shape[2:3] else ()
    return next((size for size in sizes if fits(size)), 0)


def halved(size: int, times: int) -> int:
    """Return a side of a screen that was halved so often, each time rounded up."""
    for _ in range(times):
        size = (size + 1) // 2
    return size


def plain(row: Sequence[Unit], features: int, shape: Shape | None) -> tuple[tuple[Conv, ...], int] | None:
    """Return convolutions that are common and nameless, and the side of the screen; None where these are others."""
    kernels = tuple(unit.shape[2] for unit in row)
    for known, strides, padding, sizes in _PLAIN:
        if kernels != known or any(unit.shape[2] != unit.shape[3] for unit in row):
            continue
        convs = tuple(
            Conv(unit.outputs, (k, k), (stride, stride), (padding, padding))
            for unit, k, stride in zip(row, kernels, strides, strict=True)
        )
        for size in sizes if shape is None else (shape[1],):
            height = size
            for conv in convs:
                height, _ = conv.output_size(height, height)
            if height > 0 and height * height * row[-1].outputs == features:
                return convs, size
    return None


def stages(row: Sequence[Unit]) -> tuple[int, ...]:
    """Return the channels of each stage of a residual encoder, () where these convolutions are none.

    Convolutions of equal channels do not show where one stage ends; the words of their names must.
    """
    if any(unit.shape[2:] != (3, 3) or unit.norm for unit in row) or not any(unit.is_residual for unit in row):
        return ()
    starts = [i for i, unit in enumerate(row) if not unit.is_residual]
    sizes = {later - start for start, later in zip(starts, [*starts[1:], len(row)], strict=True)}
    # A stage is one convolution and pairs behind it, so an odd number of at least three.
    if not starts or starts[0] != 0 or len(sizes) != 1 or (each := sizes.pop()) % 2 == 0 or each < 3:
        return ()
    return tuple(row[start].outputs for start in starts)
