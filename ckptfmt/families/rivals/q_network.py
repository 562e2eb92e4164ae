"""Several heads of action values on one trunk: twin critics, a bootstrapped ensemble."""

from collections import Counter
from collections.abc import Iterator

from ckptfmt.families.claim import Proposal, Witness
from ckptfmt.families.skeleton import Skeleton

__all__ = ["recognise"]

_NUMBERS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def recognise(seen: Skeleton) -> Iterator[Proposal]:
    """Propose an ensemble wherever two or more heads have as many rows, more than one."""
    if not seen.named or any(layer.noisy for layer in seen.linear):
        return
    for rows, count in Counter(head.shape[0] for head in seen.heads).items():
        if count > 1 and rows > 1 and count == len(seen.heads):
            number = _NUMBERS[count] if count < len(_NUMBERS) else str(count)
            what = "twin critics" if count == 2 else "a bootstrapped network"
            says = f"it has {number} heads of {rows} rows on one trunk, as {what} or an ensemble has"
            yield Proposal(
                family="q-network", name="twin-dqn", what=what, sees=says, witnesses=(Witness("structure", says),)
            )
