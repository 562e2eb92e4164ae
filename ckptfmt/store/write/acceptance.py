"""What is about to be published, as a reader will see it: its manifest parsed from its bytes, with every limit.

A writer that trusted what it was given would replace a good checkpoint by one that nobody can open.
"""

import os
from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import CkptError, ManifestError, WeightsError
from ckptfmt.families.blueprint import read_blueprint
from ckptfmt.format import jsontext
from ckptfmt.format.files import MANIFEST, MAX_MANIFEST, WEIGHTS
from ckptfmt.format.manifest import Manifest
from ckptfmt.format.parse import parse_manifest
from ckptfmt.format.tensorcount import too_many

__all__ = ["accepted", "require_few"]


def accepted(manifest: Manifest, *, where: str) -> tuple[bytes, Manifest]:
    """Return the bytes that `manifest` has once it is sealed, and the manifest that a reader makes of them.

    Raises `ManifestError` that names the field for what no reader accepts, `WeightsError` for tensors that are
    not those of the network that the manifest describes.
    """
    place = os.path.join(where, MANIFEST)
    try:
        data = manifest.sealed_bytes()
    except ManifestError as e:
        raise ManifestError(e.what, where=f"{place} {e.where}", fix=e.fix, code=e.code) from None
    try:
        read = parse_manifest(data, where=place)
    except CkptError as e:
        # Only said of the whole text: which field it is can be found by writing each alone.
        if e.where == place and (field := _field(manifest.sealed().to_dict())):
            e = ManifestError(e.what, where=f"{place} $.{field}", fix=e.fix, code=e.code)
        raise e from None
    _check_network(read, where)
    return data, read


def require_few(count: int, *, where: str) -> None:
    """Raise `WeightsError` where no reader accepts so many tensors: before they are written, and not behind it."""
    if surplus := too_many(count):
        fix = "stack tensors of one shape into one, or save two checkpoints"
        raise WeightsError(surplus, where=where, fix=fix, code="weights.count")


def _field(raw: Mapping[str, Any]) -> str:
    """Return the field that alone breaks a rule of the text, the longest one where only all of them do."""
    texts = {name: jsontext.render({name: value}).encode() for name, value in raw.items()}
    for name, text in texts.items():
        try:
            jsontext.parse(text, where=name, limit=MAX_MANIFEST)
        except ManifestError:
            return name
    return max(texts, key=lambda name: len(texts[name]))


def _check_network(manifest: Manifest, where: str) -> None:
    network = read_blueprint(manifest, where=os.path.join(where, MANIFEST))
    for sentence in network.mismatches(manifest.weights.named) if network else ():
        raise WeightsError(
            sentence, where=os.path.join(where, WEIGHTS), fix="give the config of this network", code="weights.network"
        )
