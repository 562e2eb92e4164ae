"""How a checkpoint and a foreign file are described."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ckptfmt.format.files import WEIGHTS
from ckptfmt.look.sketch import sketch
from ckptfmt.look.summary import Summary, TensorStats, TensorSummary

from .output import Output
from .text import count, number, plural, shape, short_digest, size

__all__ = ["describe", "describe_line", "describe_source", "facts", "figures", "layers"]

# The width of the labels: the longest of them and a blank. Facts are as many as fill a line or two of a terminal.
_LABEL = 11
_FIGURES = ("min", "max", "mean", "std", "zeros", "non_finite")
_SHOWN_FACTS, _LONGEST_FACT = 6, 80
# Beyond, floating-point numbers are not whole numbers of their digits any more.
_SHOWN_WHOLE = 10**15


def describe(output: Output, summary: Summary) -> None:
    """Write what a checkpoint is, without its tensors."""
    name = os.path.basename(os.path.normpath(summary.path))
    game = (summary.environment or {}).get("id")
    network = (summary.algorithm or "network unknown") + (f" on {game}" if game else "")
    output.line(output.paint(name, "bold"), f"  ckptfmt {summary.format_version}, {network}")
    _label(output, "network", _network(summary.network))
    _label(output, "weights", _totals(summary.totals))
    for file, entry in summary.files.items():
        if file != WEIGHTS:
            _label(output, file.partition(".")[0], f"{plural(entry['tensors'], 'tensor')}, {size(entry['bytes'])}")
    _label(output, "training", facts(summary.training or {}))
    for result in summary.evaluation[-1:]:
        _label(output, "return", _return(result))
    if summary.conversion:
        source = summary.conversion["source"]
        _label(output, "made of", f"{source['name']}, {source['container']}, sha256 {source['sha256'][:8]}")
    if summary.lineage:
        parent = summary.lineage.get("parent")
        _label(output, "lineage", summary.lineage["kind"] + (f" from {short_digest(parent)}" if parent else ""))
    _label(output, "identity", short_digest(summary.content_digest))
    _label(output, "created", f"{summary.created_at} by ckptfmt {summary.created_by.get('ckptfmt', 'unknown')}")


def describe_line(output: Output, summary: Summary) -> None:
    """Write a checkpoint as one line of fields with tabs between them, for scripts."""
    totals = summary.totals
    fields = (
        summary.path,
        summary.format_version,
        summary.algorithm or "",
        str((summary.environment or {}).get("id", "")),
        str(totals["tensors"]),
        str(totals["parameters"]),
        str(totals["bytes"]),
        summary.content_digest,
    )
    output.fields(fields)


def describe_source(output: Output, summary: Any) -> None:
    """Write what a foreign file holds (a `SourceSummary`), its best network first."""
    protocol = "" if summary.pickle_protocol is None else f", pickle protocol {summary.pickle_protocol}"
    output.line(
        output.paint(summary.path, "bold"),
        f"  {summary.container}{protocol}, {size(summary.bytes)}, sha256 {summary.sha256[:8]}; nothing executed",
    )
    if summary.refusal:
        output.line("  ", output.paint(f"{'refused':<{_LABEL}}", "red"), summary.refusal)
    _label(output, "names", ", ".join(summary.globals))
    for network in summary.networks:
        place = f"{network.path or 'the root'}, {network.role}: {_totals(network.totals)}"
        _label(output, "tensors", place)
        _label(output, "network", network.trouble or _answer(network.classification))
        _label(output, "config", facts(network.config))
        _label(output, "training", facts(network.training))


def layers(output: Output, tensors: Iterable[Any], *, stats: bool = False) -> None:
    """Write a table of tensors, one a row; with `stats` their figures too."""
    rows = [_row(tensor, stats) for tensor in tensors]
    header = ["  tensor", "dtype", "shape", "parameters", *(_FIGURES if stats else ())]
    header[-1] = header[-1].replace("non_finite", "non-finite")
    if rows:
        output.line()
        output.table(rows, header=header, right=range(3, len(header)))


def figures(output: Output, tensor: TensorSummary) -> None:
    """Write everything about one tensor."""
    output.line(output.paint(tensor.name, "bold"), f"  {tensor.dtype} {shape(tensor.shape)}")
    _label(output, "file", f"{tensor.file}, {count(tensor.bytes)} bytes from {count(tensor.offset)} of its data")
    _label(output, "parameters", count(tensor.parameters))
    _label(output, "shares", tensor.tied_to or "")
    _label(output, "digest", tensor.digest)
    for name in _FIGURES if tensor.stats else ():
        _label(output, name.replace("_", "-"), _figure(tensor.stats, name))


def facts(values: Mapping[str, Any]) -> str:
    """Return the plain ones among values, as `frame_idx 200,000, seed 1`."""
    plain = {name: item for name, item in values.items() if isinstance(item, str | int | float) and item != ""}
    shown = [f"{name} {_plain(item)}" for name, item in list(plain.items())[:_SHOWN_FACTS]]
    rest = len(values) - len(shown)
    return ", ".join(shown) + (f"{', ' if shown else ''}and {rest} more" if rest else "")


def _return(evaluation: Mapping[str, Any]) -> str:
    mean, std, episodes = (evaluation.get(name) for name in ("mean", "std", "episodes"))
    if not isinstance(mean, int | float) or not isinstance(std, int | float):
        return facts(evaluation)
    over = len(episodes) if isinstance(episodes, list | tuple) else episodes
    if max(abs(mean), abs(std)) >= _SHOWN_WHOLE:
        return f"{number(mean)} ± {number(std)}"
    return f"{mean:.1f} ± {std:.1f}" + (f" over {plural(over, 'episode')}" if isinstance(over, int) else "")


def _label(output: Output, label: str, text: str) -> None:
    if text:
        output.line("  ", output.paint(f"{label:<{_LABEL}}", "dim"), text)


def _network(network: Mapping[str, Any] | None) -> str:
    if network is None:
        return "unknown; the weights are checked and comparable all the same"
    if "encoder" not in network:
        return sketch(network) or facts(network)
    encoder = network["encoder"]
    name = encoder.get("name", "convolutions") if isinstance(encoder, Mapping) else encoder
    atoms = ""
    if network.get("n_atoms"):
        atoms = f", {network['n_atoms']} atoms from {network['v_min']:g} to {network['v_max']:g}"
    seen = f"{name}, {shape(network['input_shape'])} / {network['input_scale']:g}"
    return f"{seen} -> {plural(network['n_action'], 'action')}{atoms}, hidden {network['hidden_size']}"


def _totals(totals: Mapping[str, Any]) -> str:
    words = (plural(totals["tensors"], "tensor"), plural(totals["parameters"], "parameter"), size(totals["bytes"]))
    return ", ".join((*words, *totals["dtypes"]))


def _answer(classification: Mapping[str, Any] | None) -> str:
    if classification is None:
        return ""
    if classification["architecture"] is None or classification["refusal"]:
        return f"cannot tell: {classification['refusal']}"
    reasons = "; ".join(classification["candidates"][0]["reasons"])
    return str(classification["architecture"]) + (f", because {reasons}" if reasons else "")


def _row(tensor: Any, stats: bool) -> list[str]:
    prefix = "" if getattr(tensor, "file", WEIGHTS) == WEIGHTS else f"{tensor.file}/"
    row = [f"  {prefix}{tensor.name}", tensor.dtype, shape(tensor.shape), count(tensor.parameters)]
    return row + ([_figure(tensor.stats, name) for name in _FIGURES] if stats else [])


def _figure(stats: TensorStats | None, name: str) -> str:
    value = None if stats is None else getattr(stats, name)
    return "" if value is None else count(value) if isinstance(value, int) else number(value)


def _plain(value: str | float) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return number(value)
    return value if len(value) <= _LONGEST_FACT else f"{value[: _LONGEST_FACT - 1]}…"
