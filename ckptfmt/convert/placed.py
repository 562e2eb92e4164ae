"""Tensors as a network takes them: what a placement makes of those that a file has, and how that is recorded."""

import struct
from collections.abc import Mapping

from ckptfmt.families.answer import Placement
from ckptfmt.families.atari_dqn.support import HasSupport, atoms
from ckptfmt.families.config import Config
from ckptfmt.format.manifest import Transform
from ckptfmt.legacy.bytes.blocks import MemoryBlock
from ckptfmt.legacy.bytes.storages import LegacyTensor, Storage
from ckptfmt.legacy.find.find import Network
from ckptfmt.legacy.find.turned import is_turned

__all__ = ["images_of", "make_support", "take", "transform"]


def images_of(network: Network, config: Config, path: str) -> Mapping[str, tuple[int, ...]]:
    """Return which weights take flattened images whose channels come last, and of which size; none of PyTorch's do."""
    if not is_turned(network.tensors):
        return {}
    from ckptfmt.convert.pixels import refuse_sides
    from ckptfmt.families.flattened import flattened

    refuse_sides(config, path)
    return flattened(config)


def make_support(config: HasSupport) -> LegacyTensor:
    """Return the atoms from v_min to v_max, which many code bases make anew instead of saving them."""
    made = atoms(config)
    storage = Storage(
        "support", "F32", MemoryBlock(struct.pack(f"<{len(made)}f", *made)), big_endian=False, device="cpu"
    )
    return LegacyTensor("F32", (len(made),), (1,), 0, storage)


def transform(
    placement: Placement, source: Mapping[str, LegacyTensor], images: Mapping[str, tuple[int, ...]]
) -> Transform:
    """Return the entry of the manifest that says what a placement makes of a tensor."""
    tensor = source[placement.source]
    return Transform(
        name=placement.name,
        source=tensor.source or placement.source,
        rows=placement.rows,
        squeezed=placement.squeeze,
        turned=tensor.turned or None,
        image=images.get(placement.name),
    )


def take(tensor: LegacyTensor, placement: Placement, images: Mapping[str, tuple[int, ...]]) -> LegacyTensor:
    """Return what of `tensor` a placement takes, with the channels of an image first."""
    taken = tensor.rows(*placement.rows) if placement.rows else tensor
    taken = taken.squeeze() if placement.squeeze else taken
    if placement.name not in images:
        return taken
    from ckptfmt.convert.pixels import channels_first

    return channels_first(taken, images[placement.name])
