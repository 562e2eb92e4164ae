"""The pages of the inspector as (HTML, data): results of the library, shown."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from markupsafe import Markup

from ckptfmt.convert.sources import find_sources
from ckptfmt.errors import printable
from ckptfmt.format.safetensors import shape_text
from ckptfmt.look.diff import diff
from ckptfmt.look.lineage import lineage
from ckptfmt.look.shape import shape_of
from ckptfmt.look.summary import summarize_checkpoint
from ckptfmt.look.trace import open_trace
from ckptfmt.look.validate import validate_open
from ckptfmt.report import page_of, report
from ckptfmt.report.agent import agent_part
from ckptfmt.report.draw import descent, histogram
from ckptfmt.report.mosaic import filters, heat
from ckptfmt.report.render import render
from ckptfmt.store.checkpoint import Checkpoint
from ckptfmt.web.foreign import look_at
from ckptfmt.web.index import Entry, Index, Row
from ckptfmt.web.run import entries_of, run_part

__all__ = ["Answer", "Behaviour", "Missing", "Pages"]

_quote = partial(quote, errors="surrogateescape")  # names of files may hold bytes that are no UTF-8

# What a page shows at once; each file of another program is read, which takes longer than a manifest.
_ROWS, _FILES = 100, 20
# Of a tensor: its largest numbers, as many as one looks at, where to sort them all takes a page no longer than it may.
_LARGEST, _MOST_ELEMENTS = 20, 16 << 20
# Columns by which the table sorts, and what stands in each.
_SORTS: Mapping[str, Callable[[Row], Any]] = {
    "algorithm": lambda row: row.algorithm,
    "environment": lambda row: row.environment,
    "return": lambda row: math.inf if row.mean is None else -row.mean,
    "step": lambda row: math.inf if row.step is None else -row.step,
    "parameters": lambda row: math.inf if row.parameters is None else -row.parameters,
    "date": lambda row: row.created_at,
}

# What two networks do with the frames of a trace, given the paths of the three.
Behaviour = Callable[[str, str, str], Mapping[str, Any]]
# How a page makes its HTML and its data; only what is asked for is made.
Answer = tuple[Callable[[], str], Callable[[], Mapping[str, Any]]]


class Missing(Exception):
    """There is no such page."""


class Pages:
    """The pages over one index; each method takes what the path and the query hold."""

    def __init__(self, index: Index, behaviour: Behaviour | None = None) -> None:
        self._index = index
        self._behaviour = behaviour

    @staticmethod
    def error(what: str) -> Answer:
        """Return a page of one sentence."""
        return _answer("message", {"title": "not shown", "message": what}, {"error": what})

    def overview(self, *, query: Mapping[str, str]) -> Answer:
        """Return the table of the folder: sorted, filtered, a hundred at a time."""
        entries, sort, words = self._index.entries(), query.get("sort", "name"), query.get("q", "").strip()
        rows = self._sorted(entries, sort, words)
        start = _whole(query.get("from"))
        shown = rows(start, start + _ROWS)
        total = rows.total
        data = {"checkpoints": [row.to_dict() for row in shown], "total": total, "from": start, "sort": sort}
        links = {
            "sorts": [(name, _href("/", sort=name, q=words)) for name in ("name", "changed", *_SORTS)],
            "next": _href("/", sort=sort, q=words, **{"from": start + _ROWS}) if total > start + _ROWS else "",
            "previous": _href("/", sort=sort, q=words, **{"from": max(0, start - _ROWS)}) if start else "",
        }
        context = {
            "title": os.path.basename(self._index.folder) or self._index.folder,
            "rows": [(row, _checkpoint_href(row.name), _quote(row.name)) for row in shown],
            "runs": _runs(shown),
            "query": words,
            # Only a word of ours gets back into an attribute.
            "sort_token": sort if sort in ("changed", *_SORTS) else "name",
            **data,
            **links,
        }
        return _answer("overview", context, data)

    def checkpoint(self, name: str, *, query: Mapping[str, str]) -> Answer:
        """Return the page of one checkpoint, the same that `ckpt report` writes."""
        entry = self._entry(name)

        def page() -> str:
            # Opened once: a manifest of as many tensors as may be takes seconds.
            with Checkpoint(entry.path) as checkpoint:
                links = {tensor: f"/c/{_quote(name)}/t/{_quote(tensor, safe='')}" for tensor in checkpoint.names()}
                return page_of(checkpoint, nav=self._around(name, checkpoint), links=links).html

        def data() -> Mapping[str, Any]:
            with Checkpoint(entry.path) as checkpoint:
                verdict = validate_open(checkpoint, deep=False).to_dict()
                return {"summary": summarize_checkpoint(checkpoint).to_dict(), "report": verdict}

        return page, data

    def _around(self, name: str, checkpoint: Checkpoint) -> list[tuple[str, str]]:
        played = self._index.trace(checkpoint.manifest.content_digest)
        return [
            ("all checkpoints", "/"),
            ("lineage", f"/lineage/{_quote(name)}"),
            ("run", f"/runs/{_quote(os.path.dirname(name))}"),
            *([("the agent at work", f"/c/{_quote(name)}/play")] if played else []),
        ]

    def tensor(self, name: str, tensor: str, *, query: Mapping[str, str]) -> Answer:
        """Return the page of one tensor: figures, histogram, picture, the largest entries."""
        entry = self._entry(name)
        with Checkpoint(entry.path) as checkpoint:
            if tensor not in checkpoint.names():
                raise Missing(f"{printable(name)} holds no tensor {printable(tensor)}")
            info, found = checkpoint.info(tensor), shape_of(checkpoint, tensor)
            small = 0 < math.prod(info.shape) <= _MOST_ELEMENTS
            values = checkpoint.tensors[tensor] if small and found else None
            figures = found.to_dict() if found else None
            data = {"name": tensor, "dtype": info.dtype, "shape": list(info.shape), "figures": figures}
            context = {
                "title": printable(tensor, 120),
                "of": printable(name, 120),
                "up": _checkpoint_href(name),
                "shape": shape_text(info.shape, "scalar"),
                "dtype": info.dtype,
                "figures": found,
                "histogram": histogram(found.counts, found.values, found.reach) if found else Markup(""),
                "picture": _picture(values),
                "largest": _largest(values),
            }
        return _answer("tensor", context, data)

    def play(self, name: str, *, query: Mapping[str, str]) -> Answer:
        """Return the page of a game that a checkpoint played, recorded by `ckpt play --trace` below the folder."""
        entry = self._entry(name)
        with Checkpoint(entry.path) as checkpoint:
            path = self._index.trace(checkpoint.manifest.content_digest)
        if not path:
            raise Missing(f"no trace in this folder was played by {printable(name)}; record one with ckpt play")
        with open_trace(path) as trace:
            here = _checkpoint_href(name)
            part = agent_part(trace, start=_whole(query.get("from")), up=f"{here}/play")
        title = printable(name, 120)
        context = {"title": title, "nav": [("all checkpoints", "/"), (title, here)], "agent": part}
        data = {key: part[key] for key in ("from", "to", "total", "actions")} | {"steps": part["data"]["steps"]}
        return _answer("agent", context, data)

    def difference(self, *, query: Mapping[str, str]) -> Answer:
        """Return the page of what changed from the checkpoint `a` of the query to `b`."""
        if not query.get("a") or not query.get("b"):
            raise Missing("choose two checkpoints to compare")
        a, b = self._entry(query["a"]), self._entry(query["b"])
        asked = {"spectrum": query.get("spectrum") == "1", "frames": query.get("frames") == "1"}
        trace = self._shared_trace(a, b) if self._behaviour else ""
        nav = [("all checkpoints", "/")]
        offers = {"spectrum": "with spectra"} | ({"frames": "on the frames of a game"} if trace else {})
        for name, words in offers.items():
            chosen = {other: "1" for other, on in asked.items() if on != (other == name)}
            nav.append((f"not {words}" if asked[name] else words, _href("/diff", a=a.name, b=b.name, **chosen)))

        def found() -> Mapping[str, Any] | None:
            return self._behaviour(a.path, b.path, trace) if self._behaviour and trace and asked["frames"] else None

        return (
            lambda: report(a.path, b.path, spectrum=asked["spectrum"], behaviour=found(), nav=nav).html,
            lambda: {**diff(a.path, b.path).to_dict(), **({"behaviour": told} if (told := found()) else {})},
        )

    def _shared_trace(self, a: Entry, b: Entry) -> str:
        """Return the newest trace below the folder that one of the two played, "" for none."""
        for entry in (b, a):
            with Checkpoint(entry.path) as checkpoint:
                if trace := self._index.trace(checkpoint.manifest.content_digest):
                    return trace
        return ""

    def run(self, name: str, *, query: Mapping[str, str]) -> Answer:
        """Return the page of one run: what it scored and logged, and its checkpoints."""
        if not (entries := entries_of(self._index, name)):
            raise Missing(f"there is no run {printable(name)}")
        shown, data = run_part(self._index, name, entries)
        follow, here = query.get("follow") == "1", f"/runs/{_quote(name)}"
        context = {
            **shown,
            "title": printable(name or "checkpoints", 120),
            "rows": [(row, _checkpoint_href(row[0].name)) for row in shown["rows"]],
            "follow": follow,
            "toggle": here if follow else f"{here}?follow=1",
        }
        data = {"run": name, **data}
        return _answer("run", context, data)

    def files(self, *, query: Mapping[str, str]) -> Answer:
        """Return the page of foreign files, looked at without running anything of them."""
        items = find_sources([self._index.folder], os.devnull).items
        start = _whole(query.get("from"))
        shown = [look_at(item.source, self._index.folder) for item in items[start : start + _FILES]]
        more = _href("/files", **{"from": start + _FILES}) if len(items) > start + _FILES else ""
        data = {"files": shown, "total": len(items), "from": start}
        return _answer("files", {"title": "foreign files", "next": more, **data}, data)

    def lineage(self, name: str, *, query: Mapping[str, str]) -> Answer:
        """Return the page of where a checkpoint came from."""
        found = lineage(self._entry(name).path, [self._index.folder])
        names = {entry.path: entry.name for entry in self._index.entries()}
        named = [(node, names.get(node.path or "", "")) for node in found.nodes]
        nodes = [(node, known, _checkpoint_href(known)) for node, known in named]
        context = {
            "title": printable(name, 120),
            "nodes": nodes,
            "graph": descent([node.path is not None for node in found.nodes]),
        }
        return _answer("lineage", context, found.to_dict())

    def _entry(self, name: str) -> Entry:
        # A form sends names as they stand in its attributes, which hold no text of a file name but its escapes.
        entry = self._index.find(name) or self._index.find(unquote(name))
        if entry is None:
            raise Missing(f"there is no checkpoint {printable(name)} in this folder")
        return entry

    def _sorted(self, entries: list[Entry], sort: str, words: str) -> "_Rows":
        kept = [entry for entry in entries if words in entry.name] if words else entries
        if sort == "changed":
            kept = sorted(kept, key=lambda entry: -entry.changed_ns)
        if sort not in _SORTS:
            return _Rows(self._index, kept, None)
        rows = sorted((self._index.row(entry) for entry in kept), key=_SORTS[sort])
        return _Rows(self._index, kept, rows)


class _Rows:
    """Rows in order; those that are not shown are not read, unless the order depends on what they say."""

    def __init__(self, index: Index, entries: list[Entry], rows: list[Row] | None) -> None:
        self._index, self._entries, self._rows = index, entries, rows
        self.total = len(entries)

    def __call__(self, start: int, end: int) -> list[Row]:
        if self._rows is not None:
            return self._rows[start:end]
        return [self._index.row(entry) for entry in self._entries[start:end]]


def _answer(template: str, context: Mapping[str, Any], data: Mapping[str, Any]) -> Answer:
    return lambda: render(template, context), lambda: data


def _picture(values: Any) -> dict[str, Any] | None:
    """Return the picture of a tensor: kernels as tiles, a matrix as a map of heat."""
    if values is None or values.dtype.kind not in "fiu":
        return None
    if values.ndim == 4:  # (outputs, inputs, height, width) of a convolution
        uri, shown, channels, limit = filters(values)
        return {"uri": uri, "words": f"{shown} filters by {channels} input channels", "limit": limit}
    if values.ndim == 2:
        uri, rows, columns, limit = heat(values)
        return {"uri": uri, "words": f"{rows} rows by {columns} columns, rows by their norm", "limit": limit}
    return None


def _largest(values: Any) -> list[tuple[str, str]]:
    if values is None or values.dtype.kind not in "fiu":
        return []
    flat = np.abs(np.nan_to_num(values.astype(np.float64).reshape(-1), nan=0.0))
    order = np.argsort(-flat, kind="stable")[:_LARGEST]
    places = zip(*np.unravel_index(order, values.shape), strict=True) if values.ndim else [()] * len(order)
    return [(", ".join(map(str, place)), f"{values[place]:.6g}") for place in places]


def _runs(rows: Sequence[Row]) -> list[tuple[str, str]]:
    names = dict.fromkeys(os.path.dirname(row.name) for row in rows)
    return [(printable(name, 80), f"/runs/{_quote(name)}") for name in names if name]


def _checkpoint_href(name: str) -> str:
    return f"/c/{_quote(name)}" if name else ""


def _href(path: str, **given: Any) -> str:
    words = "&".join(f"{key}={_quote(str(value), safe='')}" for key, value in given.items() if value not in ("", None))
    return f"{path}?{words}" if words else path


def _whole(text: str | None) -> int:
    # A step of a trace has at most six digits; what stands in an address is anybody's.
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 8 else 0
