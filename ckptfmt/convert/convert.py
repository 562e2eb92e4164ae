"""Convert a legacy file into a checkpoint that was compared with it, byte for byte."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any, Unpack

from ckptfmt.convert.label import manifest_of, source_of
from ckptfmt.convert.plan import Plan, make_plan
from ckptfmt.errors import CkptError, Problem, SourceError, WouldAssume, printable
from ckptfmt.families.answer import Classification
from ckptfmt.families.facts import FACTS, Given, known
from ckptfmt.format.files import MANIFEST, WEIGHTS, compressed_name
from ckptfmt.format.manifest import Manifest, Source
from ckptfmt.format.nonfinite import count_non_finite
from ckptfmt.format.notebook import Folds, Shown
from ckptfmt.format.record import record
from ckptfmt.remote.far import open_far
from ckptfmt.remote.url import is_url
from ckptfmt.store.write import Compression, Payload, TensorFile, write_checkpoint

__all__ = ["Conversion", "convert", "migrate_old_checkpoint"]

# How many names a sentence has room for.
_NAMED = 3


@record(kw_only=True)
class Conversion(Shown):
    """What was made of a legacy file, and on what evidence.

    `written` is empty after a dry run; `left` names networks of the file that were not taken; `assumed` are
    config fields that nothing decided, `unknown` parts of the manifest of which the file says nothing.
    """

    source: Source
    dest: str
    found_at: str
    left: tuple[str, ...]
    classification: Classification
    family: str | None
    architecture: str | None
    config: Mapping[str, Any] | None
    config_origin: Mapping[str, str]
    tensors: int
    renamed: Mapping[str, str]
    transformed: tuple[Mapping[str, Any], ...]
    made: tuple[str, ...]
    dropped: tuple[str, ...]
    tied: Mapping[str, str]
    assumed: tuple[str, ...]
    unknown: tuple[str, ...]
    warnings: tuple[Problem, ...]
    written: Mapping[str, int]
    content_digest: str | None

    def _notebook_(self) -> tuple[str, Folds]:
        network = self.architecture or "an unknown network"
        origin = self.config_origin
        fields = ((name, value, origin.get(name, "")) for name, value in (self.config or {}).items())
        return f"{self.source.name} -> {self.dest or 'nothing written'}: {network}, {self.tensors:,} tensors", {
            "config, and how each field is known": fields,
            "assumed": ((name,) for name in self.assumed),
            "left": ((str(name),) for name in self.left),
            "dropped": ((str(name),) for name in self.dropped),
            "warnings": ((p.code, p.where, p.message, p.fix) for p in self.warnings),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the result of a `--json` answer."""
        return {
            "source": self.source.to_dict(),
            "dest": self.dest,
            "found_at": self.found_at,
            "left": list(self.left),
            "classification": self.classification.to_dict(),
            "family": self.family,
            "architecture": self.architecture,
            "config": dict(self.config) if self.config else None,
            "config_origin": dict(self.config_origin),
            "tensors": self.tensors,
            "renamed": dict(self.renamed),
            "transformed": [dict(item) for item in self.transformed],
            "made": list(self.made),
            "dropped": list(self.dropped),
            "tied": dict(self.tied),
            "assumed": list(self.assumed),
            "unknown": list(self.unknown),
            "warnings": [problem.to_dict() for problem in self.warnings],
            "written": dict(self.written),
            "content_digest": self.content_digest,
        }


def convert(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    dry_run: bool = False,
    strict: bool = False,
    key: str | None = None,
    allow_unsafe: bool = False,
    settings: Mapping[str, Any] | None = None,
    wait: float = 0.0,
    bulk: bool = False,
    compress: bool = False,
    progress: Callable[[int], None] | None = None,
    **facts: Unpack[Given],
) -> Conversion:
    """Make a checkpoint at `dest` of the legacy file `source`, of which nothing is run; both may be URLs.

    `facts` are what the file does not hold, such as `n_action`; `settings` are further fields of `ModelConfig`. With
    `strict` nothing is assumed that an answer of the network depends on, and no placeholder stands for a class of
    another package. `bulk` is for one of many files: one processor is used, and the memory in which the system holds
    what was written is given back. With `compress` the weights are stored as zstd if they get a tenth smaller.
    `progress` is called with the bytes written since its last call. Raises `SourceError`, `UnsafeSource`,
    `ConversionError`, `TargetExists` or `WriteError`; then nothing was written.

    >>> ckptfmt.convert("dqn_best.pth", "out", n_atoms=51, v_min=-10, v_max=10).architecture
    'distributional'
    """
    if wrong := sorted(set(facts) - set(FACTS)):
        raise TypeError(f"convert() knows no fact {wrong[0]!r}; it knows {', '.join(FACTS)}")
    with (
        _near(source) as path,
        make_plan(path, key=key, allow_unsafe=allow_unsafe, given=dict(facts), settings=settings) as plan,
    ):
        if strict and plan.legacy.placeholders:
            raise _stands_in(plan)
        if strict and plan.decisive:
            raise _would_assume(plan)
        tensors = {name: _Watched(tensor, progress) for name, tensor in plan.tensors.items()}
        if dry_run:
            manifest = None
            # Reads everything and keeps nothing: a dry run finds what a conversion would, damage among it.
            deque(chain.from_iterable(tensor.chunks() for tensor in tensors.values()), maxlen=0)
        else:
            form = Compression() if compress else None
            manifest = _write(plan, dest, tensors, form, overwrite=overwrite, wait=wait, bulk=bulk)
        plan.warnings += _diverged(plan, tensors)
        return _report(plan, os.fspath(dest), manifest)


def _near(source: str | os.PathLike[str]) -> AbstractContextManager[str | os.PathLike[str]]:
    """Return the path of a source, or of what lies at a URL for as long as it is read."""
    if os.path.lexists(source) or not is_url(source):
        return nullcontext(source)
    # The import that waits: few sources lie in a store.
    from ckptfmt.convert.fetched import fetched

    return fetched(os.fspath(source))


def _would_assume(plan: Plan) -> WouldAssume:
    """Return the refusal of a file that leaves open what answers of its network depend on."""
    give = ", ".join(f"{name}=" for name in plan.decisive)
    return WouldAssume(
        f"would assume {', '.join(plan.decisive)}", where=plan.path, fix=f"give {give}, or leave strict=True out"
    )


def _stands_in(plan: Plan) -> WouldAssume:
    """Return the refusal of a file in which placeholders stand for what other packages would have made."""
    names = [printable(name, 80) for name in plan.legacy.placeholders]
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return WouldAssume(
        f"would put placeholders in place of {', '.join(names[:_NAMED])}{more}",
        where=plan.path,
        fix="leave strict=True out",
        code="convert.placeholders",
    )


def migrate_old_checkpoint(
    old_path: str | os.PathLike[str], new_path: str | os.PathLike[str], model_config: Any = None
) -> Conversion:
    """Convert an old file of training code; where `model_config` is given, its network must be that one.

    The same as `convert`, under the name and with the arguments that existing training code calls.
    """
    if model_config is None:
        return convert(old_path, new_path)
    own = model_config.to_dict() if hasattr(model_config, "to_dict") else dict(model_config)
    facts = known(own, tuple(FACTS))
    if hasattr(model_config, "get_architecture_name"):
        facts["architecture"] = model_config.get_architecture_name()
    return convert(old_path, new_path, **facts)


@dataclass(slots=True)
class _Watched:
    """A tensor that says how many of its bytes were asked for, and counts NaN and infinity among them."""

    payload: Payload
    progress: Callable[[int], None] | None
    special: int = 0

    @property
    def dtype(self) -> str:
        return self.payload.dtype

    @property
    def shape(self) -> Sequence[int]:
        return self.payload.shape

    def chunks(self) -> Iterator[bytes | memoryview]:
        # A tensor is read again where compressing it did not pay; each reading counts anew.
        self.special = 0
        for chunk in self.payload.chunks():
            self.special += count_non_finite(bytes(chunk), self.dtype)
            yield chunk
            if self.progress is not None:
                self.progress(len(chunk))


def _write(
    plan: Plan,
    dest: str | os.PathLike[str],
    tensors: Mapping[str, Payload],
    form: Compression | None,
    **options: Any,
) -> Manifest:
    file = TensorFile(tensors, plan.tied, form)
    try:
        return write_checkpoint(
            dest, {WEIGHTS: file}, lambda entries: manifest_of(plan, entries, verified=True), **options
        )
    except CkptError as e:
        # A source that was changed or cut short meanwhile explains every other error.
        plan.legacy.check_unchanged()
        if isinstance(e, SourceError) and not e.where:
            e.where = printable(plan.path)
        raise


def _diverged(plan: Plan, tensors: Mapping[str, _Watched]) -> tuple[Problem, ...]:
    """Return a warning where numbers of the network are not finite: its training has diverged."""
    spoilt = {name: tensor.special for name, tensor in tensors.items() if tensor.special}
    if not spoilt:
        return ()
    first, _ = next(iter(spoilt.items()))
    more = f" and {len(spoilt) - 1} more" if len(spoilt) > 1 else ""
    numbers = sum(spoilt.values())
    message = f"holds {numbers:,} NaN or infinite number{'s' if numbers > 1 else ''}, in {printable(first)}{more}"
    return (
        Problem(
            "weights.non-finite",
            plan.path,
            message,
            "the training has diverged: go back to an earlier checkpoint",
            "warning",
        ),
    )


def _report(plan: Plan, dest: str, manifest: Manifest | None) -> Conversion:
    silent = [name for name in ("training_info", "environment") if not getattr(plan.declared, name)]
    written = {} if manifest is None else _sizes(dest)
    return Conversion(
        source=source_of(plan),
        dest=dest,
        found_at=plan.network.path,
        left=tuple(plan.left),
        classification=plan.classification,
        family=plan.config.family if plan.config else None,
        architecture=plan.candidate.name if plan.candidate else None,
        config=plan.config.to_dict() if plan.config else None,
        config_origin=plan.origin,
        tensors=len(plan.tensors) + len(plan.tied),
        renamed=plan.renamed,
        transformed=tuple(item.to_dict() for item in plan.transformed),
        made=plan.made,
        dropped=plan.dropped,
        tied=plan.tied,
        assumed=plan.assumed,
        unknown=tuple(silent),
        warnings=plan.warnings,
        written=written,
        content_digest=manifest.content_digest if manifest else None,
    )


def _sizes(dest: str) -> dict[str, int]:
    """Return the bytes of what was written, in the form in which it lies there."""
    if is_url(dest):
        return dict(open_far(dest).names())
    places = {name: os.path.join(dest, name) for name in (WEIGHTS, compressed_name(WEIGHTS), MANIFEST)}
    return {name: os.stat(place).st_size for name, place in places.items() if os.path.exists(place)}
