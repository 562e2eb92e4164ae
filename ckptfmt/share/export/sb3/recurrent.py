"""The memory of RecurrentPPO's policies: one LSTM, or one each, and what stands for that of the value."""

from typing import Any

from ckptfmt.families.blocks import Cell
from ckptfmt.share.export.sb3.layers import LIBRARY, Row, Seen
from ckptfmt.share.export.target import require

__all__ = ["remembering"]

Names = dict[str, tuple[str, ...]]

_ACTOR, _CRITIC = "lstm_actor", "lstm_critic"


def remembering(shared: Seen | None, policy: Seen, value: Seen) -> tuple[Names, Row, dict[str, Any]]:
    """Return {our name: their names} of the cells, the linear layers of the value, and what the policy is made with.

    Raises `ConversionError` where RecurrentPPO has no such memory.
    """
    if shared is not None and shared.cell is not None:
        require(not policy.cell and not value.cell, f"{LIBRARY}'s RecurrentPPO has one LSTM, or one for each side")
        kwargs = {**_sizes(shared.cell), "shared_lstm": True, "enable_critic_lstm": False}
        return {shared.remembers: (_ACTOR,)}, value.row, kwargs
    require(policy.cell is not None, f"{LIBRARY}'s RecurrentPPO has an LSTM before its policy")
    assert policy.cell is not None
    names: Names = {policy.remembers: (_ACTOR,)}
    if value.cell:
        require(value.cell == policy.cell, f"{LIBRARY}'s RecurrentPPO has LSTMs of one size for policy and value")
        return {**names, value.remembers: (_CRITIC,)}, value.row, _sizes(policy.cell)
    # A linear layer then brings what is seen to the size of what the policy remembers.
    stands = value.row.sizes[:1] == (policy.cell.size,) and value.row.activations[0] == "none"
    require(stands, f"{LIBRARY}'s RecurrentPPO has a linear layer of the LSTM's size in place of the value's LSTM")
    names[value.row.names[0]] = ("critic",)
    return names, value.row.behind(1), {**_sizes(policy.cell), "enable_critic_lstm": False}


def _sizes(cell: Cell) -> dict[str, Any]:
    return {"lstm_hidden_size": cell.size, "n_lstm_layers": cell.layers}
