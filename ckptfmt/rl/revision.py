"""Which revision of the training code is at work."""

import os
import subprocess
import sys
from functools import cache
from typing import Any

__all__ = ["code_revision"]

_SECONDS = 5


def code_revision(folder: str | None = None) -> dict[str, Any]:
    """Return {"commit", "dirty"} of the git repository around the running script; empty where there is none.

    It is looked up once: what runs was loaded when the process began, whatever is committed while it runs.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    place = folder or os.path.dirname(os.path.abspath(script or os.path.join(os.getcwd(), "_")))
    return dict(_revision(place))


@cache
def _revision(place: str) -> dict[str, Any]:
    commit = _git(place, "rev-parse", "--verify", "HEAD")
    if not commit:
        return {}
    changed = _git(place, "--no-optional-locks", "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": changed != ""}


def _git(folder: str, *words: str) -> str | None:
    command = ["git", "-C", folder, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
