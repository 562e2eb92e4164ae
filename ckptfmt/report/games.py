"""Recorded games as pages and parts of pages: of one network, or of two on the same frames."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ckptfmt.errors import printable
from ckptfmt.look.trace import BadTrace, open_trace
from ckptfmt.report.agent import agent_page, agent_part
from ckptfmt.report.otherwise import otherwise_part
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["behaviour_part", "lone_page", "played_part"]


def lone_page(trace: str | os.PathLike[str], nav: Sequence[tuple[str, str]], start: int) -> tuple[str, str]:
    """Return (title, HTML) of a page about a trace alone, from step `start` on; raises `CkptError` for what is none."""
    with open_trace(trace) as opened:
        title = printable(os.path.basename(os.path.realpath(trace)), 80)
        return title, agent_page(opened, title=title, start=start, nav=nav)


def played_part(trace: str | os.PathLike[str], played: Sequence[Checkpoint]) -> dict[str, Any]:
    """Return what the template of the agent shows of a trace; raise `BadTrace` where none of `played` played it."""
    with open_trace(trace) as opened:
        if opened.told.content_digest not in [checkpoint.manifest.content_digest for checkpoint in played]:
            raise BadTrace(
                f"was played by another network, {printable(opened.told.name, 60)}",
                where=os.fspath(trace),
                fix="give the checkpoint that played it, or record a trace of this one",
                code="trace.other",
            )
        return agent_part(opened)


def behaviour_part(behaviour: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template shows of what two networks do with the same frames."""
    with open_trace(behaviour["trace"]) as opened:
        return otherwise_part(behaviour, opened)
