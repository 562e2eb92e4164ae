"""What was changed, added, removed or renamed: single changes as data, and what decides which count."""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal

from ckptfmt.format.manifest import Manifest
from ckptfmt.format.plain import plain
from ckptfmt.format.record import record

__all__ = ["Filter", "ManifestChange", "Op", "Tolerance", "WeightChange", "inner_path", "manifest_changes", "paths"]

Op = Literal["changed", "added", "removed", "renamed"]

# What follows from the rest of a manifest, or from its files, which are compared by themselves.
_DERIVED = frozenset({"content_digest", "files", "manifest_digest", "split"})
_VOLATILE = frozenset(
    {
        "format_version",
        "created_at",
        "created_by",
        "config.created_at",
        "config.framework_version",
        "config.model_version",
    }
)


@record
class Tolerance:
    """Elements count as unchanged while |b - a| <= `atol` + `rtol` * |a|; the default lets nothing pass."""

    rtol: float = 0.0
    atol: float = 0.0

    def __bool__(self) -> bool:
        return self.rtol > 0 or self.atol > 0


@record
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
        values = {"a": plain(self.a), "b": plain(self.b)}
        return {"op": self.op, "path": self.path, **values, "volatile": self.volatile}


@record(kw_only=True)
class WeightChange:
    """One tensor that differs, as it is in b (in a, where it was removed).

    `from_name`, `from_dtype` and `from_shape` are what it was in a, where that differs. The numbers are None
    where they make no sense: other shapes, tensors that were added or removed, a cosine with a zero tensor.
    `rel_l2` is |b - a| / |a|, `max_abs` the largest |b - a|, both over the elements that are finite on both
    sides; `non_finite` counts the changed elements that are not. `changed_fraction` is the share of elements
    whose bytes differ (of another dtype: whose values do), or that lie outside the tolerance that was given.
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


@record
class Filter:
    """Which changes count: those named by `only` (all, where it is empty) and by none of `ignore`.

    A word is `manifest`, `weights`, a path in the manifest, the name of a tensor, the beginning of either up to
    a dot, or a pattern with `*`.
    """

    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def manifest(self, path: str) -> bool:
        """Return whether a change of this value of the manifest counts."""
        return self._counts("manifest", path)

    def tensor(self, file: str, name: str) -> bool:
        """Return whether a change of this tensor counts; those of other files are named `file/name` too."""
        return self._counts("weights", name, f"{file}/{name}")

    def unknown(self, fields: Iterable[str], tensors: Iterable[tuple[str, str]]) -> str | None:
        """Return a word of `only` that names nothing of these, None where each names something."""
        known = {"manifest", "weights", *Manifest.__dataclass_fields__}
        left = [word for word in self.only if word not in known]
        for names in ((path,) for path in fields), ((name, f"{file}/{name}") for file, name in tensors):
            for some in names if left else ():
                left = [word for word in left if not any(_fits(word, name) for name in some)]
        return left[0] if left else None

    def _counts(self, kind: str, *names: str) -> bool:
        if not (self.only or self.ignore):
            return True

        def named(words: Iterable[str]) -> bool:
            return any(word == kind or any(_fits(word, name) for name in names) for word in words)

        return (not self.only or named(self.only)) and not named(self.ignore)


def manifest_changes(a: Mapping[str, Any], b: Mapping[str, Any], chosen: Filter) -> Iterator[ManifestChange]:
    """Yield each value that differs between two manifests with decoded values, in the order of their fields.

    Digests and the list of files are left out, they follow from the tensors; so is what only one of the two
    can have, where one is a legacy file, which says nothing of its own making.
    """
    # Of two manifests all fields; of a legacy file those that it can have, or every comparison would begin with what
    # it lacks.
    shared = {**a, **b} if "format" in a and "format" in b else {name: a.get(name, b.get(name)) for name in _LEGACY}
    for name in shared:
        if name not in _DERIVED:
            yield from (
                change
                for change in _compare(name, a.get(name, _ABSENT), b.get(name, _ABSENT), name in _VOLATILE)
                if chosen.manifest(change.path)
            )


_LEGACY = ("architecture", "config", "environment", "training_info", "extra")
# Characters of a path; 64 levels of names of usual length take fewer.
_LONGEST = 600
_ABSENT: Any = type("Absent", (), {})()


def inner_path(path: str, name: Any) -> str:
    """Return the path of a value in another one, of which no more is kept than somebody reads.

    A key may be as long as a manifest, and stands in the path of everything below it.
    """
    return f"{path if len(path) <= _LONGEST else path[: _LONGEST - 1] + '…'}.{str(name)[:_LONGEST]}"


def _compare(path: str, a: Any, b: Any, volatile: bool) -> Iterator[ManifestChange]:
    if isinstance(a, Mapping) or isinstance(b, Mapping):
        # An empty object says no more than none at all.
        left, right = (side if isinstance(side, Mapping) else {} for side in (a, b))
        if all(isinstance(side, Mapping) or side is _ABSENT for side in (a, b)):
            for name in {**left, **right}:
                inner = inner_path(path, name)
                shown = volatile or inner in _VOLATILE
                yield from _compare(inner, left.get(name, _ABSENT), right.get(name, _ABSENT), shown)
            return
    if a is _ABSENT and b is not _ABSENT:
        yield ManifestChange("added", path, None, b, volatile)
    elif b is _ABSENT and a is not _ABSENT:
        yield ManifestChange("removed", path, a, None, volatile)
    elif not _equal(a, b):
        yield ManifestChange("changed", path, a, b, volatile)


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted path of each value in a manifest, of an empty object its own."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from paths(item, inner_path(path, name) if path else str(name)[:_LONGEST])
    else:
        yield path


def _equal(a: Any, b: Any) -> bool:
    """Compare by value and type: 1 is not true and not 1.0, NaN is NaN, a tuple is a list."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_equal(a[name], b[name]) for name in a)
    # Only NaN differs from itself.
    return type(a) is type(b) and (a == b or (a != a and b != b))


def _fits(word: str, name: str) -> bool:
    return name == word or name.startswith(f"{word}.") or fnmatchcase(name, word)
