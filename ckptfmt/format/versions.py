"""Versions of the format that this code reads."""

import re

from ckptfmt.errors import UnsupportedVersion, printable

__all__ = ["FORMAT", "FORMAT_VERSION", "NEWEST", "SHARDED_VERSION", "check_version", "is_newer", "minor_of"]

FORMAT = "ckptfmt"
# What is written says the oldest version that has all it uses, so that every reader that can read it does.
FORMAT_VERSION = "1.0"
SHARDED_VERSION = "1.1"
NEWEST = SHARDED_VERSION

# Six digits at most: no text of a file makes Python convert a number of millions. 01 is no version.
_VERSION = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")
_MAJOR, _MINOR = map(int, NEWEST.split("."))


def check_version(version: object, *, where: str) -> bool:
    """Return whether `version` is a newer minor than this code knows; raise `UnsupportedVersion` for a major."""
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        raise UnsupportedVersion(
            f"format_version is '{printable(version, 40)}', which is no version",
            where=where,
            fix=f"this ckpt reads {_MAJOR}.x",
        )
    major, minor = int(match[1]), int(match[2])
    if major != _MAJOR:
        mend = "install a newer ckptfmt" if major > _MAJOR else "upgrade it with an older ckptfmt first"
        raise UnsupportedVersion(f"format_version is {version}, this ckpt reads {_MAJOR}.x", where=where, fix=mend)
    return minor > _MINOR


def is_newer(version: str) -> bool:
    """Return whether a version that can be read is a newer minor than this code knows."""
    return minor_of(version) > _MINOR


def minor_of(version: str) -> int:
    """Return the minor number of a version that can be read."""
    return int(version.partition(".")[2])
