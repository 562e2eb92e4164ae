"""Images with their channels last, as JAX and TensorFlow have them: put in PyTorch's order, or refused."""

from collections.abc import Iterator
from typing import Any

from ckptfmt.convert.parts import dense
from ckptfmt.errors import ConversionError
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.blocks import Convs, Residual
from ckptfmt.families.encoder import Conv
from ckptfmt.legacy.bytes.storages import LegacyTensor

__all__ = ["channels_first", "refuse_sides"]

# What is put in order in memory; the largest layers of agents are a hundredth of it.
_MOST = 1 << 30


def channels_first(weight: LegacyTensor, image: tuple[int, ...]) -> LegacyTensor:
    """Return a weight (outputs, height · width · channels) with its columns as those of (channels, height, width)."""
    if weight.nbytes > _MOST:
        raise ConversionError(f"a weight of {weight.nbytes:,} bytes behind a flatten is too large to be reordered here")
    channels, height, width = image
    # (outputs, height, width, channels) as (outputs, channels, height, width).
    pixels = weight.split_last((height, width, channels)).turn((0, 3, 1, 2))
    return dense(pixels.read(_MOST), weight.dtype, weight.shape)


def refuse_sides(config: Any, where: str) -> None:
    """Raise `ConversionError` where JAX and TensorFlow may pad one side of an image more than the other.

    Their padding `SAME` adds what makes the output as large as the input over the stride, the odd pixel at the end.
    """
    for conv, size in _padded(config):
        if conv is None or any(not _is_even(conv, size, i) for i in (0, 1)):
            raise ConversionError(
                "its convolutions come from JAX or TensorFlow and fit only with padding, which these may put more on "
                "one side than on the other; such a network is not rebuilt",
                where=where,
                fix="give input_shape= where its screen is another, or keep the weights: architecture=none",
                code="convert.ambiguous",
            )


def _padded(config: Any) -> Iterator[tuple[Conv | None, tuple[int, int]]]:
    """Yield each padded convolution with the (height, width) that it sees; None for one behind which is pooled."""
    bodies = [config.encoder.convs] if isinstance(config, ModelConfig) else []
    # Channels, height, width; features in a row have no sides.
    height, width = config.input_shape[1:] if len(config.input_shape) == 3 else (0, 0)
    if not isinstance(config, ModelConfig):
        blocks = [block for _, body in config.bodies() for block in body]
        bodies = [block.convs for block in blocks if isinstance(block, Convs)]
        if any(isinstance(block, Residual) for block in blocks):
            yield None, (height, width)
    for convs in bodies:
        size = (height, width)
        for conv in convs:
            if conv.padding != (0, 0):
                yield conv, size
            size = conv.output_size(*size)


def _is_even(conv: Conv, size: tuple[int, int], side: int) -> bool:
    kernel, stride, length = conv.kernel[side], conv.stride[side], size[side]
    # TensorFlow's own rule: an output of length / stride, rounded up, and what its windows reach beyond the input.
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total == 2 * conv.padding[side]
