"""A network as its config describes it: its name, its tensors, and how a file departs from them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

from ckptfmt.errors import ManifestError, Problem, printable
from ckptfmt.families import registry
from ckptfmt.families.config import Config
from ckptfmt.families.registry import Family, Shape
from ckptfmt.format.document import fields_of
from ckptfmt.format.dtypes import FLOATS
from ckptfmt.format.files import MANIFEST
from ckptfmt.format.manifest import Architecture, Manifest
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import shape_text
from ckptfmt.format.versions import is_newer

__all__ = ["Blueprint", "Described", "absent_family", "layer_order", "misnamed", "parse_blueprint", "read_blueprint"]


class Described(Protocol):
    """What is known of a tensor before it is read."""

    @property
    def dtype(self) -> str:
        """Return the dtype as safetensors names it."""
        ...

    @property
    def shape(self) -> Sequence[int]:
        """Return the sizes of the dimensions."""
        ...


@record
class Blueprint:
    """A config together with the family that gives it a meaning."""

    family: Family
    config: Any

    @classmethod
    def of(cls, config: Config) -> Self:
        """Return the network that a config describes; raise `ManifestError` where its family is not installed."""
        family = registry.find(config.family)
        if family is None:
            raise ManifestError(
                f"a config of the family {printable(config.family, 60)}, which is not installed", code="config.family"
            )
        return cls(family, config)

    @property
    def name(self) -> str:
        """Return the network's name within its family, for example `dueling+noisy`."""
        return registry.asked(self.family, self.family.network_name, self.config)

    @property
    def architecture(self) -> Architecture:
        """Return what the manifest says of the network."""
        return Architecture(family=self.family.name, name=self.name)

    def tensors(self) -> Mapping[str, Shape]:
        """Return {name: shape} of every tensor of the network, in the order of its layers."""
        return registry.asked(self.family, self.family.tensors, self.config)

    def optional(self) -> frozenset[str]:
        """Return the names that a checkpoint may leave out."""
        return registry.asked(self.family, self.family.optional, self.config)

    def mismatches(self, tensors: Mapping[str, Described]) -> Iterator[str]:
        """Yield a sentence for each tensor that is missing, too many or of another shape than the config demands.

        Also for each of this network that holds no real floating-point numbers.
        """
        expected, optional = self.tensors(), self.optional()
        for name, shape in expected.items():
            if name not in tensors:
                if name not in optional:
                    yield f"{name} is missing"
            elif tuple(tensors[name].shape) != shape:
                yield f"{name} is {shape_text(tensors[name].shape)}, the config demands {shape_text(shape)}"
        for name, tensor in tensors.items():
            if name in expected and tensor.dtype not in FLOATS:
                yield f"{name} is {tensor.dtype}, a layer of this network holds real floating-point numbers"
        for name in tensors:
            if name not in expected:
                yield f"{printable(name)} belongs to no layer of this network"


def read_blueprint(manifest: Manifest, *, where: str) -> Blueprint | None:
    """Return the network that a manifest describes; raise `ManifestError` where the description is wrong.

    None where the network is unknown or its family is not installed.
    """
    network = parse_blueprint(manifest, where=where)
    for problem in misnamed(manifest, network):
        raise ManifestError(problem.message, where=f"{where} {problem.where}", fix=problem.fix, code=problem.code)
    return network


def parse_blueprint(manifest: Manifest, *, where: str) -> Blueprint | None:
    """Return what the config of a manifest means to its family; raise `ManifestError` at its first wrong field.

    Of a newer minor version the fields that this one does not know are passed over.
    """
    if manifest.architecture is None or manifest.config is None:
        return None
    family = registry.find(manifest.architecture.family)
    if family is None:
        return None
    data = manifest.config
    if is_newer(manifest.format_version):
        known = fields_of(family.config)
        data = {name: item for name, item in data.items() if name in known}
    try:
        return Blueprint(family, registry.asked(family, family.config.from_dict, data))
    except ManifestError as e:
        raise e.but(where=f"{where} {e.where}") from None


def misnamed(manifest: Manifest, network: Blueprint | None) -> Iterator[Problem]:
    """Yield that the network's name in the manifest is not the one that its config makes."""
    if network is not None and manifest.architecture is not None and network.name != manifest.architecture.name:
        said = printable(manifest.architecture.name, 60)
        message = f"is {said}, the config describes {network.name}"
        yield Problem("manifest.architecture", "$.architecture.name", message)


def absent_family(manifest: Manifest, network: Blueprint | None) -> Iterator[Problem]:
    """Yield the warning that the network of a manifest is of a family that is not installed here."""
    if manifest.architecture is not None and network is None:
        family = printable(manifest.architecture.family, 80)
        yield Problem(
            "config.family",
            f"{MANIFEST} $.architecture.family",
            f"is {family}, which is not installed; the bytes are checked, the structure of the network is not",
            "install the package that brings this family",
            "warning",
        )


def layer_order(names: Iterable[str], network: Blueprint | None) -> list[str]:
    """Return tensor names in the order of the network's layers, those of no layer last in the order given."""
    place = {name: i for i, name in enumerate(network.tensors())} if network else {}
    return sorted(names, key=lambda name: place.get(name, len(place)))
