"""What differs between two checkpoints, or a legacy file and a checkpoint: as data, digests first."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.format.notebook import Folds, Shown
from ckptfmt.format.record import record
from ckptfmt.format.uncollected import OF_A_TENSOR, uncollected
from ckptfmt.look.diff.changes import Filter, ManifestChange, Op, Tolerance, WeightChange, manifest_changes, paths
from ckptfmt.look.diff.views import CheckpointView, TensorView, View, open_view
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["Diff", "Side", "diff", "diff_open"]

# More changes of a manifest than anybody reads, and each takes some hundred bytes.
_MOST = 10_000

_Tensors = Mapping[tuple[str, str], TensorView]


@record
class Side:
    """One of the two that are compared; `kind` is checkpoint or legacy.

    `verified` is whether its bytes were held against its digests; those of large checkpoints are not.
    """

    path: str
    kind: str
    digest: str
    verified: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the side with the keys of `report.schema.json`."""
        return {"path": self.path, "kind": self.kind, "digest": self.digest, "verified": self.verified}


@record
class Diff(Shown):
    """What `diff` found: `manifest` changes by path, `weights` changes in the order of the tensors in b.

    Of the manifest the first 10,000 changes are listed; `unlisted` counts those beyond. `identical` counts the tensors
    that are the same on both sides, `close` those that differ only within the tolerance that was given.
    """

    a: Side
    b: Side
    manifest: tuple[ManifestChange, ...]
    weights: tuple[WeightChange, ...]
    identical: int
    close: int = 0
    unlisted: int = 0

    @property
    def same(self) -> bool:
        """Return whether nothing differs but what is volatile."""
        return not (self.weights or self.unlisted) and all(change.volatile for change in self.manifest)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many tensors were changed, added, removed, renamed, are close, are identical."""
        ops = ("changed", "added", "removed", "renamed")
        found = {op: sum(change.op == op for change in self.weights) for op in ops}
        return {**found, "close": self.close, "identical": self.identical}

    def _notebook_(self) -> tuple[str, Folds]:
        counts = ", ".join(f"{count:,} {op}" for op, count in self.counts.items() if count)
        first = "the same" if self.same else f"{len(self.manifest) + self.unlisted:,} fields differ, tensors: {counts}"
        weights = ((c.name, c.op, "" if c.rel_l2 is None else f"{c.rel_l2:.4g}") for c in self.weights)
        return f"{self.a.path} -> {self.b.path}: {first}", {
            "manifest": ((change.path, change.a, change.b) for change in self.manifest),
            "weights": weights,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the result of `ckpt diff --json`."""
        return {
            "a": self.a.path,
            "b": self.b.path,
            "sides": {"a": self.a.to_dict(), "b": self.b.to_dict()},
            "same": self.same,
            "manifest": [change.to_dict() for change in self.manifest],
            "unlisted": self.unlisted,
            "weights": [change.to_dict() for change in self.weights],
            "counts": self.counts,
        }


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    only: Iterable[str] = (),
    ignore: Iterable[str] = (),
    rtol: float = 0.0,
    atol: float = 0.0,
    numbers: bool = True,
    key: str | None = None,
    allow_unsafe: bool = False,
) -> Diff:
    """Compare two checkpoints, a legacy file and a checkpoint, or two legacy files.

    Digests decide what differs, after the bytes of all but large checkpoints were held against them. Numbers are
    computed only of tensors that differ, and only with `numbers`: in parts, on all cores, with at most 200 MB of
    memory. A legacy file is seen as a conversion would write it; `key` chooses one of its networks. `only` and
    `ignore` hold words as `changes.Filter` reads them. Elements with `|b - a| <= atol + rtol * |a|` count as
    unchanged, which takes `numbers`. Raises `CkptError` where a side cannot be read or its bytes are damaged.

    >>> ckptfmt.diff("runs/best", "runs/last").counts["changed"]
    8
    """
    chosen = Filter(tuple(only), tuple(ignore))
    with _open_both(a, b, key, allow_unsafe) as (left, right):
        _refuse_unknown(chosen, left, right)
        return _compared(left, right, chosen, Tolerance(rtol, atol) if numbers else None)


def diff_open(a: Checkpoint, b: Checkpoint) -> Diff:
    """Compare two checkpoints that are open, and stay so: what was parsed of them is not parsed again."""
    with CheckpointView(a, keep_open=True) as left, CheckpointView(b, keep_open=True) as right:
        return _compared(left, right, Filter(), Tolerance())


def _compared(left: View, right: View, chosen: Filter, tolerance: Tolerance | None) -> Diff:
    """Return what differs; without a `tolerance` no numbers are computed of it."""
    with uncollected(OF_A_TENSOR * len(right.tensors)):
        return _found(left, right, chosen, tolerance)


def _found(left: View, right: View, chosen: Filter, tolerance: Tolerance | None) -> Diff:
    changes = manifest_changes(left.manifest, right.manifest, chosen)
    listed = tuple(islice(changes, _MOST))
    unlisted = sum(1 for _ in changes)
    found = list(_tensor_changes(left.tensors, right.tensors, chosen))
    differing = [change for change in found if change is not None]
    close = 0
    if tolerance is not None and differing:
        # The one import that waits: it brings NumPy, and most comparisons end without a number.
        from ckptfmt.look.diff.measure import measure_all

        differing, close = measure_all(differing, left.tensors, right.tensors, tolerance)
    return Diff(_side(left), _side(right), listed, tuple(differing), found.count(None), close, unlisted)


@contextmanager
def _open_both(
    a: str | os.PathLike[str], b: str | os.PathLike[str], key: str | None, allow_unsafe: bool
) -> Iterator[tuple[View, View]]:
    """Open a checkpoint before a legacy file, whose open questions it may answer."""
    if os.path.isfile(a) and not os.path.isfile(b):
        with open_view(b) as right, open_view(a, like=right, key=key, allow_unsafe=allow_unsafe) as left:
            yield left, right
    else:
        with (
            open_view(a, key=key, allow_unsafe=allow_unsafe) as left,
            open_view(b, like=left, key=key, allow_unsafe=allow_unsafe) as right,
        ):
            yield left, right


def _refuse_unknown(chosen: Filter, left: View, right: View) -> None:
    """Raise `CkptError` for a word that names nothing on either side: nothing compared would be called the same."""
    fields = chain(paths(left.manifest), paths(right.manifest))
    if (word := chosen.unknown(fields, chain(left.tensors, right.tensors))) is not None:
        raise CkptError(
            f"has no field or tensor '{printable(word, 60)}', nor has the one it is compared with",
            where=right.path,
            fix="see their names: ckptfmt.summarize(PATH)",
            code="usage.word",
        )


def _side(view: View) -> Side:
    return Side(view.path, view.kind, view.digest, view.verified)


def _tensor_changes(a: _Tensors, b: _Tensors, chosen: Filter) -> Iterator[WeightChange | None]:
    """Yield a change for each tensor of b that differs, None for each that is identical, then what is gone."""
    gone = {place: tensor for place, tensor in a.items() if place not in b and chosen.tensor(*place)}
    index = _Index(gone)
    for place, tensor in b.items():
        if not chosen.tensor(*place):
            continue
        if place in a:
            yield _changed(place, a[place], tensor)
        # Only what is new here can be something that is gone there under another name.
        elif (old := index.take(place[0], tensor)) is not None:
            del gone[old]
            yield _change("renamed", place, tensor, from_name=old[1])
        else:
            yield _change("added", place, tensor)
    for place, tensor in gone.items():
        yield _change("removed", place, tensor)


def _changed(place: tuple[str, str], a: TensorView, b: TensorView) -> WeightChange | None:
    if (a.dtype, a.shape) == (b.dtype, b.shape):
        return None if a.digest == b.digest else _change("changed", place, b)
    before: dict[str, Any] = {"from_dtype": a.dtype, "from_shape": a.shape}
    same = {"from_dtype": a.dtype == b.dtype, "from_shape": a.shape == b.shape}
    return _change("changed", place, b, **{name: item for name, item in before.items() if not same[name]})


class _Index:
    """Tensors that are gone, by their bytes: each is found once, in one step, and read only if one may be it."""

    def __init__(self, gone: _Tensors) -> None:
        self._gone = dict(gone)
        self._forms: dict[tuple[str, str, tuple[int, ...]], list[tuple[str, str]]] = {}
        for place, tensor in gone.items():
            self._forms.setdefault((place[0], tensor.dtype, tuple(tensor.shape)), []).append(place)
        self._known: dict[tuple[str, str, tuple[int, ...]], dict[str, deque[tuple[str, str]]]] = {}

    def take(self, file: str, tensor: TensorView) -> tuple[str, str] | None:
        """Return where the first tensor with these bytes was, which is not found again; None for none."""
        form = (file, tensor.dtype, tuple(tensor.shape))
        if form not in self._forms:
            return None
        if form not in self._known:
            known = self._known[form] = {}
            for place in self._forms[form]:
                known.setdefault(self._gone[place].digest, deque()).append(place)
        places = self._known[form].get(tensor.digest)
        return places.popleft() if places else None


def _change(op: Op, place: tuple[str, str], tensor: TensorView, **before: Any) -> WeightChange:
    return WeightChange(op=op, name=place[1], file=place[0], dtype=tensor.dtype, shape=tensor.shape, **before)
