"""Running statistics that an agent keeps in an object beside its networks, through which it leads what they see.

They are taken where the words around them say that they are of observations, and they are as many as what the policy
sees; `outputs` of the network stays what its own code gives, and who plays normalises before it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ckptfmt.families.answer import Placement
from ckptfmt.families.config import Config
from ckptfmt.families.names import words
from ckptfmt.families.network import NetworkConfig
from ckptfmt.families.statistics import Statistics, find_statistics
from ckptfmt.format.document import fields_of
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find.keys import key_text
from ckptfmt.legacy.find.nest import items
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Scaler", "scalers_of", "with_scalers"]

# Their place says what they are: a module, or a class.
_NORMALIZES = frozenset({
    "preprocessor", "normalizer", "normaliser", "normalization", "normalisation", "norm", "rms", "standardizer",
    "scaler", "filter", "zfilter", "runningmeanstd", "meanstdfilter", "vecnormalize",
})  # fmt: skip
_OF_VALUES = frozenset({"value", "values"})
# Of what others see: a discriminator, a critic with more in its view, a reward. Statistics of returns mostly scale
# rewards (VecNormalize), and nothing brings a value back by them.
_OTHERS = frozenset({
    "reward", "rewards", "amp", "rnd", "discriminator", "critic", "privileged", "shared", "action", "actions", "cost",
    "encoder", "teacher", "student", "next", "goal", "target", "old", "expert", "return", "returns", "ret",
})  # fmt: skip
# What is added to the deviation, and to what is clamped, by a word of the place: rsl_rl, skrl.
_HABITS: Mapping[str, tuple[float, tuple[float, float] | None]] = {
    "norm": (1e-2, None),
    "preprocessor": (1e-8, (-5.0, 5.0)),
}
# What most do, after OpenAI's baselines.
_USUAL = (1e-8, (-10.0, 10.0))
_UNSHOWN = frozenset({"normalizer_epsilon", "normalizer_range"})
# Scalers lie near the root and are few tensors.
_MOST_PLACES, _DEEPEST, _MOST_TENSORS = 10_000, 6, 12


@record
class Scaler:
    """Statistics of one kind: the field they are of, where they lie, and what the config says of them."""

    field: str
    path: str
    found: Statistics
    tensors: Mapping[str, LegacyTensor]

    def placements(self) -> Iterator[Placement]:
        """Yield where mean and spread belong, by the names that they have where they lie."""
        for part, name in (("mean", self.found.mean), ("spread", self.found.spread)):
            yield Placement(f"{self.field}.{part}", name, squeeze=len(self.tensors[name].shape) > 1)

    def settings(self) -> dict[str, Any]:
        """Return the fields of the config that say what it does."""
        if self.field != "normalizer":
            return {self.field: self.found.kind}
        said = {*words(self.path)}
        epsilon, ends = next((habit for word, habit in _HABITS.items() if word in said), _USUAL)
        place = {"normalizer": self.found.kind, "normalizer_place": "before"}
        return {**place, "normalizer_epsilon": epsilon, "normalizer_range": ends}


def scalers_of(members: Mapping[str, Any], config: Config) -> tuple[Scaler, ...]:
    """Return the scalers of a network among the objects of its file: of what it sees, then of its value; () for none.

    Two of one kind leave open which it is, so that none of them is.
    """
    if not isinstance(config, NetworkConfig) or config.normalizer != "none" or len(config.observation) != 1:
        return ()
    found = [scaler for scaler in _all(members) if scaler.found.size == (config.observation[0] if
             scaler.field == "normalizer" else 1)]  # fmt: skip
    of_seen = [scaler for scaler in found if scaler.field == "normalizer"]
    of_value = [scaler for scaler in found if scaler.field != "normalizer"]
    if len(of_seen) != 1:
        return ()
    values = of_value if len(of_value) == 1 and "value_normalizer" in fields_of(type(config)) else []
    return (*of_seen, *values)


def with_scalers(config: Config, origin: Mapping[str, str], scalers: Iterable[Scaler]) -> tuple[Config, dict[str, str]]:
    """Return a config and where its fields come from with what scalers say: what is added and clamped is assumed."""
    told = dict(origin)
    for scaler in scalers:
        said = scaler.settings()
        config = config.replace(**said)
        told |= {name: "assumed" if name in _UNSHOWN else "inferred" for name in said}
    return config, told


def _all(members: Mapping[str, Any]) -> Iterator[Scaler]:
    """Yield what lies in the nest and is called a scaler, breadth first."""
    queue: deque[tuple[tuple[Any, ...], Any]] = deque(((key,), value) for key, value in members.items())
    seen: set[int] = set()
    while queue and len(seen) < _MOST_PLACES:
        keys, value = queue.popleft()
        if id(value) in seen or len(keys) > _DEEPEST:
            continue
        seen.add(id(value))
        pairs = items(value)
        tensors = {key_text(key): item for key, item in pairs if isinstance(item, LegacyTensor)}
        # With other tensors beside them they are a part of a network.
        if 1 < len(tensors) <= _MOST_TENSORS:
            yield from _told(keys, value, tensors)
        queue.extend(((*keys, key), item) for key, item in pairs if isinstance(item, dict | list | tuple | Opaque))


def _told(keys: tuple[Any, ...], value: Any, tensors: Mapping[str, LegacyTensor]) -> Iterator[Scaler]:
    kind = f" {value.name.rpartition('.')[2]}" if isinstance(value, Opaque) else ""
    path = "/".join(map(key_text, keys[1:]))
    said = {*words(path + kind), kind.strip().lower()}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for item in find_statistics(shapes) if said & _NORMALIZES and not said & _OTHERS else ():
        if {item.mean, item.spread, *item.extra} == shapes.keys():
            yield Scaler("value_normalizer" if said & _OF_VALUES else "normalizer", path, item, tensors)
