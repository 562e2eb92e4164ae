"""What the configs of several families have in common: what a network sees, what it gives, and how that is named."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ckptfmt.errors import ConfigError
from ckptfmt.families.blocks import Body, Tensors, activation_kind, body_kind, body_tensors, cells, linear_tensors
from ckptfmt.families.config import Config, divisor, flag, number, one_of, positive, refused, text
from ckptfmt.families.registry import Shape, find
from ckptfmt.format.document import value
from ckptfmt.format.kinds import Kind, optional

__all__ = [
    "DISTRIBUTIONS", "NetworkConfig", "PolicyConfig", "ensemble_name", "noise_names", "policy_tensors",
    "statistics_tensors",
]  # fmt: skip

# What a policy gives: the word for it, and the heads that it has.
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "categorical": ("logits",),
    "multi-categorical": ("logits",),
    "gaussian": ("mean",),
    "deterministic": ("action",),
    "beta": ("alpha", "beta"),
}
_DISCRETE = ("categorical", "multi-categorical")
_NUMBERS = {1: "", 2: "twin-"}


def _sizes(least: int, most: int, demand: str) -> Kind:
    def parse(item: Any, where: str, relaxed: bool) -> tuple[int, ...]:
        if isinstance(item, str) or not hasattr(item, "__iter__"):
            raise ConfigError(f"must be {demand}", where=where)
        sizes = tuple(positive.parse(size, where, relaxed) for size in item)
        # A picture without channels is not told from a table of features, so what is seen has one dimension or three.
        if not least <= len(sizes) <= most or len(sizes) == 2 < most == 3:
            raise ConfigError(f"must be {demand}, not {len(sizes)} numbers", where=where)
        return sizes

    limits = {"minItems": least, "maxItems": most}
    return Kind(parse, {"type": "array", "items": positive.schema, **limits}, positive.defs)


def _range(item: Any, where: str, relaxed: bool) -> tuple[float, float]:
    if isinstance(item, str) or not hasattr(item, "__iter__") or len(ends := tuple(item)) != 2:
        raise ConfigError("must be two numbers, the lower first", where=where)
    low, high = (number.parse(end, where, relaxed) for end in ends)
    if not low < high:
        raise ConfigError(f"must be two numbers, the lower first, not {low:g} and {high:g}", where=where)
    return low, high


_ends = Kind(_range, {"type": "array", "items": number.schema, "minItems": 2, "maxItems": 2})


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Config):
    """What a network sees, and what lies before its parts; the base of the configs of families made of blocks."""

    observation: tuple[int, ...] = value(
        _sizes(1, 3, "(features,) or (channels, height, width)"),
        "What it sees: a number of features, or channels, height and width.",
    )
    input_scale: float = value(
        divisor, "The divisor that the network applies to what it sees; 1 where the environment scales.", default=1.0
    )
    activation: str = value(activation_kind, "Follows every layer whose block names no other one.", default="relu")
    normalizer: str = value(
        one_of("none", "variance", "deviation"),
        "By what running statistics what is seen is normalised: a mean and a variance, or a mean and a deviation.",
        default="none",
    )
    normalizer_epsilon: float = value(divisor, "What is added to the variance, or to the deviation.", default=1e-5)
    normalizer_range: tuple[float, float] | None = value(
        optional(_ends), "To what a normalised number is clamped; null for nothing.", default=None
    )
    normalizer_place: str = value(
        one_of("inside", "before"),
        "Who normalises: the network, or its agent before it, so that `outputs` takes what is normalised already.",
        default="inside",
    )
    trunk: Body = value(body_kind, "What all parts share, from what is seen on.", default=())
    game: str | None = value(optional(text), "The environment, for example CartPole-v1.", default=None)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one observation."""
        return self.observation

    def bodies(self) -> Iterator[tuple[str, Body]]:
        """Yield each body with the name of its field."""
        for name, item in vars(self).items():
            if (name == "trunk" or name.endswith("_trunk")) and item is not None:
                yield name, item

    def cell_name(self) -> str:
        """Return `+lstm` or `+gru` for a network with such a cell, else "" for none."""
        return "".join(f"+{cell}" for cell in cells(*(body for _, body in self.bodies())))

    def shared(self) -> tuple[Tensors, Shape]:
        """Return the tensors of the normaliser and the trunk, and what that gives."""
        found, seen = body_tensors("trunk", self.trunk, self.observation)
        return statistics_tensors("normalizer", self.normalizer, self.observation) | found, seen


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(NetworkConfig):
    """A policy: how it sees, and the distribution over actions that it gives."""

    family = "policy"

    policy: str = value(one_of(*DISTRIBUTIONS), "What it gives: a distribution, or an action itself.")
    n_action: int | None = value(
        optional(positive), "How many actions there are, where they are one of n.", default=None
    )
    action_dim: int | None = value(optional(positive), "How many numbers an action is, where it is real.", default=None)
    choices: tuple[int, ...] | None = value(
        # More choices at once than any game or robot asks for.
        optional(_sizes(1, 1000, "a list of numbers of actions")),
        "The actions of each of several choices.",
        default=None,
    )
    policy_trunk: Body = value(body_kind, "Between the trunk and the heads of the policy.", default=())
    deviation: str = value(
        one_of("none", "vector", "head", "matrix"),
        "Where the deviation of a Gaussian comes from: a free vector, a head, a matrix over the features that explores "
        "by the state (Raffin et al. 2021), or not from the weights.",
        default="none",
    )
    deviation_is: str = value(
        one_of("log", "plain"), "Whether its numbers are logarithms of the deviation or the deviation.", default="log"
    )
    deviation_range: tuple[float, float] | None = value(
        optional(_ends), "To what its logarithm is clamped; null for nothing.", default=None
    )
    deviation_bound: str = value(
        one_of("clamp", "tanh"),
        "How its logarithm is kept in that range: cut off, or by a tanh that is stretched over it.",
        default="clamp",
    )
    mean_range: tuple[float, float] | None = value(
        optional(_ends), "To what the mean of a Gaussian is clamped; null for nothing.", default=None
    )
    squash: str = value(
        one_of("none", "tanh"),
        "What the action goes through before it is scaled; the mean itself, where no deviation is known.",
        default="none",
    )
    action_scale: float = value(divisor, "What the squashed action is multiplied with.", default=1.0)
    saved_scale: bool = value(
        flag, "Whether scale and offset of each number of the action lie among the tensors.", default=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = "n_action" if self.policy == "categorical" else "choices" if self.policy in _DISCRETE else "action_dim"
        for name in ("n_action", "choices", "action_dim"):
            if (getattr(self, name) is None) == (name == wanted):
                raise refused(
                    name, f"is needed by a {self.policy} policy" if name == wanted else "does not belong to it"
                )
        if self.deviation != "none" and self.policy != "gaussian":
            raise refused("deviation", f"does not belong to a {self.policy} policy")

    @property
    def rows(self) -> int:
        """Return the rows of each of its heads."""
        return self.n_action or self.action_dim or sum(self.choices or ())


def statistics_tensors(name: str, kind: str, shape: Shape) -> Tensors:
    """Return {name: shape} of running statistics of this kind."""
    return {} if kind == "none" else {f"{name}.mean": shape, f"{name}.spread": shape}


def policy_tensors(config: PolicyConfig, seen: Shape) -> Tensors:
    """Return {name: shape} of the policy behind the trunk, which gives `seen`."""
    found, features = body_tensors("policy", config.policy_trunk, seen)
    size = 1
    for length in features:
        size *= length
    for head in DISTRIBUTIONS[config.policy]:
        found |= linear_tensors(head, config.rows, size)
    if config.deviation == "head":
        found |= linear_tensors("deviation", config.rows, size)
    elif config.deviation != "none":
        found["deviation"] = (config.rows,) if config.deviation == "vector" else (size, config.rows)
    if config.saved_scale:
        found |= {"action_scale": (config.rows,), "action_offset": (config.rows,)}
    return found


def noise_names(config: NetworkConfig) -> frozenset[str]:
    """Return the names that a checkpoint may leave out: noise, which is drawn anew before it is used."""
    family = find(config.family)
    names = family.tensors(config) if family is not None else ()
    return frozenset(name for name in names if name.endswith((".epsilon_input", ".epsilon_output")))


def ensemble_name(kind: str, count: int) -> str:
    """Return what so many critics of a kind are called: `q`, `twin-q`, `5-q`."""
    return f"{_NUMBERS.get(count, f'{count}-')}{kind}"
