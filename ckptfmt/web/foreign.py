"""A foreign file as a row of a page, looked at without running anything of it."""

import os
from typing import Any

from ckptfmt.errors import CkptError, printable
from ckptfmt.look.anatomy import summarize_source

__all__ = ["look_at"]

# Names of a pickle that a row shows.
_NAMES = 20


def look_at(path: str, folder: str) -> dict[str, Any]:
    """Return the container, the network or why there is none, and the names in the pickles of a file in a folder."""
    name = printable(os.path.relpath(path, folder), 160)
    try:
        found = summarize_source(path)
    except CkptError as e:
        return {"name": name, "container": "", "network": "", "refusal": e.what, "names": []}
    best = found.networks[0].to_dict() if found.networks else None
    answer = (best or {}).get("classification") or {}
    return {
        "name": name,
        "container": found.container,
        "network": printable(answer.get("architecture") or "not told", 120),
        "refusal": found.refusal,
        "names": [printable(one, 80) for one in found.globals[:_NAMES]],
    }
