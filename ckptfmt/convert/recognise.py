"""A network of a legacy file, put before the families with all that lies around it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ckptfmt.convert.declared import Declared
from ckptfmt.convert.settings import merged
from ckptfmt.errors import printable
from ckptfmt.families.answer import Classification
from ckptfmt.families.evidence import Facts, Wiring
from ckptfmt.families.names import words
from ckptfmt.families.skeleton import Copied, Skeleton
from ckptfmt.families.tell import tell
from ckptfmt.families.vocabulary import is_of_policy
from ckptfmt.legacy.find.copies import is_network
from ckptfmt.legacy.find.find import Network

__all__ = ["classify_network", "merge"]

# "old" alone is what copies of policies are called; Tianshou has a model_old beside Q-networks only.
_TARGETS = frozenset({"target", "targets", "targ", "tgt"})
_EXPLORING, _NO_CHANCE = frozenset({"epsilon", "exploration"}), frozenset({"clip", "clipping", "adam", "optimizer"})
# Words of settings that speak of bins, of an action or of returns, and of branches, each of which chooses.
_BINS = frozenset({"bins", "branches", "branching", "symlog", "twohot"})


def classify_network(
    network: Network, declared: Declared, given: Mapping[str, Any], others: Sequence[Network] = ()
) -> Classification:
    """Return which of the eight networks this is, on the evidence of its tensors, what lay beside and `given`.

    `others` are all networks of the file: an actor or a second critic among them tells what this one is.
    """

    if network.unread:
        name, kind = next(iter(network.unread.items()))
        return Classification(refusal=f"{printable(name)} is a {kind}, which cannot be stored")

    if not network.is_classified:
        return Classification(refusal=f"{len(network.tensors):,} tensors are more than any network here has")

    def values(name: str) -> list[float]:
        return [float(number) for number in network.tensors[name].numbers()]

    # Of what kind actions are is no field, which settings could answer once it is asked for.
    facts = replace(merge(declared.facts, given), actions=declared.facts.actions or declared.settings.actions)
    seen = Skeleton(
        shapes=network.shapes,
        values=values,
        facts=facts,
        context=(*network.context, *declared.agent, *_exploration(network)),
        agents=declared.agent,
        wiring=network.wiring if network.wiring != Wiring() else _below(declared.wiring, network),
        others={other.path: other.shapes for other in others if other is not network and _is_of_its_own(other)},
        beside=tuple(other.path for other in others if other is not network and other.role in ("online", "unknown")),
        copied=_copied(network, others),
        file=declared.file,
        choices=_choices(declared),
    )
    return _settled(tell(seen), seen, declared.settings)


def _below(wiring: Wiring, network: Network) -> Wiring:
    """Return what a text says of layers, by the names that they have in this network."""
    windows = {name.removeprefix(network.prefix): window for name, window in wiring.windows.items()}
    return replace(wiring, windows=windows)


def _settled(answer: Classification, seen: Skeleton, settings: Facts) -> Classification:
    """Let settings beside the weights answer what these leave open, one by one; they never overrule them."""
    # Nothing was asked, so there is nothing that settings could answer.
    if answer.chosen is None and not answer.options:
        return answer
    # Numbers of quantiles come first: they say that rows are no atoms.
    for name, value in {**settings.more, **settings.known()}.items():
        if seen.facts.field(name) is not None or not _is_open(answer, name):
            continue
        said = {"more": {**seen.facts.more, name: value}} if name in settings.more else {name: value}
        facts = replace(seen.facts, **said, declared=seen.facts.declared | {name})
        fuller = tell(replace(seen, facts=facts))
        if fuller.chosen is not None or (answer.chosen is None and fuller.options):
            answer, seen = fuller, replace(seen, facts=facts)
    return answer


def _is_open(answer: Classification, name: str) -> bool:
    return answer.chosen is None or answer.chosen.origin.get(name) == "assumed"


def _exploration(network: Network) -> Iterator[str]:
    """Yield the settings beside a network that say it explores by chance, as only value networks do."""
    for key in network.facts:
        said = frozenset(words(key))
        if said & _EXPLORING and not said & _NO_CHANCE:
            yield key


def _choices(declared: Declared) -> str:
    """Return the setting that says that outputs are bins, or those of several choices, "" where there is none."""
    settings = merged(declared.training_info)
    return next((key for key, value in settings.items() if value and _BINS & frozenset(words(key))), "")


def _is_of_its_own(network: Network) -> bool:
    return network.role not in ("target", "optimizer") and is_network(network.tensors.values())


def _copied(network: Network, others: Sequence[Network]) -> Copied:
    """Return as what a network is called of which a target copy lies beside it; "" where none does."""
    copies = [_pieces(other) for other in others if _is_copy(other, network)]
    if not copies:
        return ""
    return "policy" if is_of_policy([_pieces(network)], copies) else "network"


def _pieces(network: Network) -> list[str]:
    return re.split(r"[/.]", network.path)


def _is_copy(other: Network, network: Network) -> bool:
    """Whether another network is the target copy of this one, and called so; an old policy is no such copy."""
    return other.role == "target" and other.shapes.sizes == network.shapes.sizes and _is_called_target(other)


def _is_called_target(network: Network) -> bool:
    texts = (network.path, *network.tensors)
    return any(_TARGETS & frozenset(words(text)) or "model_old" in text for text in texts)


def merge(declared: Facts, given: Mapping[str, Any]) -> Facts:
    """Return what the file declares, overruled by what the user gives."""
    spoken = {name: value for name, value in given.items() if value is not None}
    more = spoken.pop("more", {})
    silent = declared.declared - frozenset(spoken) - frozenset(more)
    return replace(declared, **spoken, more={**declared.more, **more}, declared=silent)
