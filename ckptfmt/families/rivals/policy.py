"""A policy saved alone: logits of discrete actions, or the mean and deviation of continuous ones."""

import re
from collections.abc import Iterator, Sequence
from math import prod

from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.names import parse
from ckptfmt.families.skeleton import Layer, Skeleton
from ckptfmt.families.vocabulary import meanings

__all__ = ["both_signs", "recognise"]

_WHAT = "a policy"
_TOLD = frozenset({"policy", "mean", "deviation"})
# The parts of noisy layers are called so as well.
_KINDS = frozenset({"mean", "deviation"})
# So many numbers are read at most; nearly all of a trained sigma have one sign, half of those of a stream.
_MOST_NUMBERS, _ONE_SIGN = 4096, 0.9


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose a policy wherever there is one head, or two of which one is a deviation."""
    if streams := _gaussian_streams(seen):
        yield Proposal(family="policy", name="gaussian", what=_WHAT, sees=streams.says, witnesses=(streams,))
    if deviation := _deviation(seen):
        yield Proposal(family="policy", name="gaussian", what=_WHAT, sees=deviation.says, witnesses=(deviation,))
    sigmas = any(parse(name).kind == "sigma" for name in seen.shapes)
    beside_a_value = any(head.shape[0] == 1 for head in seen.heads) and len(seen.heads) > 1
    for layer in () if beside_a_value else (*seen.linear, *seen.convolutions):
        if told := meanings(seen.own(layer)) & _TOLD - (_KINDS if sigmas else frozenset()):
            name = "deterministic" if "mean" in told else "categorical"
            says = f"{layer.name} is named as a layer of a policy is"
            yield Proposal(family="policy", name=name, what=_WHAT, sees=says, witnesses=(Witness("word", says),))
    if seen.wiring.softmax and not any(layer.kind == "vector" for layer in seen.layers):
        says = "its module ends in a softmax, as a policy does"
        yield Proposal(family="policy", name="categorical", what=_WHAT, sees=says, witnesses=(Witness("class", says),))
    if len(seen.heads) == 1:
        yield Proposal(family="policy", name="categorical", what=_WHAT, sees="one head of logits")


def _gaussian_streams(seen: Skeleton) -> Witness | None:
    """Sigmas that carry both signs are no sigmas: a network of means beside one of deviations."""
    layers = [layer for layer in seen.linear if layer.noisy]
    for layer in layers:
        noise = any(parse(name).kind == "noise" for name in layer.tensors)
        if noise or _inside(layer.name) or seen.values is None:
            continue
        sigma = _sigma(layer, seen)
        numbers = seen.values(sigma) if sigma else ()
        if numbers and len(numbers) == prod(seen.shapes[sigma]) and both_signs(numbers):
            return Witness("structure", f"{sigma} has values of both signs, so it is no sigma but a stream of its own")
    return None


def _inside(name: str) -> bool:
    """Whether the mean is a part of a layer (`fc1.mu.weight`, `fc1.weight_mu`) and not a layer (`fc1_mu.weight`)."""
    pieces = [parse(piece) for piece in re.split(r"[./]", name)]
    mean = next((piece for piece in pieces if piece.kind is not None), None)
    return mean is None or not any(len(word) > 1 or word.isdigit() for word in mean.stem)


def _sigma(layer: Layer, seen: Skeleton) -> str:
    """Return the largest sigma of a layer that is small enough to be looked through."""
    sizes = {name: prod(seen.shapes[name]) for name in layer.tensors if parse(name).kind == "sigma"}
    small = {name: size for name, size in sizes.items() if size <= _MOST_NUMBERS}
    return max(small, key=lambda name: small[name], default="")


def both_signs(numbers: Sequence[float]) -> bool:
    """Return whether numbers are no deviations: those of noisy layers begin at one number, and few cross zero."""
    most = max(sum(number > 0 for number in numbers), sum(number < 0 for number in numbers))
    return most < _ONE_SIGN * len(numbers)


def _deviation(seen: Skeleton) -> Witness | None:
    for layer in seen.layers:
        if layer.kind == "vector" and meanings(seen.own(layer)) == {"deviation"}:
            return Witness("word", f"{layer.name} is the deviation of a Gaussian policy")
    return None
