"""What is known of a network beside its tensors: facts that were said of it, what a whole module says of its layers."""

from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any, Literal

from ckptfmt.families.encoder import Encoder
from ckptfmt.format.record import record

__all__ = ["BLOCK_LAYERS", "Actions", "Facts", "Origin", "Window", "Wiring"]

Origin = Literal["declared", "inferred", "given", "measured", "assumed"]
# One of n, real numbers, one of n for each of several choices, or several times yes or no.
Actions = Literal["discrete", "real", "choices", "switches"]
# Stride and padding of a convolution, in pixels, the same in both directions.
Window = tuple[int, int]
# Layers that the eight have not and networks made of blocks have, as `Wiring.stranger` calls them.
BLOCK_LAYERS = frozenset(
    {"a GRU", "a GRUCell", "an LSTM", "an LSTMCell", "a LayerNorm", "a BatchNorm1d", "a BatchNorm2d"}
)


@record(kw_only=True)
class Facts:
    """What is known beside the weights; None where it is not.

    `input_shape` is (channels, height, width) in pixels, `input_scale` the divisor inside the network, `encoder`
    describes the trunk where weights leave it open, `dueling_join` how value and advantage are joined, `actions` of
    what kind an agent's actions are. `more` holds further fields of a family's config. `declared` names the fields
    that the file's own config says; the others were given by the user.
    """

    architecture: str | None = None
    n_action: int | None = None
    n_atoms: int | None = None
    v_min: float | None = None
    v_max: float | None = None
    input_shape: tuple[int, int, int] | None = None
    input_scale: float | None = None
    dueling_join: str | None = None
    encoder: Encoder | None = None
    actions: Actions | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        # JSON and people give lists.
        if self.input_shape is not None:
            object.__setattr__(self, "input_shape", tuple(self.input_shape))

    def origin(self, name: str) -> Origin:
        """Return whether the field `name` was given by the user or declared by the file."""
        return "declared" if name in self.declared else "given"

    def field(self, name: str) -> Any:
        """Return what is known of a field of some family's config, None where nothing is."""
        return self.more.get(name, getattr(self, name, None))

    def known(self) -> dict[str, Any]:
        """Return the fields that are known, those of `more` left out."""
        names = (item.name for item in fields(self) if item.name not in ("declared", "more"))
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@record(kw_only=True)
class Wiring:
    """What a whole module says of its layers beside their weights.

    `windows` are those of the convolutions by the names of their weights, `activation` is one of
    `ckptfmt.families.encoder.ACTIVATIONS` or "" where none is seen, and assumed where it is not seen behind every
    hidden layer; `squash` is what is seen behind the head, `softmax` is true where probabilities are made, and
    `stranger` is what none of the eight architectures has, "" if nothing.
    """

    windows: Mapping[str, Window] = field(default_factory=dict)
    activation: str = ""
    activation_origin: Origin = "inferred"
    squash: str = ""
    softmax: bool = False
    stranger: str = ""
