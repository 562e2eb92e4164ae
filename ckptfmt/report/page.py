"""One page about a checkpoint, or about what changed between two: what it is, where from, how well it plays."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.look.diff import Diff, diff
from ckptfmt.look.figures import evaluation_points
from ckptfmt.look.summary import Summary, summarize_checkpoint
from ckptfmt.look.trace import BadTrace, open_trace
from ckptfmt.look.validate import Report, validate
from ckptfmt.report.agent import agent_page, agent_part
from ckptfmt.report.otherwise import otherwise_part
from ckptfmt.report.render import render
from ckptfmt.report.rows import facts, flatten
from ckptfmt.report.weights import WeightRow, change_rows, first_layers, spectrum_rows, weight_rows
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Page", "report", "trace_page"]


@dataclass(frozen=True, slots=True)
class Page:
    """A page as HTML, self-contained: `sections` names what is in it."""

    title: str
    html: str
    sections: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Return the size of the page in bytes."""
        return len(self.html.encode("utf-8"))

    def to_dict(self) -> dict[str, Any]:
        """Return the title, the size and the sections."""
        return {"title": self.title, "bytes": self.bytes, "sections": list(self.sections)}


def report(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str] | None = None,
    *,
    weights: bool = True,
    spectrum: bool = False,
    trace: str | os.PathLike[str] | None = None,
    behaviour: Mapping[str, Any] | None = None,
    nav: Sequence[tuple[str, str]] = (),
    links: Mapping[str, str] | None = None,
) -> Page:
    """Return a page about the checkpoint `a`, or about `b` and what changed in it since `a`.

    Every byte is held against its digest. Without `weights` no tensor is drawn; with `spectrum` the singular values of
    each layer are. A `trace` that the network of `a` or `b` played is shown step by step; `behaviour` is what both do
    with the frames of a trace, as `ckptfmt.rl.behaviour.compare_behaviour(...).to_dict()` tells it. Nothing is fetched,
    nothing runs but the player of a trace, and text of the checkpoints is shown as text only. `nav` and `links` are for
    a site around the page: (words, path) above it, and the path behind the name of each tensor. Raises what
    `ckptfmt.open` raises, `CkptError` for a trace of another network.

    >>> Path("pong.html").write_text(ckptfmt.report("runs/pong/best").html)
    """
    with contextlib.ExitStack() as stack:
        newer = stack.enter_context(Checkpoint(b if b is not None else a))
        older = stack.enter_context(Checkpoint(a)) if b is not None else None
        agent = _agent(trace, [one for one in (newer, older) if one]) if trace is not None else None
        drawn = {"weights": weights, "spectrum": weights and spectrum}
        told = {"agent": agent, "otherwise": _otherwise(behaviour) if behaviour else None}
        return _page(newer, older, drawn, told, nav, links or {})


def trace_page(trace: str | os.PathLike[str], *, nav: Sequence[tuple[str, str]] = (), start: int = 0) -> Page:
    """Return a page about a trace alone, from step `start` on; raises `CkptError` for what is none."""
    with open_trace(trace) as opened:
        title = printable(os.path.basename(os.path.realpath(trace)), 80)
        return Page(title, agent_page(opened, title=title, start=start, nav=nav), ("agent",))


def _agent(trace: str | os.PathLike[str], played: Sequence[Checkpoint]) -> dict[str, Any]:
    with open_trace(trace) as opened:
        if opened.told.content_digest not in [checkpoint.manifest.content_digest for checkpoint in played]:
            raise BadTrace(
                f"was played by another network, {printable(opened.told.name, 60)}",
                where=os.fspath(trace),
                fix="give the checkpoint that played it, or record one of this",
                code="trace.other",
            )
        return agent_part(opened)


def _otherwise(behaviour: Mapping[str, Any]) -> dict[str, Any]:
    with open_trace(behaviour["trace"]) as opened:
        return otherwise_part(behaviour, opened)


def _page(
    newer: Checkpoint,
    older: Checkpoint | None,
    drawn: Mapping[str, bool],
    told: Mapping[str, Any],
    nav: Sequence[tuple[str, str]],
    links: Mapping[str, str],
) -> Page:
    found, verdict = summarize_checkpoint(newer), validate(newer.path)
    before = summarize_checkpoint(older) if older else None
    sound = verdict.valid and drawn["weights"]
    rows = tuple(weight_rows(newer, older)) if sound else ()
    sections = dict(_sections(found, before, verdict, rows))
    if older is not None:
        changes = diff(older.path, newer.path)
        sections |= _changes(changes, newer, older, sound)
    if sound:
        sections["first layer"] = {"pictures": first_layers(newer, older)}
        sections["spectra"] = spectrum_rows(newer, older) if drawn["spectrum"] else None
    sections |= told
    title = printable(os.path.basename(os.path.realpath(newer.path)), 80)
    context = {
        "title": title,
        "other": printable(os.path.basename(os.path.realpath(older.path)), 80) if older else None,
        "summary": found,
        "verdict": verdict,
        "facts": facts(found),
        "sections": sections,
        "agent": told["agent"],
        "nav": nav,
        "links": {printable(name, 120): path for name, path in links.items()},
    }
    return Page(title, render("report", context), tuple(name for name, part in sections.items() if part))


def _sections(
    found: Summary, before: Summary | None, verdict: Report, rows: Sequence[WeightRow]
) -> Iterator[tuple[str, Any]]:
    yield "problems", [problem.to_dict() for problem in verdict.problems]
    points = evaluation_points(found.evaluation)
    others = evaluation_points(before.evaluation) if before else []
    yield "evaluation", {"points": points, "others": others} if points or others else None
    yield "made", list(_made(found))
    yield "weights", rows
    yield "lineage", flatten(found.lineage)
    yield "changes", None
    yield "first layer", None
    yield "spectra", None


def _made(found: Summary) -> Iterator[tuple[str, str]]:
    """Yield what made this checkpoint: versions, seed, revision of the code, settings, source."""
    yield "written", found.created_at
    for name, version in sorted(found.created_by.items()):
        yield f"by {printable(name, 60)}", printable(version)
    parts: Mapping[str, Any] = {
        "network": found.network,
        "environment": found.environment,
        "training": found.training,
        "source": (found.conversion or {}).get("source"),
    }
    for part, said in parts.items():
        for name, value in flatten(said):
            yield f"{part} {name}", value


def _changes(changes: Diff, newer: Checkpoint, older: Checkpoint, sound: bool) -> dict[str, Any]:
    return {
        "changes": {
            "same": changes.same,
            "counts": changes.counts,
            "manifest": [change.to_dict() for change in changes.manifest if not change.volatile],
            "tensors": change_rows(changes, newer, older) if sound else [],
        }
    }
