"""Quantiles at any fraction, through a cosine embedding (IQN, Dabney et al. 2018; FQF, Yang et al. 2019)."""

from dataclasses import dataclass

from ckptfmt.families.blocks import Body, Tensors, body_kind, body_tensors, linear_tensors
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.claims import recogniser
from ckptfmt.families.config import one_of, positive
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.habits import habit_of
from ckptfmt.families.names import words
from ckptfmt.families.network import NetworkConfig, noise_names
from ckptfmt.families.outline import Chain, Row, fits
from ckptfmt.families.quantile_q import EMBEDDING, levels
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides, chained
from ckptfmt.format.document import value
from ckptfmt.format.kinds import optional

__all__ = ["FAMILY", "ImplicitQuantileConfig", "is_implicit"]

# An embedding may be one of a goal or a task as well.
_OF_FRACTIONS = frozenset({
    "cos", "cosine", "cosines", "tau", "taus", "iqn", "fqf", "quantile", "quantiles", "fraction", "fractions",
})  # fmt: skip
_FRACTION = frozenset({"fraction", "fractions", "proposal", "fpn", "fqf"})


@dataclass(frozen=True, kw_only=True)
class ImplicitQuantileConfig(NetworkConfig):
    """What a network of implicit quantiles is rebuilt from.

    The trunk's features are multiplied with activation(embedding(cos(π i τ))), i from `first_cosine` on.
    """

    family = "implicit-quantile-q"

    n_action: int = value(positive, "How many actions the network values.")
    n_cosines: int = value(positive, "Cosines of each fraction.")
    first_cosine: str = value(one_of("0", "1"), "The first multiple of π.", default="1")
    quantile_trunk: Body = value(body_kind, "Between the product and the quantiles of the actions.", default=())
    # Dabney et al. 2018: K = 32.
    n_taus: int = value(positive, "Fractions over which Q-values are the mean, where none are proposed.", default=32)
    n_fractions: int | None = value(
        optional(positive), "Fractions that a layer over the features proposes (FQF); null for none.", default=None
    )


def _tensors(config: ImplicitQuantileConfig) -> Tensors:
    found, seen = config.shared()
    size = 1
    for length in seen:
        size *= length
    found |= linear_tensors("embedding", size, config.n_cosines)
    body, features = body_tensors("quantile", config.quantile_trunk, (size,))
    found |= body | linear_tensors("quantiles", config.n_action, features[0])
    return found | (linear_tensors("fractions", config.n_fractions, size) if config.n_fractions else {})


def _read(draft: Draft, sides: Sides) -> Proposal:
    embedding, fraction, chain, cut = _parts(sides)
    texts = (*(".".join(row.path) for row in sides.own), *draft.seen.context, *draft.seen.agents, draft.seen.file)
    layout = habit_of(draft.seen.shapes).name
    told = layout or draft.seen.facts.architecture
    if not told and not any(_OF_FRACTIONS & {*words(text)} for text in texts):
        raise Unfit(f"nothing says that {embedding.units[0].name} embeds fractions", "architecture")
    inputs = (*chain.units, *chain.heads)[cut].inputs
    draft.body("trunk", "trunk", chain.units[:cut], inputs, last=habit_of(draft.seen.shapes).fields.get("last"))
    draft.observe(chain.units[0])
    draft.body("quantile_trunk", "quantile", chain.units[cut:], chain.features)
    draft.head("embedding", embedding.units[0])
    draft.head("quantiles", chain.heads[0])
    draft.infer(n_action=chain.heads[0].outputs, n_cosines=embedding.units[0].inputs)
    if fraction is not None:
        draft.head("fractions", fraction.units[0])
        draft.infer(n_fractions=fraction.units[0].outputs)
    if vector := levels(draft):
        draft.drop([vector.name], "levels that follow from their number")
    # Dabney et al. 2018 choose an action by 32 fractions.
    draft.take(activation="relu", input_scale=1.0, first_cosine="1", n_taus=32)
    sees = f"{embedding.units[0].name} embeds cosines as wide as the features"
    return draft.propose(FAMILY, what="an implicit quantile network", sees=sees, witnesses=[Witness("structure", sees)])


def is_implicit(sides: Sides) -> bool:
    """Whether a layer embeds cosines as wide as the features."""
    try:
        _parts(sides)
    except Unfit:
        return any(_is_beside(row, sides) for row in sides.own)
    return True


def _is_beside(embedding: Row, sides: Sides) -> bool:
    """Whether a layer is named as an embedding is, and what comes behind it would take what comes before it as well."""
    if len(embedding.units) > 1 or not EMBEDDING & ({*embedding.words} - sides.common):
        return False
    others = [row for row in sides.own if row is not embedding]
    takers = [row for row in others if row.units[0].inputs == embedding.outputs]
    return any(fits(giver.units[-1], taker.units[0]) for taker in takers for giver in others if giver is not taker)


def _parts(sides: Sides) -> tuple[Row, Row | None, Chain, int]:
    """Return the embedding, the proposal of fractions, all other layers, and behind how many the product lies."""
    lone = [row for row in sides.own if len(row.units) == 1 and row.units[0].kind == "linear"]
    why = "no layer embeds cosines as wide as the features"
    for fraction in (None, *(row for row in lone if _FRACTION & {*row.words})):
        for embedding in lone:
            if embedding is fraction or not EMBEDDING & ({*embedding.words} - sides.common):
                continue
            chain = chained([row for row in sides.own if row not in (embedding, fraction)])
            cut = _cut(chain, embedding, sides) if chain else 0
            if not chain or (not chain.is_pixels and chained(sides.own)):
                continue
            if cut and (fraction is None or fraction.units[0].inputs == embedding.outputs):
                return embedding, fraction, chain, cut
            why = why if cut else f"behind which layer {embedding.units[0].name} comes in cannot be told"
    raise Unfit(why)


def _cut(chain: Chain, embedding: Row, sides: Sides) -> int:
    """Return behind how many layers the features are as wide as the embedding; 0 where that is nowhere or open.

    Of several places it is the one where one row of layers ends and the next begins.
    """
    units = (*chain.units, *chain.heads)
    wide = [i for i in range(1, len(units)) if units[i].inputs == embedding.outputs]
    starts = {row.units[0].path for row in sides.own}
    ends = [i for i in wide if units[i].path in starts]
    found = ends if len(ends) == 1 else wide
    return found[0] if len(found) == 1 and len(chain.heads) == 1 else 0


FAMILY = Family(
    name="implicit-quantile-q",
    about="Quantiles at any fraction, through a cosine embedding",
    examples=("iqn", "fqf"),
    told_by="an embedding as wide as the features and fed by none",
    never="the first multiple of pi, how many fractions are played",
    config=ImplicitQuantileConfig,
    network_name=lambda config: "fqf" if config.n_fractions else "iqn",
    tensors=_tensors,
    optional=noise_names,
    recognise=recogniser(ImplicitQuantileConfig.family, _read, cells=False),
)
