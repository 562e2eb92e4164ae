"""How a conversion is told: one file in full, many files a line each."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ckptfmt.convert.convert import Conversion
from ckptfmt.errors import CkptError
from ckptfmt.families.atari_dqn.config import UNSEEN
from ckptfmt.families.atari_dqn.family import FAMILY
from ckptfmt.look.sketch import sketch

from .output import Output
from .text import plural, shape, size
from .wording import on_the_command_line, option_of

if TYPE_CHECKING:
    from ckptfmt.convert.outcome import Outcome

__all__ = ["outcome_line", "show_conversion", "show_outcome", "show_tally"]

# The width of the labels: the longest of them and two blanks. More reasons than these say nothing new.
_INDENT = 9
_MOST_REASONS = 3
_CONTAINERS = {"torch-zip": "torch zip", "torch-stream": "torch stream", "torch-tar": "torch tar"}


def show_conversion(output: Output, source: str, result: Conversion) -> None:
    """Write what was made of one file and on what evidence; what was assumed goes to stderr."""
    rows = [
        ("source", f"{source}: {_container(result)}, {plural(result.tensors, 'tensor')}; nothing executed"),
        ("network", _network(result)),
        ("found at", result.found_at),
        ("left", ", ".join(result.left) + "; choose with: --key" if result.left else ""),
        ("renamed", _pairs(result.renamed)),
        ("moved", _names([item["name"] for item in result.transformed])),
        ("made", _names(result.made)),
        ("tied", _pairs(result.tied, " = ")),
        ("dropped", "; ".join(_reasoned(result.dropped))),
        ("unknown", "; ".join(f"{name}: none in the file" for name in result.unknown)),
    ]
    for label, text in rows:
        if text:
            _line(output, label, text)
    for problem in result.warnings:
        output.warning(problem)
    if result.assumed:
        output.out.flush()
        output.note(output.err.paint(f"{'assumed':<{_INDENT}}", "yellow"), _assumed(result, output.verbose))
        if settling := ", ".join(option_of(name) for name in result.assumed if name not in UNSEEN):
            output.note(output.err.paint(f"{'give':<{_INDENT}}", "yellow"), settling)
    for name, bytes_ in result.written.items():
        verified = f"  {size(bytes_)}, verified against the source, tensor by tensor" if name != "manifest.json" else ""
        _line(output, "wrote", os.path.join(result.dest, name) + verified)
    if not result.written:
        output.line("nothing written; run again without --dry-run")


def show_outcome(output: Output, outcome: "Outcome") -> None:
    """Write what became of one of many files."""
    item = outcome.item
    if outcome.error is not None:
        error = _as_error(outcome)
        output.line(output.sign("bad"), f" {item.source}  {str(error).removeprefix(f'{item.source}: ')}")
    elif outcome.conversion is None:
        output.line(output.sign("good"), f" {item.source}  unchanged")
    else:
        told = outcome.conversion
        network = _named(told["family"], told["architecture"]) if told["architecture"] else "network unknown"
        planned = "  (nothing written)" if outcome.status == "planned" else ""
        output.line(output.sign("good"), f" {item.source} -> {item.dest}  {network}{planned}")


def outcome_line(outcome: "Outcome") -> dict[str, Any]:
    """Return what became of one of many files as a line of JSON."""
    error = None if outcome.error is None else _as_error(outcome).to_dict()
    return {**outcome.to_dict(), "error": error}


def show_tally(output: Output, tally: Mapping[str, int]) -> None:
    """Write the last line over many files."""
    parts = [
        f"{tally[status]:,} {status}" for status in ("converted", "planned", "unchanged", "failed") if tally[status]
    ]
    others = f"; {plural(tally['others'], 'other file')} left alone" if tally["others"] else ""
    output.line(f"{plural(tally['files'], 'file')}: {', '.join(parts)}{others}")


def _as_error(outcome: "Outcome") -> CkptError:
    return on_the_command_line(CkptError.from_dict(outcome.error or {}), source=outcome.item.source)


def _line(output: Output, label: str, text: str) -> None:
    output.line(output.paint(f"{label:<{_INDENT}}", "dim"), text)


def _container(result: Conversion) -> str:
    *packings, inner = result.source.container.split("+")
    protocol = result.source.pickle_protocol
    kind = _CONTAINERS.get(inner, inner) + "".join(f" in {packing}" for packing in reversed(packings))
    return kind if protocol is None else f"{kind}, pickle protocol {protocol}"


def _named(family: str | None, name: str) -> str:
    """Return a network as --architecture takes it; those of the Atari family go by their names alone."""
    return name if family == FAMILY.name else f"{family}/{name}"


def _network(result: Conversion) -> str:
    if result.config is None or result.architecture is None:
        return f"unknown: {result.classification.refusal}"
    chosen = result.classification.chosen
    # What else was dropped is not of the network, and is told by a line of its own.
    unplaced = len(chosen.dropped) if chosen else 0
    placed = f"{result.tensors} of {result.tensors + unplaced} tensors placed"
    if "dueling_dqn" not in result.config:
        sketched = sketch(result.config)
        name = _named(result.family, result.architecture)
        return f"{name}, {sketched} ({placed})" if sketched else f"{name} ({placed})"
    config, encoder = result.config, result.config["encoder"]
    encoder = encoder["name"] if isinstance(encoder, Mapping) else encoder
    atoms = f", {config['n_atoms']} atoms from {config['v_min']:g} to {config['v_max']:g}" if config["n_atoms"] else ""
    return (
        f"{result.architecture}, {encoder} encoder, {plural(config['n_action'], 'action')}, "
        f"hidden {config['hidden_size']}{atoms} ({placed})"
    )


def _assumed(result: Conversion, verbose: bool) -> str:
    values: Mapping[str, Any] = {**(result.config or {}), "architecture": result.architecture}
    named = [name for name in result.assumed if verbose or name not in UNSEEN]
    rest = len(result.assumed) - len(named)
    words = [f"{name} {_value(values.get(name))}" for name in named]
    if rest:
        words.append(plural(rest, "training setting") + ", which the network's outputs do not depend on")
    return ", ".join(words)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name", "described"))
    if isinstance(value, Sequence) and not isinstance(value, str):
        blocks = [str(block["kind"]) for block in value if isinstance(block, Mapping)]
        ends = all(isinstance(item, float) for item in value)
        return " and ".join(blocks) if blocks else " to ".join(f"{end:g}" for end in value) if ends else shape(value)
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _pairs(names: Mapping[str, str], link: str = " -> ") -> str:
    if not names:
        return ""
    first, second = next(iter(names.items()))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{first}{link}{second}{more}"


def _reasoned(dropped: Sequence[str]) -> Iterator[str]:
    """Yield what was left out, names of one reason together, three of these."""
    groups: dict[str, list[str]] = {}
    for text in dropped:
        name, bracket, reason = text.partition(" (")
        groups.setdefault(bracket + reason, []).append(name)
    for reason, names in [*groups.items()][:_MOST_REASONS]:
        yield _names(names) + reason
    if rest := sum(len(names) for names in [*groups.values()][_MOST_REASONS:]):
        yield f"and {rest} more"


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
