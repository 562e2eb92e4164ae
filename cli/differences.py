"""How a diff is told: in full, as bars, as names, or as Markdown."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ckptfmt.format.markdown import code_span
from ckptfmt.look.diff import Diff, ManifestChange, WeightChange

from .output import Output
from .text import number, plural, shape, short_digest

if TYPE_CHECKING:
    from ckptfmt.rl.behaviour import Behaviour

__all__ = ["show_bars", "show_behaviour", "show_diff", "show_markdown", "show_names", "sort_weights"]

_SIGNS = {"changed": "~", "added": "+", "removed": "-", "renamed": "R"}
_LETTERS = {"changed": "M", "added": "A", "removed": "D", "renamed": "R"}
_COLOURS = {"changed": "yellow", "added": "green", "removed": "red", "renamed": "yellow"}
_NUMBERS = ("rel_l2", "cosine", "max_abs")
_HEADER = ("weights", "rel. L2", "cosine", "largest", "")
# Cells of a bar: half of a narrow terminal.
_BAR = 40
# Of one value of a manifest: two lines of a wide terminal.
_LONGEST = 240
# Rows of a table, more than anybody reads: some dozen times what the networks of an agent have tensors.
_MOST_ROWS = 2_000


def sort_weights(changes: Iterable[WeightChange], order: str) -> list[WeightChange]:
    """Return the changes by name, or by how far the tensors moved, what has no figure first."""
    if order == "name":
        return sorted(changes, key=lambda change: change.name)
    if order == "change":
        return sorted(changes, key=lambda c: float("-inf") if c.rel_l2 is None else -c.rel_l2)
    return list(changes)


def show_diff(output: Output, found: Diff) -> None:
    """Write what changed in the manifest and in the weights, and how many tensors did."""
    manifest = _told(output, found)
    if manifest:
        output.line(output.paint("manifest", "dim"))
        shown = manifest[:_MOST_ROWS]
        output.table([(_marked(output, change.op, change.path), _values(change)) for change in shown])
        _say_rest(output, len(manifest))
    if found.weights:
        rows = [_row(output, change) for change in found.weights[:_MOST_ROWS]]
        output.table(rows, header=_HEADER, right=(1, 2, 3))
        _say_rest(output, len(found.weights))
    output.line(_tally(found))


def _say_rest(output: Output, rows: int) -> None:
    """Write how many rows of a table were not shown, if any, and where they are."""
    if rows > _MOST_ROWS:
        output.line(f"and {rows - _MOST_ROWS:,} more; see all with: --name-status, or --json")


def show_bars(output: Output, found: Diff) -> None:
    """Write one bar a tensor, all on one scale, so that an even change looks even."""
    moved = [change.rel_l2 for change in found.weights if change.rel_l2 is not None and math.isfinite(change.rel_l2)]
    most = max(moved, default=0.0)
    rows = []
    for change in found.weights[:_MOST_ROWS]:
        share = min((change.rel_l2 or 0.0) / most, 1.0) if most else 0.0
        bar = output.paint("█" * round(_BAR * share), _COLOURS[change.op])
        rows.append((_marked(output, change.op, change.name), _figure(change.rel_l2), bar or _kind(change)))
    output.table(rows, right=(1,))
    _say_rest(output, len(found.weights))
    output.line(_tally(found))


def show_behaviour(output: Output, found: "Behaviour") -> None:
    """Write at which frames the two networks choose otherwise, and how far their values are apart."""
    share = f"{found.chosen_otherwise:,} of {plural(found.steps, 'frame')}"
    output.line(output.paint("behaviour", "dim"))
    output.line(f"another action at {share} ({found.chosen_otherwise / found.steps:.1%})")
    for choice in found.choices:
        output.line(f"  frame {choice.step:<6} {choice.a} -> {choice.b}")
    if found.chosen_otherwise > len(found.choices):
        output.line(f"  and {found.chosen_otherwise - len(found.choices):,} more")
    correlation = "" if found.correlation is None else f", correlation {found.correlation:.3f}"
    apart = f"{found.mean_difference:.4g} apart on average, {found.largest_difference:.4g} at most"
    output.line(f"{found.compared} of the choice: {found.mean_a:.4g} -> {found.mean_b:.4g}, {apart}{correlation}")


def show_names(output: Output, found: Diff, *, status: bool) -> None:
    """Write the path of each value and the name of each tensor that changed."""
    named = [(change.op, change.path) for change in _told(output, found)]
    named += [(change.op, _name(change)) for change in found.weights]
    for op, name in named:
        output.line(f"{_LETTERS[op]} {name}" if status else name)


def show_markdown(output: Output, found: Diff) -> None:
    """Write the same as tables for a comment on a pull request."""
    output.line(f"{_code(found.a.path)} → {_code(found.b.path)}: {_tally(found)}")
    manifest = _told(output, found)
    if manifest:
        shown = manifest[:_MOST_ROWS]
        rows = [(_SIGNS[change.op], _code(change.path), _code(_values(change))) for change in shown]
        _markdown_table(output, ("", "manifest", ""), rows)
        _say_rest(output, len(manifest))
    if found.weights:
        changes = found.weights[:_MOST_ROWS]
        tensors = [(_SIGNS[c.op], _code(_name(c)), *_figures(c), _code(_kind(c))) for c in changes]
        _markdown_table(output, ("", *_HEADER), tensors)
        _say_rest(output, len(found.weights))


def _told(output: Output, found: Diff) -> list[ManifestChange]:
    """Return the changes of the manifest; when and by what it was written is told on demand."""
    return [change for change in found.manifest if output.verbose or not change.volatile]


def _tally(found: Diff) -> str:
    counts = found.counts
    parts = [f"{counts[op]:,} {op}" for op in counts if counts[op]]
    if found.same:
        close = f", {counts['close']:,} within the tolerance" if counts["close"] else ""
        believed = (
            "" if found.a.verified and found.b.verified else " by their digests; bytes are read by: ckpt validate"
        )
        return f"same: {plural(counts['identical'], 'tensor')} identical{close}{believed}"
    return ", ".join(parts) or "no tensors compared"


def _marked(output: Output, op: str, name: str) -> str:
    colour = _COLOURS[op]
    return output.paint(f"{_SIGNS[op]} {name}", colour)


def _row(output: Output, change: WeightChange) -> tuple[str, ...]:
    return (_marked(output, change.op, _name(change)), *_figures(change), _kind(change))


def _name(change: WeightChange) -> str:
    return f"{change.from_name} -> {change.name}" if change.from_name is not None else change.name


def _figures(change: WeightChange) -> tuple[str, ...]:
    return tuple(_figure(getattr(change, name)) for name in _NUMBERS)


def _figure(value: float | None) -> str:
    return "" if value is None else number(value)


def _kind(change: WeightChange) -> str:
    """Return dtype and shape, where they say more than the figures do."""
    now = f"{change.dtype} {shape(change.shape)}"
    if change.from_dtype is not None or change.from_shape is not None:
        before = change.shape if change.from_shape is None else change.from_shape
        return f"{change.from_dtype or change.dtype} {shape(before)} -> {now}"
    if change.non_finite:
        return f"{change.non_finite:,} not finite"
    return now if change.op in ("added", "removed") else ""


def _values(change: ManifestChange) -> str:
    if change.op == "changed":
        return f"{_short(change.a)} -> {_short(change.b)}"
    return _short(change.b if change.op == "added" else change.a)


def _short(value: Any) -> str:
    """Return a value for a line; lists of evaluations and the like are told whole by --json alone."""
    parts: list[str] = []
    room = _LONGEST
    for part in _parts(value):
        parts.append(part[: _LONGEST + 1])
        room -= len(part)
        if room < 0:
            return f"{''.join(parts)[: _LONGEST - 1]}…"
    return "".join(parts)


def _parts(value: Any) -> Iterator[str]:
    """Yield a value as it is told, part by part: of a long one only the beginning is asked for."""
    if isinstance(value, list | tuple):
        yield "["
        for i, one in enumerate(value):
            yield ", " * bool(i)
            yield from _parts(one)
        yield "]"
    elif isinstance(value, Mapping):
        yield "{"
        for i, (name, one) in enumerate(value.items()):
            yield f"{', ' * bool(i)}{name}: "
            yield from _parts(one)
        yield "}"
    else:
        yield _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    return short_digest(text) if text.startswith("sha256:") else text


def _code(text: str) -> str:
    return code_span(text, 400)


def _markdown_table(output: Output, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    output.line()
    for row in (header, ["---"] * len(header), *rows):
        output.line("| " + " | ".join(row) + " |")
