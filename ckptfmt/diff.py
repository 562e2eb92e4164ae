"""What differs between two checkpoints, or a legacy file and a checkpoint: as data, digests first."""

from dataclasses import dataclass
from typing import Any, Literal

from ckptfmt.plain import plain

__all__ = ["Diff", "ManifestChange", "Side", "WeightChange"]

Op = Literal["changed", "added", "removed", "renamed"]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared; `kind` is checkpoint, legacy or safetensors."""

    path: str
    kind: str
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return the side with the keys of `report.schema.json`."""
        return {"path": self.path, "kind": self.kind, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class ManifestChange:
    """One value that differs; `path` is dotted, `a` or `b` is None where the other side alone has it.

    A `volatile` change says when or by which version a checkpoint was made: it is shown, and does not make
    two checkpoints differ.
    """

    op: Op
    path: str
    a: Any
    b: Any
    volatile: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the change with the keys of `report.schema.json`."""
        return {
            "op": self.op,
            "path": self.path,
            "a": plain(self.a),
            "b": plain(self.b),
            "volatile": self.volatile,
        }


@dataclass(frozen=True, slots=True)
class WeightChange:
    """One tensor that differs, as it is in b (in a, where it was removed).

    `from_name`, `from_dtype` and `from_shape` are what it was in a, where that differs. The numbers are None
    where they make no sense: other shapes, tensors that were added or removed, a cosine with a zero tensor.
    `rel_l2` is |b - a| / |a|, `max_abs` the largest |b - a|, both over the elements that are finite on both
    sides; `non_finite` counts the changed elements that are not. `changed_fraction` is the share of elements
    whose bytes differ, or that lie outside the tolerance where one was given.
    """

    op: Op
    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    from_name: str | None = None
    from_dtype: str | None = None
    from_shape: tuple[int, ...] | None = None
    rel_l2: float | None = None
    cosine: float | None = None
    max_abs: float | None = None
    changed_fraction: float | None = None
    non_finite: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the change with the keys of `report.schema.json`."""
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Diff:
    """What `diff` found: `manifest` changes by path, `weights` changes in the order of the tensors in b.

    `identical` counts the tensors that are the same on both sides, `close` those that differ only within the
    tolerance that was given.
    """

    a: Side
    b: Side
    manifest: tuple[ManifestChange, ...]
    weights: tuple[WeightChange, ...]
    identical: int
    close: int = 0

    @property
    def same(self) -> bool:
        """Return whether nothing differs but what is volatile."""
        return not self.weights and all(change.volatile for change in self.manifest)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many tensors were changed, added, removed, renamed, are close, are identical."""
        ops = ("changed", "added", "removed", "renamed")
        found = {op: sum(change.op == op for change in self.weights) for op in ops}
        return {**found, "close": self.close, "identical": self.identical}

    def to_dict(self) -> dict[str, Any]:
        """Return the result of `ckpt diff --json`."""
        return {
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
            "same": self.same,
            "manifest": [change.to_dict() for change in self.manifest],
            "weights": [change.to_dict() for change in self.weights],
            "counts": self.counts,
        }
