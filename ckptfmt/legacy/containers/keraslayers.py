"""What the config of a Keras model says of its layers: text alone, whatever code it quotes."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ckptfmt.errors import ManifestError
from ckptfmt.format import jsontext
from ckptfmt.format.record import record

__all__ = ["KerasLayer", "layers_in", "path_of", "read_layers"]

# A layer is told in about a kilobyte; the largest models that come with Keras have about a thousand layers.
_MOST = 16 << 20
_MOST_LAYERS = 2_000
# A group of calls, the layers of it, a tensor: no layer's inputs lie deeper in lists.
_DEEPEST = 12


@record
class KerasLayer:
    """A layer: its class, its name, its settings, the names of the layers before it, the layers inside of it."""

    kind: str
    name: str
    settings: Mapping[str, Any]
    inputs: tuple[str, ...] = ()
    layers: tuple["KerasLayer", ...] = ()


def read_layers(config: bytes) -> tuple[KerasLayer, ...]:
    """Return the layers of a model that a text describes, () where it describes none."""
    if not config:
        return ()
    try:
        said = jsontext.parse(config, where="", limit=_MOST)
    except ManifestError:
        return ()
    return layers_in(said) if isinstance(said, dict) else ()


def layers_in(said: Mapping[str, Any]) -> tuple[KerasLayer, ...]:
    """Return the layers of a model that is read as JSON."""
    return _inside(said.get("class_name"), said.get("config"))


def _counted(layers: Iterable[KerasLayer]) -> dict[str, KerasLayer]:
    """Return layers by what Keras 3 calls their groups: the class, from the second of it on with a number behind."""
    counts: Counter[str] = Counter()
    found = {}
    for layer in layers:
        kind = _snake(layer.kind)
        found[f"{kind}_{counts[kind]}" if counts[kind] else kind] = layer
        counts[kind] += 1
    return found


def _snake(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _inside(kind: Any, config: Any) -> tuple[KerasLayer, ...]:
    """Return the layers of a model's config; of a row of them each takes what the one before it gives."""
    items = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(items, list) or len(items) > _MOST_LAYERS:
        return ()
    found: list[KerasLayer] = []
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("config"), dict | list):
            return ()
        settings = item["config"] if isinstance(item["config"], dict) else {}
        name = settings.get("name", item.get("name"))
        if not isinstance(name, str) or not isinstance(item.get("class_name"), str):
            return ()
        before = [found[-1].name] if kind == "Sequential" and found else _ends(item.get("inbound_nodes"), 0)
        inner = _inside(item["class_name"], item["config"])
        found.append(KerasLayer(item["class_name"], name, settings, tuple(dict.fromkeys(before)), inner))
    return tuple(found)


def _ends(item: Any, depth: int) -> Iterator[str]:
    """Yield the names of layers in what Keras writes of tensors: ["dense", 0, 0], in lists and calls of any form."""
    if depth > _DEEPEST:
        return
    if isinstance(item, list) and len(item) >= 3 and isinstance(item[0], str) and type(item[1]) is type(item[2]) is int:
        yield item[0]
    elif isinstance(item, list | dict):
        for inner in item.values() if isinstance(item, dict) else item:
            yield from _ends(inner, depth + 1)


def path_of(layers: Sequence[KerasLayer], group: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the layers that a group of Keras 3 lies in; a group that is none of theirs as it is."""
    if not group:
        return ()
    layer = _counted(layers).get(group[0])
    return (layer.name if layer else group[0], *path_of(layer.layers if layer else (), group[1:]))
