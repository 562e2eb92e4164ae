"""What the manifest of a converted checkpoint says of its source."""

import os
from collections.abc import Mapping

from ckptfmt.convert.plan import Plan
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.format.manifest import ConversionEntry, FileEntry, Lineage, Manifest, Source
from ckptfmt.format.provenance import created_by, instant

__all__ = ["manifest_of", "source_of"]


def manifest_of(plan: Plan, entries: Mapping[str, FileEntry], *, verified: bool) -> Manifest:
    """Return the manifest of a conversion whose files are `entries`; `verified` says that they were read back.

    Raises `SourceError` where the source was changed while it was read.
    """
    plan.legacy.check_unchanged()
    network = Blueprint.of(plan.config) if plan.config else None
    return Manifest(
        created_at=instant(),
        created_by=created_by(),
        architecture=network.architecture if network else None,
        config=network.config.to_dict() if network else None,
        config_origin=plan.origin,
        environment=plan.declared.environment,
        training_info=plan.declared.training_info,
        lineage=Lineage(kind="converted"),
        conversion=ConversionEntry(
            source=source_of(plan),
            found_at=plan.network.path,
            layout=plan.candidate.layout if plan.candidate else "",
            renamed=plan.renamed,
            transformed=plan.transformed,
            made=plan.made,
            dropped=plan.dropped,
            left=tuple(f"{path} ({why})" for path, why in plan.left.items()),
            tied=tuple((stored, name) for name, stored in plan.tied.items()),
            verified=verified,
        ),
        files=entries,
        extra=plan.declared.extra,
        content_digest="",
    )


def source_of(plan: Plan) -> Source:
    """Return what a manifest says of the file that a checkpoint was converted from."""
    found = plan.legacy.source
    return Source(
        # JSON holds text, and the name of a file is bytes: those that are none are shown by their escapes.
        name=os.fsencode(os.path.basename(found.name)).decode("utf-8", "backslashreplace"),
        bytes=found.bytes,
        sha256=found.sha256,
        container=found.container,
        pickle_protocol=found.pickle_protocol,
        globals=tuple(found.globals),
    )
