"""What a checkpoint is, told from its manifest and headers alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ckptfmt.errors import Problem
from ckptfmt.plain import plain
from ckptfmt.stats import TensorStats

__all__ = ["Summary", "TensorSummary"]


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """One tensor; `tied_to` names the stored tensor whose bytes it shares, `offset` counts from the data's start."""

    name: str
    file: str
    dtype: str
    shape: tuple[int, ...]
    parameters: int
    bytes: int
    offset: int
    blake3: str
    tied_to: str | None = None
    stats: TensorStats | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the tensor with the keys of `report.schema.json`; `stats` only where they were asked for."""
        fields = {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}
        return fields if self.stats else {name: item for name, item in fields.items() if name != "stats"}


@dataclass(frozen=True, slots=True)
class Summary:
    """What `ckpt inspect` says; the mappings are None where the checkpoint does not know.

    `algorithm` is the architecture's name. `network` holds what rebuilds it, `training` and `environment` what
    the training code said, `evaluation` the results that were written into the manifest.
    """

    path: str
    format_version: str
    created_at: str
    created_by: Mapping[str, str]
    algorithm: str | None
    environment: Mapping[str, Any] | None
    network: Mapping[str, Any] | None
    training: Mapping[str, Any] | None
    evaluation: tuple[Mapping[str, Any], ...]
    lineage: Mapping[str, Any] | None
    conversion: Mapping[str, Any] | None
    content_digest: str
    manifest_digest: str
    totals: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    tensors: tuple[TensorSummary, ...]
    warnings: tuple[Problem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result of `ckpt inspect --json`."""
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}
