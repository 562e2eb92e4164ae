"""What a legacy file holds, told without converting it and without running anything of it."""

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ckptfmt.convert.declared import read_declared
from ckptfmt.convert.fetched import fetched
from ckptfmt.convert.recognise import classify_network
from ckptfmt.errors import CkptError, Problem, UnsafeSource
from ckptfmt.format.plain import plain
from ckptfmt.format.record import record
from ckptfmt.legacy.find.find import Network, find_networks
from ckptfmt.legacy.open import LegacyFile
from ckptfmt.legacy.sharded import open_source
from ckptfmt.remote.url import is_url

__all__ = ["NetworkSummary", "SourceSummary", "SourceTensor", "summarize_source"]


@record
class SourceTensor:
    """One tensor of a legacy file under the name it has there."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    parameters: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the tensor with the keys of `report.schema.json`."""
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}


@record
class NetworkSummary:
    """Tensors that lie together in a legacy file: where, in which role, and which network they are.

    `classification` is the classifier's answer with its candidates; None for optimizer state, and where what
    lies beside the tensors cannot be read, which `trouble` then says.
    """

    path: str
    role: str
    tensors: tuple[SourceTensor, ...]
    classification: Mapping[str, Any] | None
    config: Mapping[str, Any]
    training: Mapping[str, Any]
    trouble: str = ""

    @property
    def totals(self) -> dict[str, Any]:
        """Return number, parameters, bytes and dtypes of the tensors."""
        return {
            "tensors": len(self.tensors),
            "parameters": sum(tensor.parameters for tensor in self.tensors),
            "bytes": sum(tensor.bytes for tensor in self.tensors),
            "dtypes": dict(Counter(tensor.dtype for tensor in self.tensors).most_common()),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the network with the keys of `report.schema.json`."""
        return {
            "path": self.path,
            "role": self.role,
            "classification": plain(self.classification),
            "config": plain(self.config),
            "training": plain(self.training),
            "trouble": self.trouble,
            "totals": self.totals,
            "tensors": [tensor.to_dict() for tensor in self.tensors],
        }


@record
class SourceSummary:
    """What a legacy file is and holds.

    `globals` are all names of code in its pickles, `placeholders` those of other packages. `refusal` says why the
    file would be refused, empty where it would not; even then nothing of it was run.
    """

    path: str
    bytes: int
    sha256: str
    container: str
    pickle_protocol: int | None
    globals: tuple[str, ...]
    placeholders: tuple[str, ...]
    refusal: str
    networks: tuple[NetworkSummary, ...]
    warnings: tuple[Problem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result of `ckpt inspect --source --json`."""
        return {name: plain(getattr(self, name)) for name in self.__dataclass_fields__}


def summarize_source(path: str | os.PathLike[str], *, allow_unsafe: bool = False) -> SourceSummary:
    """Return what the legacy file at `path` holds, its best network first.

    A file that would be refused for the names in its pickles is told of too: the names stay names. One at a URL is
    fetched for it. Raises `SourceError` where it cannot be read at all.
    """
    if not os.path.lexists(path) and is_url(path):
        with fetched(os.fspath(path)) as near:
            return replace(summarize_source(near, allow_unsafe=allow_unsafe), path=os.fspath(path))
    refusal = ""
    try:
        legacy = open_source(path, allow_unsafe=allow_unsafe)
    except UnsafeSource as e:
        refusal = e.what
        legacy = _read_refused(path, e)
    with legacy:
        source = legacy.source
        found = find_networks(legacy.members)
        networks = tuple(_network(network, found, os.fspath(path)) for network in found)
        return SourceSummary(
            path=os.fspath(path),
            bytes=source.bytes,
            sha256=source.sha256,
            container=source.container,
            pickle_protocol=source.pickle_protocol,
            globals=tuple(source.globals),
            placeholders=tuple(legacy.placeholders),
            refusal=refusal,
            networks=networks,
            warnings=legacy.warnings,
        )


def _read_refused(path: str | os.PathLike[str], refused: UnsafeSource) -> LegacyFile:
    try:
        return open_source(path, allow_unsafe=True)
    except CkptError:
        # What stopped the first reading says more than what stopped the second.
        raise refused from None


def _network(network: Network, others: Sequence[Network], where: str) -> NetworkSummary:
    tensors = tuple(
        SourceTensor(name, tensor.dtype, tuple(tensor.shape), math.prod(tensor.shape), tensor.nbytes)
        for name, tensor in network.tensors.items()
    )
    try:
        declared = read_declared(network.facts, where=where)
    except CkptError as e:
        return NetworkSummary(network.path, network.role, tensors, None, {}, {}, str(e))
    # The state of an optimizer has the shapes of its network, and would be told as one.
    answer = None if network.role == "optimizer" else classify_network(network, declared, {}, others).to_dict()
    return NetworkSummary(network.path, network.role, tensors, answer, declared.config, declared.training_info)
