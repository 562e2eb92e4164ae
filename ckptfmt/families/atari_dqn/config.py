"""ModelConfig: everything that must be known to rebuild a network, and the training flags beside it."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, ClassVar, Self

from ckptfmt.errors import ConfigError, Problem
from ckptfmt.families.config import Config, divisor, flag, number, one_of, positive, refused, text
from ckptfmt.families.encoder import NATURE, Encoder, encoder_kind
from ckptfmt.families.spaces import played_spaces
from ckptfmt.format.digest import json_digest
from ckptfmt.format.document import fields_of, value
from ckptfmt.format.freeform import encode_free
from ckptfmt.format.kinds import Kind, listing, optional

__all__ = ["ARCHITECTURES", "JOINS", "MODEL_VERSION", "UNSEEN", "ModelConfig", "architecture_name", "hash_settings"]

# Settings of the training: they leave no trace in the weights and change no answer of the network.
UNSEEN = ("double_dqn", "n_step_learning", "n_steps", "noisy_std_init", "prioritized_replay")

# The version of the networks that the configs of this package describe.
MODEL_VERSION = "1.0"
# How value V and advantage A make Q-values: V + A - mean A and V + A - max A (Wang et al. 2016, equations 9 and 8),
# V + A (equation 7), and V - A + mean A, which some write.
JOINS = ("mean", "max", "sum", "inverted")

ARCHITECTURES = (
    "dqn",
    "dueling",
    "distributional",
    "noisy",
    "dueling+distributional",
    "dueling+noisy",
    "distributional+noisy",
    "dueling+distributional+noisy",
)

# Settings are read out of groups within groups, not out of whatever hangs on them.
_DEEPEST = 3


def architecture_name(*, dueling: bool, distributional: bool, noisy: bool) -> str:
    """Return which of the eight names of `ARCHITECTURES` these three properties make."""
    parts = [word for word, has in (("dueling", dueling), ("distributional", distributional), ("noisy", noisy)) if has]
    return "+".join(parts) or "dqn"


def _parse_shape(item: Any, where: str, relaxed: bool) -> tuple[int, ...]:
    if isinstance(item, str) or not hasattr(item, "__iter__"):
        raise ConfigError("must be (channels, height, width)", where=where)
    shape = tuple(positive.parse(size, where, relaxed) for size in item)
    if len(shape) != 3:
        raise ConfigError(f"must be (channels, height, width), not {len(shape)} numbers", where=where)
    return shape


_shape = Kind(_parse_shape, {**listing(positive).schema, "minItems": 3, "maxItems": 3}, positive.defs)


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """The description from which a network is rebuilt.

    `input_shape` is (channels, height, width) in pixels. `n_atoms`, `v_min` and `v_max` describe the support
    of a distributional network (Bellemare et al. 2017) and are None for the others. `input_scale` is the
    divisor the network itself applies to its input: 255 where raw bytes go in, 1 where the environment
    scales. `dueling_join`, one of `JOINS`, says how a dueling network makes Q-values of its two streams. The
    training flags (`double_dqn`, `prioritized_replay`, `n_step_learning`) leave no trace in weights. Raises
    `ManifestError` that names the first field that is wrong.
    """

    family: ClassVar[str] = "atari-dqn"
    rules: ClassVar[Mapping[str, Any]] = {
        "if": {"required": ["distributional_dqn"], "properties": {"distributional_dqn": {"const": True}}},
        "then": {
            "required": ["n_atoms", "v_min", "v_max"],
            "properties": {"n_atoms": {"type": "integer"}, "v_min": {"type": "number"}, "v_max": {"type": "number"}},
        },
        "else": {"properties": {name: {"type": "null"} for name in ("n_atoms", "v_min", "v_max")}},
    }

    input_shape: tuple[int, int, int] = value(
        _shape,
        "Channels, height and width of one observation; the convolutions must fit into it.",
        # Mnih et al. 2015: four grey frames of 84×84.
        default=(4, 84, 84),
    )
    n_action: int = value(positive, "How many actions the network values.")
    double_dqn: bool = value(
        flag, "Whether training used double Q-learning; leaves no trace in the weights.", default=False
    )
    dueling_dqn: bool = value(flag, "Whether the network has a value and an advantage stream.", default=False)
    distributional_dqn: bool = value(
        flag, "Whether the network predicts a distribution over n_atoms returns (C51).", default=False
    )
    noisy_networks: bool = value(flag, "Whether the linear layers are noisy, with factorised noise.", default=False)
    prioritized_replay: bool = value(
        flag, "Whether training sampled by priority; leaves no trace in the weights.", default=False
    )
    n_step_learning: bool = value(
        flag, "Whether training used n-step returns; leaves no trace in the weights.", default=False
    )
    n_atoms: int | None = value(optional(positive), "Atoms of the support; null unless distributional.", default=None)
    v_min: float | None = value(
        optional(number), "Lowest return of the support, less than v_max; null unless distributional.", default=None
    )
    v_max: float | None = value(
        optional(number), "Highest return of the support; null unless distributional.", default=None
    )
    noisy_std_init: float = value(
        # Fortunato et al. 2018, section 3.2.
        number,
        "Initial sigma of noisy layers before it is divided by the square root of the inputs.",
        default=0.5,
    )
    n_steps: int = value(positive, "Steps of the return.", default=1)
    encoder: Encoder = value(encoder_kind, "The convolutions.", default=NATURE)
    # Mnih et al. 2015.
    hidden_size: int = value(positive, "Outputs of the first linear layer of each stream.", default=512)
    input_scale: float = value(
        divisor,
        "The divisor that the network applies to its input; 1 where the environment scales.",
        default=1.0,
    )
    dueling_join: str = value(
        one_of(*JOINS),
        "How value V and advantage A of a dueling network make Q-values: V + A - mean A, V + A - max A, V + A, or "
        "V - A + mean A.",
        default="mean",
    )
    game: str | None = value(optional(text), "The game, for example ALE/Breakout-v5.", default=None)
    training_config_hash: str | None = value(optional(text), "Digest of the settings of the training.", default=None)
    model_version: str | None = value(optional(text), "Version of the source file's own format.", default=None)
    created_at: str | None = value(
        optional(text), "When the source says that the model was made, in its own words.", default=None
    )
    framework_version: str | None = value(
        optional(text), "The framework that trained the model, in the source's own words.", default=None
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_support()
        self.encoder.feature_map(self.input_shape)

    def _check_support(self) -> None:
        given = {name: getattr(self, name) for name in ("n_atoms", "v_min", "v_max")}
        if not self.distributional_dqn:
            if surplus := [name for name, value in given.items() if value is not None]:
                raise refused(surplus[0], "belongs to a distributional network, and this one is not")
            return
        if missing := [name for name, value in given.items() if value is None]:
            raise refused(missing[0], "is needed by a distributional network")
        if given["v_min"] >= given["v_max"]:
            raise refused("v_min", f"must be less than v_max ({given['v_max']:g})")

    def get_architecture_name(self) -> str:
        """Return which of the eight architectures this is, for example `dueling+noisy`."""
        return architecture_name(
            dueling=self.dueling_dqn, distributional=self.distributional_dqn, noisy=self.noisy_networks
        )

    @property
    def feature_size(self) -> int:
        """Return how many features the encoder hands to the first linear layer."""
        return self.encoder.feature_size(self.input_shape)

    @classmethod
    def from_training_config(cls, config: Any, env: Any, *, report: Callable[[Problem], None] | None = None) -> Self:
        """Build a config from training settings (a mapping or an object with attributes) and the env.

        Fields of the same name are taken over, from groups of settings inside as well; `n_action` and `input_shape`
        come from the env's spaces, so that what is saved is what was played, and `game` from its id where the
        settings name none. The settings' hash is kept in `training_config_hash`. `report` is called with a `Problem`
        for each setting that was not used. Raises `ManifestError` where two groups say different things of one field.
        """
        settings = dict(config) if isinstance(config, Mapping) else _attributes(config)
        known = set(fields_of(cls))
        taken, unused = _taken(settings, known)
        for path in unused if report is not None else ():
            report(_unused(path, known))  # type: ignore[misc]
        if not taken.get("distributional_dqn"):
            taken.update(n_atoms=None, v_min=None, v_max=None)
        played = played_spaces(env)
        taken["n_action"], taken["input_shape"] = played.n_action, played.input_shape
        if taken.get("game") is None and (spec := getattr(env, "spec", None)) is not None:
            taken["game"] = spec.id
        taken.setdefault("training_config_hash", hash_settings(settings))
        return cls(**taken)


def _taken(settings: Mapping[str, Any], known: set[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that are fields, wherever they stand, and the paths of all others."""
    taken: dict[str, Any] = {}
    places: dict[str, str] = {}
    unused = []
    for path, name, item in _leaves(settings, known):
        if name not in known:
            unused.append(path)
        elif name in taken and taken[name] != item:
            raise refused(name, f"is {taken[name]!r} in {places[name]} and {item!r} in {path}")
        else:
            taken[name], places[name] = item, path
    return taken, unused


def _leaves(settings: Mapping[str, Any], known: set[str], above: str = "") -> Iterator[tuple[str, str, Any]]:
    for name, item in settings.items():
        path = f"{above}.{name}" if above else str(name)
        if name not in known and isinstance(item, Mapping) and above.count(".") < _DEEPEST:
            yield from _leaves(item, known, path)
        elif name not in known and _is_group(item) and above.count(".") < _DEEPEST:
            yield from _leaves(_attributes(item), known, path)
        else:
            yield path, str(name), item


def _is_group(item: Any) -> bool:
    """Return whether a setting is a group of settings with attributes, as dataclasses and namespaces are."""
    return is_dataclass(item) or type(item).__name__ in ("Namespace", "SimpleNamespace")


def _unused(path: str, known: set[str]) -> Problem:
    name = path.rpartition(".")[2]
    # One, as near as the library itself asks for: a list of guesses would hide which setting is meant.
    near = difflib.get_close_matches(name, sorted(known), 1, 0.6)
    # Three letters are an abbreviation of too many things.
    near = near or [field for field in sorted(known) if len(name) > 3 and field.startswith(name)]
    fix = f"if it is the field {near[0]}, give it that name" if near else ""
    return Problem(
        "config.unused", f"training config {path}", "was not used, it is no field of the network", fix, "warning"
    )


def hash_settings(settings: Mapping[str, Any]) -> str:
    """Return `sha256:` of training settings in canonical JSON; what JSON cannot hold counts as its text."""
    plain = encode_free(settings, where="$.training_config", fallback=str)
    return json_digest(plain)


def _attributes(config: Any) -> dict[str, Any]:
    names = (name for name in dir(config) if not name.startswith("_"))
    values = {name: getattr(config, name) for name in names}
    return {name: value for name, value in values.items() if not callable(value)}
