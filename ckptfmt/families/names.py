"""Tensor names as words: which layer a tensor belongs to, which part of it, and what makes us wary.

Names are written by strangers. They may relate tensors to each other, break ties and raise suspicion; what a
network is follows from shapes.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

from ckptfmt.format.record import record

__all__ = ["Name", "kin", "leads", "parse", "stream", "suspicion", "words"]

Part = Literal["weight", "bias"]
Kind = Literal["mean", "sigma", "noise"]

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# No name of a layer is longer; a text of a file may be, and each is looked at many times.
_LONGEST = 1024

_PARTS: dict[str, Part] = {
    "weight": "weight", "weights": "weight", "kernel": "weight", "bias": "bias", "biases": "bias",
}  # fmt: skip
_SHORT_PARTS: dict[str, Part] = {"w": "weight", "b": "bias"}
_KINDS: dict[str, Kind] = {
    "mu": "mean", "u": "mean", "mean": "mean", "means": "mean", "mus": "mean",
    "sigma": "sigma", "sigmas": "sigma", "sig": "sigma", "std": "sigma", "stddev": "sigma",
    "eps": "noise", "epsilon": "noise", "epsilons": "noise", "noise": "noise",
}  # fmt: skip

_STREAMS = {"v": "value", "vs": "value", "state": "value", "a": "advantage"}

_QUANTILE = frozenset({"qr", "qrdqn", "iqn", "fqf", "tau", "taus", "expectile", "expectiles"})
_ACTOR = frozenset({
    "actor", "critic", "policy", "pi", "logits", "logit", "logstd", "baseline", "ppo", "trpo", "ddpg", "vpg", "acktr",
})  # fmt: skip
_OTHER = frozenset({
    "projection", "projector", "predictor", "decoder", "reward", "inverse", "discriminator", "icm", "rnd",
    "curl", "byol", "successor", "termination",
})  # fmt: skip
_Q_VALUE = ("q", "value")
# In texts around a network "policy" and "tau" are everyday words of DQN code, unlike inside a network.
_EVERYDAY = frozenset({"policy", "tau", "taus", "reward", "baseline", "inverse"})
# Names whose digits `words` would part from their letters.
_ACTOR_CODES = re.compile(r"(?<![a-z])a[23]c(?![a-z])", re.IGNORECASE)


@record
class Name:
    """A tensor name taken apart: the words of its layer, the part (weight or bias), the kind of noisy part."""

    stem: tuple[str, ...]
    part: Part | None
    kind: Kind | None


def words(text: str) -> tuple[str, ...]:
    """Return the words of a name in lower case: `fc_h_v.weight_mu` is fc, h, v, weight, mu.

    Of a text that is far longer than any name these are the words of its beginning and its end.
    """
    return _words(text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} {text[-_LONGEST // 2 :]}")


# Each family takes the same names apart, of some hundred tensors; bounded, since whoever wrote a file chose them.
@lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(text))


@lru_cache(maxsize=4096)
def parse(name: str) -> Name:
    """Take a tensor name apart; words that say neither part nor kind make the stem."""
    found = words(name)
    part = _last(found, _PARTS)
    if part is None:
        part = _short_part(found)
    kind = _last(found, _KINDS)
    stem = tuple(word for i, word in enumerate(found) if i not in (part, kind))
    return Name(
        stem,
        None if part is None else (_PARTS | _SHORT_PARTS)[found[part]],
        None if kind is None else _KINDS[found[kind]],
    )


def leads(name: str) -> bool:
    """Return whether the word for the kind comes before words of the layer, as in `sigma_net.fc1.weight`."""
    found = words(name)
    kind, stem = _last(found, _KINDS), parse(name).stem
    return (
        kind is not None
        and bool(stem)
        and found[kind + 1 :] != ()
        and any(word not in _PARTS and word not in _SHORT_PARTS for word in found[kind + 1 :])
    )


def _last(found: tuple[str, ...], known: dict[str, Part] | dict[str, Kind]) -> int | None:
    return next((i for i in reversed(range(len(found))) if found[i] in known), None)


def _short_part(found: tuple[str, ...]) -> int | None:
    """`mu_W`, `b_fc1`, `fc1_w`: a single letter counts at either end, or beside a word for the kind."""
    for i in reversed(range(len(found))):
        beside = {*found[max(i - 1, 0) : i], *found[i + 1 : i + 2]}
        if found[i] in _SHORT_PARTS and (i in (0, len(found) - 1) or beside & _KINDS.keys()):
            return i
    return None


def stream(stem: Iterable[str]) -> Literal["value", "advantage"] | None:
    """Return which stream of a dueling network the words of a stem speak of, None for neither or both."""
    spoken = {_stream(word) for word in stem} & {"value", "advantage"}
    return spoken.pop() if len(spoken) == 1 else None  # type: ignore[return-value]


def _stream(word: str) -> str:
    if word.startswith("adv"):
        return "advantage"
    if word.startswith("val"):
        return "value"
    return _STREAMS.get(word, word)


def kin(stem: Iterable[str]) -> frozenset[str]:
    """Return the words of a stem with all words for one stream made one."""
    return frozenset(_stream(word) for word in stem)


def suspicion(names: Iterable[str], context: Iterable[str] = ()) -> tuple[str, str]:
    """Return which of the names, or of texts around them, speaks of another kind of network, and of which; else "", "".

    Words that all names share are part of a wrapper's name and count as text around the network.
    """
    split = {name: words(name) for name in names}
    shared = frozenset.intersection(*map(frozenset, split.values())) if split else frozenset()
    for name, found in split.items():
        if _ACTOR_CODES.search(name):
            return name, "actor-critics"
        if what := _verdict(tuple(word for word in found if word not in shared or word not in _EVERYDAY)):
            return name, what
    for text in context:
        if _ACTOR_CODES.search(text):
            return text, "actor-critics"
        if what := _verdict(tuple(word for word in words(text) if word not in _EVERYDAY)):
            return text, what
    return "", ""


def _verdict(found: tuple[str, ...]) -> str:
    for i, word in enumerate(found):
        if word.startswith("quant") or word in _QUANTILE:
            return "quantile networks"
        # An actor that takes the best of Q-values (TorchRL's QValueActor) is a Q-network.
        if word in _ACTOR and not (word == "actor" and found[max(i - 2, 0) : i] == _Q_VALUE):
            return "actor-critics"
        if word in _OTHER:
            return "something beside or before a Q-network"
    return ""
