"""Which network of a file is taken, and what it is: all together where they belong together, else the likeliest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ckptfmt.convert.copies import below
from ckptfmt.convert.declared import Declared
from ckptfmt.convert.recognise import classify_network
from ckptfmt.convert.tidy import Tidied, Workshop, tidy
from ckptfmt.convert.whole import whole_of
from ckptfmt.errors import ConversionError, printable
from ckptfmt.families.answer import Classification
from ckptfmt.format.record import record
from ckptfmt.legacy.find.find import Network, twins

__all__ = ["Chosen", "choose"]

_Declare = Callable[[Network], Declared]


@record
class Chosen:
    """A network, what its file declares, what it is, and the plain network by which it was told where only that was."""

    network: Network
    declared: Declared
    answer: Classification
    tidied: Tidied | None = None

    @property
    def is_told(self) -> bool:
        """Whether it is known what the network is."""
        return self.answer.chosen is not None and not self.answer.refusal


def choose(
    found: Sequence[Network], given: Mapping[str, Any], declare: _Declare, *, key: str | None, where: str
) -> Chosen:
    """Return the network of a file that is taken; raise `ConversionError` where nothing decides between two.

    `declare` reads what the file says of a network. Who names one network by its `key` has said that the others do
    not matter.
    """
    if given.get("architecture") == "none":
        first = _eligible(found, key, where)[0]
        return Chosen(first, declare(first), Classification(refusal="not looked for"))
    workshop = Workshop()
    # First all together: an actor alone would be told too, and its critics be lost.
    whole = whole_of(found) if key is None else None
    if whole is not None:
        together = _tell(whole, declare(whole), given, (), workshop)
        # Where it is open which of them belong together, one of them taken alone would be a guess.
        if together.is_told or "key" in together.answer.options:
            return together
    tried: list[Chosen] = []
    for network in _eligible(found, key, where):
        others = [other for other in found if other is not network] if key is None else []
        tried.append(_tell(network, declare(network), given, others, workshop))
        if tried[-1].is_told:
            break
    # Where none is told, the likeliest one says why.
    return tried[-1] if tried[-1].answer.chosen else tried[0]


def _tell(
    network: Network, declared: Declared, given: Mapping[str, Any], others: Sequence[Network], workshop: Workshop
) -> Chosen:
    told = Chosen(network, declared, classify_network(network, declared, given, others))
    tidied = None if told.is_told else tidy(network.tensors, workshop)
    if tidied is None:
        return told
    answer = classify_network(replace(network, tensors=tidied.tensors), declared, given, others)
    plain = Chosen(network, declared, answer, tidied)
    return plain if plain.is_told or answer.options else told


def _eligible(networks: Sequence[Network], key: str | None, path: str) -> tuple[Network, ...]:
    if key is not None:
        if not (chosen := tuple(network for network in networks if network.path == key) or tuple(below(networks, key))):
            paths = (
                ", ".join(f"'{network.path}'" if network.path else "'' (the root)" for network in networks) or "none"
            )
            raise ConversionError(
                f"holds no network at '{printable(key)}'", where=path, fix=f"choose one of: {paths}", code="convert.key"
            )
        return chosen
    if alike := twins(networks):
        paths = " and ".join(f"'{printable(name)}'" for name in alike)
        raise ConversionError(
            f"holds networks that are equally likely: {paths}",
            where=path,
            fix="choose one with key=",
            code="convert.key",
        )
    # A target is an older copy of the network that was trained.
    online = tuple(network for network in networks if network.role not in ("optimizer", "target"))
    return tuple(network for network in online if not network.is_recorded) or online or tuple(networks)
