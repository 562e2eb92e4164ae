"""The convolutional trunk of a network, described so that it can be rebuilt and computed exactly."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ckptfmt.errors import ConfigError, ManifestError
from ckptfmt.families.activations import ACTIVATIONS
from ckptfmt.families.config import positive
from ckptfmt.format.document import object_schema, value
from ckptfmt.format.kinds import Kind, choice, named
from ckptfmt.format.record import record

__all__ = ["DATA_EFFICIENT", "ENCODERS", "NATURE", "NIPS", "Conv", "Encoder", "convs_kind", "encoder_kind"]

Pair = tuple[int, int]


_NONE_OR_MORE = {
    "type": "integer",
    "minimum": 0,
    # The largest number of 32 bits with a sign, as sizes have.
    "maximum": 2**31 - 1,
}


def _pair_of(one: Kind) -> Kind:
    """Return the kind of a height and a width, or one number for both; `Conv` reads them itself."""
    both = {"type": "array", "items": one.schema, "minItems": 2, "maxItems": 2}
    return Kind(lambda item, where, relaxed: item, {"oneOf": [one.schema, both]}, one.defs)


_size = _pair_of(positive)
_padding = _pair_of(named("small", Kind(positive.parse, _NONE_OR_MORE), "A size of none or more."))


@record
class Conv:
    """One convolution, kernel, stride and padding as (height, width) in pixels."""

    channels: int = value(positive, "Output channels.")
    kernel: Pair = value(_size, "Height and width of the kernel, or one number for both.")
    stride: Pair = value(_size, "Step in height and width, or one number for both.")
    padding: Pair = value(
        _padding,
        "Zeros on each side in height and width, or one number for both; none where it is left out.",
        default=(0, 0),
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", _whole(self.channels, "channels", 1))
        object.__setattr__(self, "kernel", _pair(self.kernel, "kernel", 1))
        object.__setattr__(self, "stride", _pair(self.stride, "stride", 1))
        object.__setattr__(self, "padding", _pair(self.padding, "padding", 0))

    def output_size(self, height: int, width: int) -> Pair:
        """Return the (height, width) this convolution makes of an image; 0 or less where it does not fit."""
        (kh, kw), (sh, sw), (ph, pw) = self.kernel, self.stride, self.padding
        return (height + 2 * ph - kh) // sh + 1, (width + 2 * pw - kw) // sw + 1

    def to_dict(self) -> dict[str, Any]:
        """Return the convolution as it stands in the manifest."""
        return {
            "channels": self.channels,
            "kernel": list(self.kernel),
            "stride": list(self.stride),
            "padding": list(self.padding),
        }


_conv_schema, _conv_defs = object_schema(Conv)


def _parse_convs(item: Any, where: str, relaxed: bool) -> tuple[Conv, ...]:
    if isinstance(item, str) or not isinstance(item, Sequence) or not item:
        raise ConfigError("must be a list of convolutions", where=where)
    return tuple(conv if isinstance(conv, Conv) else _conv(conv) for conv in item)


convs_kind = Kind(
    _parse_convs,
    {"type": "array", "items": {"$ref": "#/$defs/conv"}, "minItems": 1},
    {"conv": {**_conv_schema, "description": "One convolution."}, **_conv_defs},
)


@record
class Encoder:
    """Convolutions in order, each followed by `activation`, which the hidden linear layers use as well."""

    convs: tuple[Conv, ...] = value(convs_kind, "The convolutions from the input on, tensors conv.0, conv.2, conv.4.")
    activation: str = value(
        choice(*ACTIVATIONS), "Follows every convolution and every hidden linear layer.", default="relu"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "convs", tuple(self.convs))
        if not self.convs:
            raise ManifestError("an encoder needs at least one convolution", where="$.config.encoder.convs")
        # JSON may hold anything here, also what cannot be a key.
        if self.activation not in tuple(ACTIVATIONS):
            raise ManifestError(
                f"{self.activation!r} is no known activation",
                where="$.config.encoder.activation",
                fix=f"use one of {', '.join(ACTIVATIONS)}",
            )

    @property
    def name(self) -> str:
        """Return the trunk's name in the literature, or `conv` where it has none."""
        known = (name for name, encoder in ENCODERS.items() if encoder.convs == self.convs)
        return next(known, "conv")

    def feature_map(self, input_shape: Sequence[int]) -> tuple[int, int, int]:
        """Return (channels, height, width) behind the last convolution for a (channels, height, width) input."""
        channels, height, width = input_shape
        for conv in self.convs:
            height, width = conv.output_size(height, width)
            channels = conv.channels
            if height < 1 or width < 1:
                raise ManifestError(
                    f"an input of {'×'.join(map(str, input_shape))} is too small for these convolutions",
                    where="$.config.input_shape",
                )
        return channels, height, width

    def feature_size(self, input_shape: Sequence[int]) -> int:
        """Return how many features the flattened last feature map has."""
        channels, height, width = self.feature_map(input_shape)
        return channels * height * width

    def to_dict(self) -> dict[str, Any]:
        """Return the encoder as it stands in the manifest."""
        return {
            "name": self.name,
            "convs": [conv.to_dict() for conv in self.convs],
            "activation": self.activation,
        }

    @classmethod
    def from_dict(cls, data: str | Mapping[str, Any]) -> Self:
        """Build an encoder from its manifest form, or from the name of a known trunk."""
        if isinstance(data, str):
            if data not in ENCODERS:
                raise ManifestError(
                    f"{data!r} is no known encoder",
                    where="$.config.encoder",
                    fix=f"use one of {', '.join(ENCODERS)}, or describe its convolutions",
                )
            known = ENCODERS[data]
            return cls(known.convs, known.activation)
        unknown = sorted(set(data) - {"name", "convs", "activation"})
        if unknown or "convs" not in data:
            what = f"unknown field {unknown[0]}" if unknown else "convs is missing"
            raise ManifestError(what, where="$.config.encoder")
        if isinstance(data["convs"], str) or not isinstance(data["convs"], Sequence):
            raise ManifestError("must be a list of convolutions", where="$.config.encoder.convs")
        encoder = cls(tuple(_conv(item) for item in data["convs"]), data.get("activation", "relu"))
        if data.get("name", encoder.name) != encoder.name:
            raise ManifestError(
                f"the encoder is called {data['name']} but describes {encoder.name}",
                where="$.config.encoder.name",
            )
        return encoder


def _conv(item: Mapping[str, Any]) -> Conv:
    try:
        return Conv(**item)
    except TypeError:
        fields = "channels, kernel, stride, padding"
        raise ManifestError(f"a convolution has {fields}", where="$.config.encoder.convs") from None


def _whole(value: Any, name: str, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    # The largest number of 32 bits with a sign: no size comes near it, and every reader holds it.
    if not least <= number < 2**31 or isinstance(value, bool):
        raise ManifestError(f"{name} must be a whole number of {least} or more", where="$.config.encoder.convs")
    return number


def _pair(value: Any, name: str, least: int) -> Pair:
    pair = (value, value) if not isinstance(value, Sequence) else tuple(value)
    if len(pair) != 2:
        raise ManifestError(f"{name} must be two numbers, height and width", where="$.config.encoder.convs")
    return _whole(pair[0], name, least), _whole(pair[1], name, least)


# Mnih et al. 2015; Mnih et al. 2013; van Hasselt, Hessel & Aslanides 2019.
NATURE = Encoder((Conv(32, (8, 8), (4, 4)), Conv(64, (4, 4), (2, 2)), Conv(64, (3, 3), (1, 1))))
NIPS = Encoder((Conv(16, (8, 8), (4, 4)), Conv(32, (4, 4), (2, 2))))
DATA_EFFICIENT = Encoder((Conv(32, (5, 5), (5, 5)), Conv(64, (5, 5), (5, 5))))
ENCODERS = {"nature": NATURE, "nips": NIPS, "data-efficient": DATA_EFFICIENT}


def _parse_encoder(item: Any, where: str, relaxed: bool) -> Encoder:
    if isinstance(item, Encoder):
        return item
    if isinstance(item, str | Mapping):
        return Encoder.from_dict(item)
    raise ConfigError("must be an Encoder, its description, or the name of a known one", where=where)


def _encoder_schema() -> tuple[dict[str, Any], dict[str, Any]]:
    schema, defs = object_schema(Encoder)
    name = {
        "enum": [*ENCODERS, "conv"],
        "description": "What the literature calls these convolutions; conv where it has no name for them.",
    }
    schema["properties"] = {"name": name, **schema["properties"]}
    return {**schema, "description": "The convolutional trunk."}, defs


_schema, _defs = _encoder_schema()
# An encoder by the name of a known one, or described.
encoder_kind = Kind(
    _parse_encoder,
    {"oneOf": [{"enum": list(ENCODERS), "description": "A known encoder by its name."}, {"$ref": "#/$defs/encoder"}]},
    {"encoder": _schema, **_defs},
)
