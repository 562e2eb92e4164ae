"""Q-values behind a recurrent cell (DRQN, R2D2), in one stream or in two."""

from dataclasses import dataclass

from ckptfmt.families.blocks import Tensors
from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.claims import q_witnesses, recogniser
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.heads import head_meaning
from ckptfmt.families.network import noise_names
from ckptfmt.families.registry import Family
from ckptfmt.families.sides import Sides
from ckptfmt.families.streams import StreamsConfig, read_streams, stream_tensors, told_streams

__all__ = ["FAMILY", "RecurrentQConfig"]

_ASSUMED = "that its rows are Q-values is assumed, since the logits of a recurrent policy have the same tensors"


@dataclass(frozen=True, kw_only=True)
class RecurrentQConfig(StreamsConfig):
    """What a recurrent Q-network is rebuilt from."""

    family = "recurrent-q"


def _tensors(config: RecurrentQConfig) -> Tensors:
    return stream_tensors(config)


def _name(config: RecurrentQConfig) -> str:
    return f"{'dueling+' if config.dueling else ''}{config.cell_name().removeprefix('+')}"


def _read(draft: Draft, sides: Sides) -> Proposal:
    streams = told_streams(sides)
    read_streams(draft, streams)
    if draft.fields["n_action"] < 2:
        raise Unfit("its head gives one number")
    draft.take(activation="relu", input_scale=1.0)
    witnesses = list(q_witnesses(draft, sides))
    if streams.why:
        witnesses.append(Witness("word", streams.why))
    valued = streams.advantage is None and head_meaning(streams.value.heads[0]) == {"value"}
    sees = f"a cell before {draft.fields['n_action']} rows"
    return draft.propose(
        FAMILY, what="a recurrent Q-network", sees=sees, witnesses=witnesses, assumes=_ASSUMED if valued else ""
    )


FAMILY = Family(
    name="recurrent-q",
    about="Q-values behind an LSTM or a GRU",
    examples=("lstm", "gru", "dueling+lstm"),
    told_by="words for Q-values behind a cell of three or four gates",
    never="logits from Q-values",
    config=RecurrentQConfig,
    network_name=_name,
    tensors=_tensors,
    optional=noise_names,
    recognise=recogniser(RecurrentQConfig.family, _read, cells=True),
)
