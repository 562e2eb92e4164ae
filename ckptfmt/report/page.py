"""One page about a checkpoint, or about what changed between two: what it is, where from, how well it plays."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.format.record import record
from ckptfmt.look.figures import evaluation_points
from ckptfmt.look.summary import Summary, summarize_checkpoint
from ckptfmt.look.validate import Report, validate_open
from ckptfmt.report.render import prepare, render
from ckptfmt.report.rows import facts, flatten
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Page", "page_of", "report", "trace_page"]


@record
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
) -> Page:
    """Return a page about the checkpoint `a`, or about `b` and what changed in it since `a`.

    Every byte is held against its digest. Without `weights` no tensor is drawn; with `spectrum` the singular values of
    each layer are. A `trace` that the network of `a` or `b` played is shown step by step; `behaviour` is what both do
    with the frames of a trace, as `ckptfmt.rl.behaviour.compare_behaviour(...).to_dict()` tells it. Nothing is fetched,
    nothing runs but the player of a trace, and text of the checkpoints is shown as text only. `nav` stands
    above it, (words, path) of a site. Raises what `ckptfmt.open` raises, `CkptError` for a trace of another network.

    >>> Path("pong.html").write_text(ckptfmt.report("runs/pong/best").html)
    """
    with contextlib.ExitStack() as stack:
        newer = stack.enter_context(Checkpoint(b if b is not None else a))
        older = stack.enter_context(Checkpoint(a)) if b is not None else None
        told = _games(trace, behaviour, [one for one in (newer, older) if one])
        drawn = {"weights": weights, "spectrum": weights and spectrum}
        return _page(newer, older, drawn, told, nav, {})


def page_of(checkpoint: Checkpoint, *, nav: Sequence[tuple[str, str]], links: Mapping[str, str]) -> Page:
    """Return the page of a checkpoint that is open, for a site around it: (words, path) above it, paths of tensors."""
    drawn = {"weights": True, "spectrum": False}
    return _page(checkpoint, None, drawn, _games(None, None, ()), nav, links)


def trace_page(trace: str | os.PathLike[str], *, nav: Sequence[tuple[str, str]] = (), start: int = 0) -> Page:
    """Return a page about a trace alone, from step `start` on; raises `CkptError` for what is none."""
    # Most pages tell of no game: what reads traces waits until one does.
    from ckptfmt.report.games import lone_page

    title, html = lone_page(trace, nav, start)
    return Page(title, html, ("agent",))


def _games(
    trace: str | os.PathLike[str] | None, behaviour: Mapping[str, Any] | None, played: Sequence[Checkpoint]
) -> dict[str, Any]:
    if trace is None and not behaviour:
        return {"agent": None, "otherwise": None}
    # As above.
    from ckptfmt.report.games import behaviour_part, played_part

    return {
        "agent": played_part(trace, played) if trace is not None else None,
        "otherwise": behaviour_part(behaviour) if behaviour else None,
    }


def _page(
    newer: Checkpoint,
    older: Checkpoint | None,
    drawn: Mapping[str, bool],
    told: Mapping[str, Any],
    nav: Sequence[tuple[str, str]],
    links: Mapping[str, str],
) -> Page:
    found, verdict = summarize_checkpoint(newer), _validated(newer, ahead=drawn["weights"])
    before = summarize_checkpoint(older) if older else None
    sound = verdict.valid and drawn["weights"]
    sections = dict(_sections(found, before, verdict))
    if sound:
        sections |= _drawn(newer, older, spectrum=drawn["spectrum"])
    if older is not None:
        # Waits for a page of two: what compares takes a while to load.
        from ckptfmt.report.changes import changes_part

        sections["changes"] = changes_part(newer, older, sound=sound)
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


def _validated(checkpoint: Checkpoint, *, ahead: bool) -> Report:
    """Return what validating finds; what the page needs is loaded while threads hash, with `ahead` for drawing too."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        found = pool.submit(validate_open, checkpoint)
        prepare("layout", "alone", "report")
        if ahead:
            import_module("ckptfmt.report.weights")
        return found.result()


def _drawn(newer: Checkpoint, older: Checkpoint | None, *, spectrum: bool) -> dict[str, Any]:
    # NumPy waits for a page that draws.
    from ckptfmt.report.weights import first_layers, spectrum_rows, weight_rows

    return {
        "weights": tuple(weight_rows(newer, older)),
        "first layer": {"pictures": first_layers(newer, older)},
        "spectra": spectrum_rows(newer, older) if spectrum else None,
    }


def _sections(found: Summary, before: Summary | None, verdict: Report) -> Iterator[tuple[str, Any]]:
    yield "problems", [problem.to_dict() for problem in verdict.problems]
    points = evaluation_points(found.evaluation)
    others = evaluation_points(before.evaluation) if before else []
    yield "evaluation", {"points": points, "others": others} if points or others else None
    yield "made", list(_made(found))
    yield "weights", ()
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
