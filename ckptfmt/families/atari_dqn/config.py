"""ModelConfig: everything that must be known to rebuild a network, and the training flags beside it."""

import difflib
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar, Self

from ckptfmt.errors import ManifestError, Problem
from ckptfmt.families.encoder import NATURE, Encoder
from ckptfmt.families.spaces import played_spaces
from ckptfmt.format.digest import json_digest
from ckptfmt.format.jsontext import encode_free

__all__ = ["ARCHITECTURES", "JOINS", "UNSEEN", "ModelConfig", "architecture_name"]

# Settings of the training: they leave no trace in the weights and change no answer of the network.
UNSEEN = ("double_dqn", "n_step_learning", "n_steps", "noisy_std_init", "prioritized_replay")

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


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The description from which a network is rebuilt.

    `input_shape` is (channels, height, width) in pixels. `n_atoms`, `v_min` and `v_max` describe the support
    of a distributional network (Bellemare et al. 2017) and are None for the others. `input_scale` is the
    divisor the network itself applies to its input: 255 where raw bytes go in, 1 where the environment
    scales. `dueling_join`, one of `JOINS`, says how a dueling network makes Q-values of its two streams. The
    training flags (`double_dqn`, `prioritized_replay`, `n_step_learning`) leave no trace in weights. Raises
    `ManifestError` that names the first field that is wrong.
    """

    family: ClassVar[str] = "atari-dqn"

    input_shape: tuple[int, int, int] = (4, 84, 84)
    n_action: int
    double_dqn: bool = False
    dueling_dqn: bool = False
    distributional_dqn: bool = False
    noisy_networks: bool = False
    prioritized_replay: bool = False
    n_step_learning: bool = False
    n_atoms: int | None = None
    v_min: float | None = None
    v_max: float | None = None
    noisy_std_init: float = 0.5
    n_steps: int = 1
    encoder: Encoder = NATURE
    hidden_size: int = 512
    input_scale: float = 1.0
    dueling_join: str = "mean"
    game: str | None = None
    training_config_hash: str | None = None
    model_version: str | None = None
    created_at: str | None = None
    framework_version: str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = _parse(field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        self._check_support()
        self.encoder.feature_map(self.input_shape)

    def _check_support(self) -> None:
        given = {name: getattr(self, name) for name in ("n_atoms", "v_min", "v_max")}
        if not self.distributional_dqn:
            if surplus := [name for name, value in given.items() if value is not None]:
                raise _wrong(surplus[0], "belongs to a distributional network, and this one is not")
            return
        if missing := [name for name, value in given.items() if value is None]:
            raise _wrong(missing[0], "is needed by a distributional network")
        if given["v_min"] >= given["v_max"]:
            raise _wrong("v_min", f"must be less than v_max ({given['v_max']:g})")

    def get_architecture_name(self) -> str:
        """Return which of the eight architectures this is, for example `dueling+noisy`."""
        return architecture_name(
            dueling=self.dueling_dqn, distributional=self.distributional_dqn, noisy=self.noisy_networks
        )

    @property
    def feature_size(self) -> int:
        """Return how many features the encoder hands to the first linear layer."""
        return self.encoder.feature_size(self.input_shape)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return every field as it stands in the manifest."""
        data = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**data, "input_shape": list(self.input_shape), "encoder": self.encoder.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build a config from its manifest form; unknown or missing fields raise `ManifestError`."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(map(str, set(data) - known)):
            raise _wrong(unknown[0], "is no field of a model config")
        if "n_action" not in data:
            raise _wrong("n_action", "is missing")
        return cls(**data)

    @classmethod
    def from_training_config(cls, config: Any, env: Any, *, report: Callable[[Problem], None] | None = None) -> Self:
        """Build a config from training settings (a mapping or an object with attributes) and the env.

        Fields of the same name are taken over, from groups of settings inside as well; `n_action` and `input_shape`
        come from the env's spaces, so that what is saved is what was played. The settings' hash is kept in
        `training_config_hash`. `report` is called with a `Problem` for each setting that was not used. Raises
        `ManifestError` where two groups say different things of one field.
        """
        settings = dict(config) if isinstance(config, Mapping) else _attributes(config)
        known = {field.name for field in fields(cls)}
        taken, unused = _taken(settings, known)
        for path in unused if report is not None else ():
            report(_unused(path, known))  # type: ignore[misc]
        if not taken.get("distributional_dqn"):
            taken.update(n_atoms=None, v_min=None, v_max=None)
        played = played_spaces(env)
        taken["n_action"], taken["input_shape"] = played.n_action, played.input_shape
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
            raise _wrong(name, f"is {taken[name]!r} in {places[name]} and {item!r} in {path}")
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
    near = difflib.get_close_matches(name, sorted(known), 1, 0.6)
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


def _wrong(name: str, what: str) -> ManifestError:
    return ManifestError(f"{name} {what}", where=f"$.config.{name}", code="config.value")


def _parse(name: str, value: Any) -> Any:
    return _PARSERS[name](name, value)


def _parse_shape(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise _wrong(name, "must be (channels, height, width)")
    shape = tuple(_parse_count(name, size) for size in value)
    if len(shape) != 3:
        raise _wrong(name, f"must be (channels, height, width), not {len(shape)} numbers")
    return shape


def _parse_count(name: str, value: Any) -> int:
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if not 1 <= number < 2**31:
        raise _wrong(name, f"must be a whole number of 1 or more, not {value!r}")
    return number


def _parse_flag(name: str, value: Any) -> bool:
    # NumPy has its own bool type, recognised by its name so that NumPy need not be imported.
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    raise _wrong(name, f"must be true or false, not {value!r}")


def _parse_number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(name, f"must be a finite number, not {value!r}")
    return number


def _parse_divisor(name: str, value: Any) -> float:
    number = _parse_number(name, value)
    if number <= 0:
        raise _wrong(name, f"must be more than 0, not {value!r}")
    return number


def _parse_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, f"must be text, not {value!r}")
    return value


def _parse_join(name: str, value: Any) -> str:
    if value not in JOINS:
        raise _wrong(name, f"must be one of {', '.join(JOINS)}, not {value!r}")
    return str(value)


def _parse_encoder(name: str, value: Any) -> Encoder:
    if isinstance(value, Encoder):
        return value
    if isinstance(value, str | Mapping):
        return Encoder.from_dict(value)
    raise _wrong(name, "must be an Encoder, its description, or the name of a known one")


def _optional(parse: Any) -> Any:
    return lambda name, value: None if value is None else parse(name, value)


_PARSERS: dict[str, Any] = {
    "input_shape": _parse_shape,
    "n_action": _parse_count,
    "double_dqn": _parse_flag,
    "dueling_dqn": _parse_flag,
    "distributional_dqn": _parse_flag,
    "noisy_networks": _parse_flag,
    "prioritized_replay": _parse_flag,
    "n_step_learning": _parse_flag,
    "n_atoms": _optional(_parse_count),
    "v_min": _optional(_parse_number),
    "v_max": _optional(_parse_number),
    "noisy_std_init": _parse_number,
    "n_steps": _parse_count,
    "encoder": _parse_encoder,
    "hidden_size": _parse_count,
    "input_scale": _parse_divisor,
    "dueling_join": _parse_join,
    "game": _optional(_parse_text),
    "training_config_hash": _optional(_parse_text),
    "model_version": _optional(_parse_text),
    "created_at": _optional(_parse_text),
    "framework_version": _optional(_parse_text),
}
