"""What weights do not show of a convolutional trunk: strides, paddings, the size of the screen.

The kernels and the number of features that the first linear layer takes are known. A combination of
strides, paddings and screen size that gives another number is impossible; among the possible ones a known
trunk on a screen of 84×84 comes first, and what is left open is refused or marked as assumed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product

from ckptfmt.families.atari_dqn.fingerprint import Shape
from ckptfmt.families.encoder import Conv, Encoder
from ckptfmt.families.evidence import Origin
from ckptfmt.format.record import record

__all__ = ["Trunk", "TrunkUnknown", "infer", "others"]

Strides = tuple[int, ...]
Windows = tuple[Strides, Strides]

# Kernels -> (strides, paddings), the usual ones first (Mnih et al. 2015; Mnih et al. 2013; van Hasselt,
# Hessel & Aslanides 2019), then those that some code base is known to use.
_KNOWN: dict[tuple[int, ...], tuple[Windows, ...]] = {
    (8, 4, 3): (
        ((4, 2, 1), (0, 0, 0)),
        ((4, 2, 1), (1, 0, 0)),
        ((4, 2, 1), (0, 0, 1)),
        ((4, 2, 1), (0, 1, 1)),
        ((4, 2, 1), (2, 1, 1)),
        ((4, 2, 1), (2, 2, 1)),
    ),
    (8, 4): (((4, 2), (0, 0)), ((4, 2), (0, 1)), ((4, 2), (2, 1))),
    (5, 5): (((5, 5), (0, 0)),),
    (16, 4, 4, 3): (((8, 2, 2, 1), (0, 0, 0, 0)),),
}
# Kernels of this size begin the trunks of this field; behind smaller ones there may as well be pooling.
_TELLING = 8
# Mnih et al. 2015; nearly all that came after.
_SCREEN = 84
# Below, kernels of 8 leave nothing; above, nobody scales a screen of 210×160 up.
_SMALLEST, _LARGEST = 32, 256
# Screens people use when it is not 84×84, likeliest first. Any other one is as well a usual one behind pooling.
_SIZES = (84, 64, 128, 36, 96, 80, 42, 100, 110, 112, 120, 160, 192, 210, 224, 240, 256)
# Screens that are not square: the emulator's own either way round, its half, and the 110×84 before Mnih et al. crop it.
_FRAMES = ((210, 160), (160, 210), (104, 80), (105, 80), (110, 84), (84, 110))


class TrunkUnknown(Exception):
    """The strides and paddings cannot be told; the text says why."""


@record
class Trunk:
    """An encoder, the (channels, height, width) it takes, where both come from, and a note on what else fits."""

    encoder: Encoder
    input_shape: tuple[int, int, int]
    encoder_origin: Origin
    shape_origin: Origin
    note: str


def infer(
    convs: Sequence[Shape],
    features: int,
    *,
    shape: tuple[int, int, int] | None = None,
    padding: Sequence[int] | None = None,
    settled: bool = False,
    windows: Sequence[tuple[int, int]] | None = None,
    activation: str = "relu",
) -> Trunk:
    """Return the trunk whose convolutions (out, in, kernel, kernel) make `features` features.

    `shape` is the input (channels, height, width) if it is known, `padding` the paddings of a known layout, `settled`
    is true where the code that wrote the file is known and not only its names, `windows` are the (stride, padding) of
    each convolution where they are known.
    Raises `TrunkUnknown` where no combination, or more than one with nothing to choose by, fits.
    """
    kernels = tuple(conv[2] for conv in convs)
    # (outputs, inputs, height, width).
    if any(conv[2] != conv[3] for conv in convs):
        raise TrunkUnknown("a convolution has a kernel that is not square")
    if features % convs[-1][0]:
        raise TrunkUnknown(
            f"the first linear layer takes {features} features, no multiple of the {convs[-1][0]} channels before it"
        )
    area = features // convs[-1][0]
    if windows:
        known = tuple(stride for stride, _ in windows), tuple(edge for _, edge in windows)
        return _finish(convs, known, _sizes(kernels, known, area, shape), shape, activation, "inferred")
    usual = _KNOWN.get(kernels)
    if usual is None or not (kernels[0] >= _TELLING or shape or _area(kernels, usual[0], (_SCREEN, _SCREEN)) == area):
        return _search(convs, kernels, area, shape, activation)
    if padding is not None:
        known = usual[0][0], tuple(padding[: len(kernels)])
        usual = (known,) if shape else (known, *(window for window in usual if window != known))
    window = _choose(kernels, usual, area, shape)
    origin: Origin = "inferred" if settled and window == usual[0] else "assumed"
    return _finish(convs, window, _sizes(kernels, window, area, shape), shape, activation, origin)


def others(convs: Sequence[Conv], screen: tuple[int, int]) -> Iterator[tuple[Conv, ...]]:
    """Yield these convolutions with other usual strides and paddings that make as many features of this screen."""
    if any(conv.kernel[0] != conv.kernel[1] for conv in convs):
        return
    kernels = tuple(conv.kernel[0] for conv in convs)
    own = tuple(conv.stride[0] for conv in convs), tuple(conv.padding[0] for conv in convs)
    area = _area(kernels, own, screen)
    for window in dict.fromkeys((*_KNOWN.get(kernels, ()), *_windows(kernels))):
        if window != own and _area(kernels, window, screen) == area:
            yield tuple(
                replace(conv, stride=(stride, stride), padding=(edge, edge))
                for conv, stride, edge in zip(convs, *window, strict=True)
            )


def _choose(kernels: Strides, usual: Sequence[Windows], area: int, shape: tuple[int, int, int] | None) -> Windows:
    """Return the first of the usual windows, or another one if only that fits."""
    first = _sizes(kernels, usual[0], area, shape)
    screen = shape[1:] if shape else (_SCREEN, _SCREEN)
    if screen in first:
        return usual[0]
    others = [window for window in usual[1:] if _area(kernels, window, screen) == area]
    if not first and not others and not shape:
        by_frame = ([window for window in usual[1:] if _area(kernels, window, size) == area] for size in _FRAMES)
        others = next(filter(None, by_frame), [])
    if first and not others:
        return usual[0]
    if len(others) == 1 and not first:
        return others[0]
    if not others:
        raise TrunkUnknown(_unfit(kernels, usual[0], area, shape))
    padded = f"padding {', '.join(map(str, others[0][1]))} on {screen[0]}×{screen[1]}"
    plain = f"padding {', '.join(map(str, usual[0][1]))} on {first[0][0]}×{first[0][1]}" if first else "another padding"
    raise TrunkUnknown(f"a map of {area} positions fits {padded} and {plain}")


def _unfit(kernels: Strides, window: Windows, area: int, shape: tuple[int, int, int] | None) -> str:
    """Why no usual screen fits: none does, or one only that nobody uses, and then there may be pooling."""
    pooled = "pooling between the convolutions, which weights do not show"
    wanted = f"the map of {area} positions that the linear layer takes"
    if shape:
        return f"the usual strides do not make {wanted} from a screen of {shape[1]}×{shape[2]}; there may be {pooled}"
    odd = [size for size in range(_SMALLEST, _LARGEST + 1) if _area(kernels, window, (size, size)) == area]
    if not odd:
        return f"the usual strides do not make {wanted} from any square screen of {_SMALLEST} to {_LARGEST} pixels"
    screens = f"{odd[0]}×{odd[0]} to {odd[-1]}×{odd[-1]}"
    return f"{wanted} comes from an unusual screen, {screens}, or from another one and {pooled}"


def _search(
    convs: Sequence[Shape], kernels: Strides, area: int, shape: tuple[int, int, int] | None, activation: str
) -> Trunk:
    """A trunk nobody has a name for: only when one combination of strides and paddings fits the screen."""
    if not shape and kernels[0] < _TELLING:
        raise TrunkUnknown(f"no known encoder has convolutions with kernels of {', '.join(map(str, kernels))} pixels")
    screen = shape[1:] if shape else (_SCREEN, _SCREEN)
    windows = list(dict.fromkeys(_windows(kernels)))
    fitting = [window for window in windows if _area(kernels, window, screen) == area]
    if not fitting and not shape:
        fitting = [window for window in windows if any(_area(kernels, window, (size, size)) == area for size in _SIZES)]
    if len(fitting) != 1:
        many = f"{len(fitting)} combinations" if fitting else "no combination"
        made = f"a map of {area} positions from a screen of {screen[0]}×{screen[1]}"
        raise TrunkUnknown(f"{many} of usual strides and paddings can make {made}")
    return _finish(convs, fitting[0], _sizes(kernels, fitting[0], area, shape), shape, activation, "assumed")


def _windows(kernels: Strides) -> Iterator[Windows]:
    """Strides are a half or a quarter of a large kernel, 1 or 2 pixels for a small one, or the kernel itself."""
    half = tuple(kernel // 2 for kernel in kernels)
    # From 8 pixels on kernels overlap twice or four times, as in the Nature paper; up to 4 they move by 1 or 2.
    # Large kernels move by a half or a quarter of themselves, small ones by one or two, or do not overlap.
    choices = [{kernel // 2, kernel // 4} if kernel >= 8 else {1, 2, kernel if kernel > 4 else 1} for kernel in kernels]
    for strides in product(*map(sorted, choices)):
        yield strides, (0,) * len(kernels)
        yield strides, half


# Asked for anew by each proposal of the same trunk.
@lru_cache(maxsize=256)
def _sizes(kernels: Strides, window: Windows, area: int, shape: tuple[int, int, int] | None) -> list[tuple[int, int]]:
    """Return the screens (height, width) that give `area` positions, likeliest first."""
    if shape is not None:
        return [shape[1:]] if _area(kernels, window, shape[1:]) == area else []
    square = [(size, size) for size in _SIZES if _area(kernels, window, (size, size)) == area]
    other = [(size, size) for size in range(_SMALLEST, _LARGEST + 1) if _area(kernels, window, (size, size)) == area]
    if square:
        return [*square, *other]
    return [size for size in _FRAMES if _area(kernels, window, size) == area]


def _area(kernels: Strides, window: Windows, size: tuple[int, int]) -> int:
    height, width = size
    for kernel, stride, padding in zip(kernels, *window, strict=True):
        height, width = (height + 2 * padding - kernel) // stride + 1, (width + 2 * padding - kernel) // stride + 1
        if height < 1 or width < 1:
            return 0
    return height * width


def _finish(
    convs: Sequence[Shape],
    window: Windows,
    sizes: Sequence[tuple[int, int]],
    shape: tuple[int, int, int] | None,
    activation: str,
    origin: Origin,
) -> Trunk:
    if not sizes:
        raise TrunkUnknown("no usual screen gives these convolutions that many features")
    encoder = Encoder(
        tuple(
            Conv(conv[0], (conv[2], conv[3]), (stride, stride), (padding, padding))
            for conv, stride, padding in zip(convs, *window, strict=True)
        ),
        activation,
    )
    squares = sorted({size[0] for size in sizes if size[0] == size[1]})
    note = (
        f"screens of {squares[0]}×{squares[0]} to {squares[-1]}×{squares[-1]} give the same number of features"
        if squares
        else ""
    )
    height, width = sizes[0]
    return Trunk(
        encoder,
        (convs[0][1], height, width),
        origin,
        "given" if shape else "assumed",
        note if len(squares) > 1 else "",
    )
