"""What archives say as text beside their weights: JSON that is read as text, whatever pickles it quotes."""

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from ckptfmt.convert.settings import image_shape
from ckptfmt.errors import ManifestError, Problem
from ckptfmt.families.activations import ACTIVATIONS
from ckptfmt.families.evidence import Wiring
from ckptfmt.format import jsontext
from ckptfmt.format.record import record

__all__ = ["Text", "read_texts"]

# Stable-Baselines3 writes what JSON cannot hold into its text as base64, which makes it long.
_LIMIT = 16 << 20
# How Stable-Baselines3 writes a value that JSON has not: the type, a pickle in base64, and text of its attributes.
_TYPE, _PICKLE = ":type:", ":serialized:"
_CLASS = re.compile(r"<class '([\w.]+)'>")
_METHOD = re.compile(r"<function (\w+)\.")
_CODE = re.compile(r" at 0x[0-9a-f]+")
_WHOLE = re.compile(r"\d+")
_BYTE = "uint8"


@record
class Text:
    """A declaration: `facts` hold fields of `Facts`, `more` those of some config, `agent` what the agent is called.

    `wiring` is what it says of the layers, by the names that these have in the file.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    training_info: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    agent: tuple[str, ...] = ()
    wiring: Wiring = field(default_factory=Wiring)


def read_texts(texts: Mapping[str, bytes], *, where: str) -> tuple[Text, tuple[Problem, ...]]:
    """Return what the texts of an archive declare, and a warning for one that cannot be read.

    `texts` are those that containers know by name: `data` of Stable-Baselines3, `config` of d3rlpy, `keras` of Keras.
    """
    for name, data in texts.items():
        try:
            parsed = jsontext.parse(data, where=name, limit=_LIMIT)
        except ManifestError as e:
            message = f"its text '{name}' {e.what}, so nothing is taken from it"
            return Text(), (Problem("source.skipped", where, message, "", "warning"),)
        if isinstance(parsed, dict) and name in _READERS:
            return _READERS[name](parsed), ()
    return Text(), ()


def _stable_baselines(data: Mapping[str, Any]) -> Text:
    seen, acts = _dict(data.get("observation_space")), _dict(data.get("action_space"))
    policy = _dict(data.get("policy_class"))
    kwargs = _dict(data.get("policy_kwargs"))
    facts: dict[str, Any] = {}
    if (n_action := _count(acts.get("n"))) is not None and _class(acts).endswith("Discrete"):
        facts |= {"n_action": n_action, "actions": "discrete"}
    if (shape := image_shape(seen.get("_shape"))) is not None:
        facts["input_shape"] = shape
        scaled = str(kwargs.get("normalize_images", True)) == "True" and _is_bytes(seen)
        # Its preprocessing divides images of bytes by 255 unless the policy was told not to.
        facts["input_scale"] = 255.0 if scaled else 1.0
    spaces = {"observation_space": _space(seen), "action_space": _space(acts)}
    info = {name: plain for name, value in data.items() if name[:1] != "_" and (plain := _plain(value)) is not None}
    method = _METHOD.match(str(policy.get("__init__", "")))
    name = ".".join(filter(None, (str(policy.get("__module__", "")), method[1] if method else "")))
    said = {**info, "policy_class": name}.items()
    # Nothing is not the same as none: a seed of 0 is a seed.
    info = {key: value for key, value in said if value not in ("", [], {}) and key not in spaces}
    more = {**_actions(acts), **_activation(kwargs)}
    if (n_quantiles := _count(kwargs.get("n_quantiles"))) is not None:
        more["n_quantiles"] = n_quantiles
    return Text(facts, more, info, {key: space for key, space in spaces.items() if space}, (name,) if name else ())


def _actions(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many choices there are of how many actions each, or how many numbers an action is."""
    kind, shape = _class(space), space.get("_shape")
    if kind.endswith("MultiDiscrete"):
        # Nine digits are more than any choice has, and no text makes Python convert a number of millions.
        sizes = [int(size) for size in _WHOLE.findall(str(space.get("nvec", ""))) if 0 < len(size) < 10]
        return {"choices": sizes} if sizes and all(sizes) else {}
    if kind.endswith("MultiBinary"):
        return {"policy": "bernoulli"}
    size = _count(shape[0]) if isinstance(shape, list) and len(shape) == 1 else None
    return {"action_dim": size} if kind.endswith("Box") and size is not None else {}


def _activation(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the activation that the arguments of a policy name as a class of torch."""
    found = _CLASS.fullmatch(str(kwargs.get("activation_fn", "")))
    layer = found[1].rpartition(".")[2] if found else ""
    return next(({"activation": item.name} for item in ACTIVATIONS.values() if item.layer == layer), {})


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _class(value: Mapping[str, Any]) -> str:
    found = _CLASS.fullmatch(str(value.get(_TYPE, "")))
    return found[1] if found else ""


def _count(value: Any) -> int | None:
    """Return a positive number, which may be written as the text of one."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        value = int(value)
    return value if type(value) is int and value > 0 else None


def _is_bytes(space: Mapping[str, Any]) -> bool:
    """Whether Stable-Baselines3 takes a space for images of bytes, which it divides by 255."""
    ends = _end(space, "low") or "0", _end(space, "high") or "255"
    return space.get("dtype") == _BYTE and [end.removesuffix(".0") for end in ends] == ["0", "255"]


def _space(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return a space as plain data: its class, shape, dtype and ends."""
    words = {"class": _class(space), "shape": space.get("_shape"), "dtype": space.get("dtype")}
    words |= {"n": _count(space.get("n")), "low": _end(space, "low"), "high": _end(space, "high")}
    return {name: word for name, word in words.items() if word not in (None, "", [])}


def _end(space: Mapping[str, Any], name: str) -> str | None:
    """Return the text of a space's bounds, one number where all are the same; None where it is not said.

    gymnasium writes the short text once somebody looked at the space, and until then only the array.
    """
    short, whole = space.get(f"{name}_repr"), space.get(name)
    if isinstance(short, str) or not isinstance(whole, str):
        return short if isinstance(short, str) else None
    numbers = whole.replace("[", " ").replace("]", " ").split()
    shown = {number for number in numbers if number != "..."}
    if len(shown) == 1:
        return shown.pop()
    return whole if "..." not in numbers else None


def _plain(value: Any) -> Any:
    """Return a setting without its pickles and addresses; None where nothing else is left."""
    if not isinstance(value, dict):
        return value
    kept = {name: _plain(item) for name, item in value.items() if name != _PICKLE and not name.startswith("__")}
    kept = {name: item for name, item in kept.items() if not (isinstance(item, str) and _CODE.search(item))}
    kind = _class(value)
    if _TYPE in kept:
        kept = {"class": kind, **{name: item for name, item in kept.items() if name != _TYPE}} if kind else {}
    return {name: item for name, item in kept.items() if item is not None} or None


def _d3rlpy(data: Mapping[str, Any]) -> Text:
    config = _dict(data.get("config"))
    params = _dict(config.get("params"))
    kind, shape = str(config.get("type", "")), data.get("observation_shape")
    facts: dict[str, Any] = {}
    # Of the others `action_size` counts the numbers that an action is.
    discrete = kind in ("dqn", "double_dqn", "nfq") or kind.startswith("discrete_")
    if discrete and (n_action := _count(data.get("action_size"))):
        facts["n_action"] = n_action
    if (image := image_shape(shape)) is not None:
        facts["input_shape"] = image
        scaler = _dict(params.get("observation_scaler")).get("type", "none")
        if scaler in ("pixel", "none"):
            # Other scalers learn their numbers from the data and keep them elsewhere.
            facts["input_scale"] = 255.0 if scaler == "pixel" else 1.0
    heads = str(_dict(params.get("q_func_factory")).get("type", ""))
    agent = (kind, *({"qr": ("quantile",), "iqn": ("iqn",), "fqf": ("fqf",)}.get(heads, ())))
    spaces = {"observation_space": {"shape": shape}, "action_space": {"n": data.get("action_size")}}
    return Text(facts, {}, {"type": kind, **params}, spaces if shape else {}, tuple(filter(None, agent)))


def _keras(data: Mapping[str, Any]) -> Text:
    # Brought for the models of Keras alone.
    from ckptfmt.convert.wired import wired
    from ckptfmt.legacy.containers.keraslayers import layers_in

    told = wired(layers_in(data))
    return Text(facts=told.facts, more=told.more, wiring=told.wiring)


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Text]] = {
    "data": _stable_baselines, "config": _d3rlpy, "keras": _keras,
}  # fmt: skip
