"""One way to look at a checkpoint and at a legacy file: named tensors, their digests, their bytes when asked for."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ckptfmt.errors import ConversionError
from ckptfmt.families.blueprint import Blueprint, layer_order
from ckptfmt.families.facts import known
from ckptfmt.format.digest import content_digest, tensor_digest
from ckptfmt.format.document import fields_of
from ckptfmt.format.files import WEIGHTS
from ckptfmt.format.freeform import decode_free
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.uncollected import OF_A_TENSOR, uncollected
from ckptfmt.store.checkpoint import Checkpoint

if TYPE_CHECKING:
    from ckptfmt.convert.plan import Plan

__all__ = ["CheckpointView", "LegacyView", "TensorView", "View", "open_view"]

# Files up to this size are read and checked before their digests are believed; it takes milliseconds.
_READ = 128 << 20
# The parts of a manifest that hold anything, and what they are where they hold nothing.
_EMPTY: Mapping[str, Any] = {"config": None, "environment": {}, "training_info": {}, "evaluation": (), "extra": {}}


class TensorView:
    """A tensor of either side; its digest is computed when it is asked for, if nobody has written it down."""

    def __init__(
        self, dtype: str, shape: tuple[int, ...], chunks: Callable[[int], Iterator[bytes]], digest: str | None = None
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self.chunks = chunks
        self._known = digest

    @cached_property
    def digest(self) -> str:
        """Return the digest of the tensor's bytes, as a manifest says it."""
        if self._known is not None:
            return self._known
        # Parts that stay in the processor's cache until they are hashed.
        return tensor_digest(self.chunks(1 << 20))


class CheckpointView:
    """A checkpoint, whose digests its manifest holds.

    `verified` is whether its bytes were held against them: those of large files are not, `validate` does that.
    """

    kind = "checkpoint"

    def __init__(self, checkpoint: Checkpoint, *, keep_open: bool = False) -> None:
        self.path = checkpoint.path
        self._checkpoint = checkpoint
        self._keep_open = keep_open
        self._lock = Lock()
        with uncollected(sum(OF_A_TENSOR * len(entry.tensors) for entry in checkpoint.manifest.contents.values())):
            self._look(checkpoint)

    def _look(self, checkpoint: Checkpoint) -> None:
        self.verified = sum(entry.bytes for entry in checkpoint.manifest.files.values()) <= _READ
        if self.verified:
            self._verify()
        self.manifest = _fields(self._checkpoint.manifest)
        files = self._checkpoint.manifest.contents
        places = ((file, name) for file in files for name in layer_order(self._checkpoint.names(file), self.network))
        self.tensors = {place: self._tensor(*place) for place in places}

    def _verify(self) -> None:
        try:
            self._checkpoint.verify()
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        if not self._keep_open:
            self._checkpoint.close()

    @property
    def network(self) -> Blueprint | None:
        """Return what the network is, None where it is unknown."""
        return self._checkpoint.network

    @property
    def digest(self) -> str:
        """Return the content_digest of the network."""
        return self._checkpoint.manifest.content_digest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _tensor(self, file: str, name: str) -> TensorView:
        info = self._checkpoint.info(name, file)

        def chunks(size: int) -> Iterator[bytes]:
            parts = self._checkpoint.chunks(name, file, size=size)
            # A file is opened and its header checked at the first step; two threads must not do it at once.
            with self._lock:
                first = next(parts, b"")
            yield first
            yield from parts

        return TensorView(info.dtype, tuple(info.shape), chunks, info.digest)


class LegacyView:
    """A legacy file, under the names that a conversion would give its tensors."""

    kind = "legacy"
    verified = True

    def __init__(self, path: str, plan: "Plan") -> None:
        self.path = path
        self._plan = plan
        stored = {name: TensorView(t.dtype, tuple(t.shape), t.chunks) for name, t in plan.tensors.items()}
        named = stored | {name: stored[other] for name, other in plan.tied.items()}
        self._stored = stored
        self.network = Blueprint.of(plan.config) if plan.config else None
        self.tensors = {(WEIGHTS, name): named[name] for name in layer_order(named, self.network)}
        said = {
            "architecture": self.network.architecture.to_dict() if self.network else None,
            "config": plan.config.to_dict() if plan.config else None,
            "environment": plan.declared.environment,
            "training_info": plan.declared.training_info,
            "extra": plan.declared.extra,
        }
        self.manifest: Mapping[str, Any] = decode_free(said)

    @property
    def digest(self) -> str:
        """Return the content_digest that a conversion would give the network."""
        return content_digest((name, t.dtype, t.shape, t.digest) for name, t in self._stored.items())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._plan.legacy.check_unchanged()
        finally:
            self._plan.close()


def _fields(manifest: Manifest) -> Mapping[str, Any]:
    """Return the fields of a manifest in their order, values decoded, but for its files.

    These are compared tensor by tensor. What is free of form may be most of a manifest, and is taken as it was read.
    """
    free = {name: item for name, item in _EMPTY.items() if getattr(manifest, name) != item}
    rest = decode_free(replace(manifest, files={}, split={}, **free).to_dict())
    held = {**rest, **{name: getattr(manifest, name) for name in free}}
    return {name: held[name] for name in [*fields_of(Manifest), *manifest.unknown] if name in held}


# What can be compared; `tensors` are by (file, name), tied names included.
View = CheckpointView | LegacyView


def open_view(
    path: str | os.PathLike[str], *, like: View | None = None, key: str | None = None, allow_unsafe: bool = False
) -> View:
    """Open a checkpoint folder or a legacy file to be looked at.

    What a legacy file cannot say of its network is taken from `like`, the other side of a comparison; where
    that does not help either, its tensors keep their own names. Raises what `Checkpoint` and `make_plan` raise.
    """
    where = os.fspath(path)
    if not os.path.isfile(where):
        return CheckpointView(Checkpoint(where))
    # The one import that waits: checkpoints are compared without the readers of legacy files.
    from ckptfmt.convert.plan import make_plan

    last: ConversionError | None = None
    for given in _attempts(like):
        try:
            return LegacyView(where, make_plan(where, key=key, allow_unsafe=allow_unsafe, given=given))
        except ConversionError as e:
            last = e
    raise last or ConversionError("cannot be compared", where=where)


def _attempts(like: View | None) -> Iterator[dict[str, Any]]:
    # First by itself: what the file says counts for more than what the other side is.
    yield {}
    if like is not None and like.network is not None:
        yield known(like.network.config.to_dict()) | {"architecture": like.network.name}
    yield {"architecture": "none"}
