"""Fixed quantiles of the return of each action (QR-DQN, Dabney et al. 2018)."""

from dataclasses import dataclass
from math import prod

from ckptfmt.families.blocks import Tensors
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.claims import recogniser
from ckptfmt.families.config import one_of, positive
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.names import words
from ckptfmt.families.network import noise_names
from ckptfmt.families.outline import Unit
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides
from ckptfmt.families.streams import Streams, StreamsConfig, read_streams, stream_tensors, told_streams
from ckptfmt.families.vocabulary import meaning
from ckptfmt.format.document import value

__all__ = ["EMBEDDING", "FAMILY", "QuantileQConfig", "is_quantile", "levels"]

# Words for the layer through which fractions are seen by a network of implicit quantiles.
EMBEDDING = frozenset({"cos", "cosine", "cosines", "embed", "embedding", "phi", "tau", "taus", "iqn"})
# How far levels may lie from the middles of as many even steps, as a part of a step.
_CLOSE = 0.05


@dataclass(frozen=True, kw_only=True)
class QuantileQConfig(StreamsConfig):
    """What a network of fixed quantiles is rebuilt from."""

    family = "quantile-q"

    n_quantiles: int = value(positive, "Quantiles of the return of each action.")
    order: str = value(
        one_of("action", "quantile"),
        "Whose rows lie together: those of an action or those of a quantile.",
        default="action",
    )

    @property
    def per_action(self) -> int:
        """Return how many rows of the head an action has."""
        return self.n_quantiles


def is_quantile(text: str) -> bool:
    """Whether a text speaks of quantiles."""
    return any(meaning(word) == "quantile" or word.startswith("quantile") for word in words(text))


def levels(draft: Draft) -> Unit | None:
    """Return the vector that holds the levels of quantiles, the middles of even steps from 0 to 1; None for none."""
    for unit in draft.outline.vectors:
        size = prod(unit.shape)
        if size < 2 or size != max(unit.shape) or draft.seen.values is None:
            continue
        found = draft.seen.values(unit.name)
        # Dabney et al. 2018, lemma 2: the quantiles are those at the middles of even steps.
        if all(abs(level * size - i - 0.5) < _CLOSE for i, level in enumerate(found)):
            return unit
    return None


def _tensors(config: QuantileQConfig) -> Tensors:
    return stream_tensors(config)


def _name(config: QuantileQConfig) -> str:
    words_ = ("dueling" if config.dueling else "", "quantile", "noisy" if config.is_noisy else "")
    return "+".join(filter(None, words_))


def _read(draft: Draft, sides: Sides) -> Proposal:
    streams = told_streams(sides)
    witnesses = _witnesses(draft, sides)
    if not witnesses and draft.seen.facts.architecture is None:
        raise Unfit("nothing says that it gives quantiles")
    count = _count(draft, streams)
    draft.infer(n_quantiles=count)
    read_streams(draft, streams, count)
    draft.take(order="action", activation="relu", input_scale=1.0)
    if draft.said("n_quantiles") == count:
        draft.origin["n_quantiles"] = draft.seen.facts.origin("n_quantiles")
    sees = f"{count} quantiles of each of {draft.fields['n_action']} actions"
    return draft.propose(FAMILY, what="a quantile network", sees=sees, witnesses=witnesses)


def _witnesses(draft: Draft, sides: Sides) -> list[Witness]:
    found = []
    if vector := levels(draft):
        draft.drop([vector.name], "levels that follow from their number")
        found.append(Witness("structure", f"{vector.name} holds the levels of quantiles"))
    for row in sides.own:
        if any(map(is_quantile, row.path)):
            found.append(Witness("word", f"{row.units[0].name} is a name of quantiles"))
            break
    if said := next(filter(is_quantile, (*draft.seen.context, *draft.seen.agents)), ""):
        found.append(Witness("class", f"'{said}' is a name of a quantile network"))
    return found


def _count(draft: Draft, streams: Streams) -> int:
    """Return how many quantiles there are: by the rows of a value, the levels, what is said, or the actions."""
    if streams.advantage is not None:
        return streams.value.heads[0].outputs
    if vector := levels(draft):
        return prod(vector.shape)
    if (said := draft.said("n_quantiles")) is not None:
        return int(said)
    actions = draft.said("n_action")
    if actions and streams.rows % actions == 0 and streams.rows > actions:
        return int(streams.rows // actions)
    why = f"how {streams.rows} rows are actions times quantiles cannot be told"
    # With an embedding of fractions beside they are none of fixed ones, however many actions there are.
    embedded = any(EMBEDDING & {*words(piece)} for chain in streams.chains for unit in chain for piece in unit.path)
    raise Unfit(why, *(() if embedded else ("n_action",)))


FAMILY = Family(
    name="quantile-q",
    about="Fixed quantiles of the return of each action",
    examples=("quantile", "dueling+quantile", "quantile+noisy"),
    told_by="words, or levels in the file",
    never="how rows split into actions and quantiles, and whose lie together",
    config=QuantileQConfig,
    network_name=_name,
    tensors=_tensors,
    optional=noise_names,
    recognise=recogniser(QuantileQConfig.family, _read, cells=False),
)
