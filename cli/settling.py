"""What a settlement measured, on the command line."""

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any

from ckptfmt.families.blocks import Convs
from ckptfmt.families.encoder import Conv, Encoder
from ckptfmt.rl.settle import settle
from ckptfmt.rl.settlement import Candidate, Measured

from .output import Output
from .wording import option_of

__all__ = ["settle_checkpoint"]


def settle_checkpoint(output: Output, path: str, given: Mapping[str, Any]) -> int:
    """Measure as the options of `ckpt settle` say, and return the exit code."""

    names = ("game", "episodes", "seed", "max_steps", "device", "trust", "dry_run")
    options = {name: given[name] for name in names}
    found = settle(path, fields=given["fields"] or None, **options)
    for field in found.fields:
        candidates = "    ".join(map(_candidate, field.candidates))
        output.line(f"{field.field:<{_LABEL}} {candidates}    {_verdict(field)}")
    for item in found.unmeasured:
        mend = f"--field {item.field}" if item.is_open else f"say it with {option_of(item.field)} where it is converted"
        output.line(f"{item.field:<{_LABEL}} not measured, left assumed: {item.why}; {mend}")
    if not found.fields:
        output.line("nothing that was assumed changes an action")
    output.line(f"wrote {path}/manifest.json" if found.written else "nothing written")
    output.result(found.to_dict())
    return int(not found.is_whole)


# As wide as the longest field that is measured, and two blanks.
_LABEL = 14


def _candidate(candidate: Candidate) -> str:
    returns = candidate.returns
    return f"{_shown(candidate.value)}  {fmean(returns):,.1f} ± {pstdev(returns):,.1f} over {len(returns)}"


def _verdict(found: Measured) -> str:
    if found.chosen is None:
        return f"not separated, left {_shown(found.before)}"
    return f"measured: {_shown(found.chosen)} (was assumed {_shown(found.before)})"


def _shown(value: Any) -> str:
    if isinstance(value, Encoder):
        return f"{_windows(value.convs) if value.name == 'conv' else value.name} {value.activation}"
    if isinstance(value, tuple) and value and isinstance(value[0], Convs):
        return _windows(value[0].convs)
    if isinstance(value, tuple):
        return " to ".join(f"{end:g}" for end in value)
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _windows(convs: Sequence[Conv]) -> str:
    strides, edges = (" ".join(str(pair[0]) for pair in pairs) for pairs in zip(*map(_pairs, convs), strict=True))
    return f"strides {strides}, padding {edges}"


def _pairs(conv: Conv) -> tuple[tuple[int, int], tuple[int, int]]:
    return conv.stride, conv.padding
