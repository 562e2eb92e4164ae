"""Versions of the format that this code reads."""

import re

from ckptfmt.errors import UnsupportedVersion, printable

__all__ = ["FORMAT", "FORMAT_VERSION", "check_version", "is_newer"]

FORMAT = "ckptfmt"
FORMAT_VERSION = "1.0"

# Six digits at most: no text of a file makes Python convert a number of millions. 01 is no version.
_VERSION = re.compile(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})")
_MAJOR, _MINOR = 1, 0


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
    return int(version.partition(".")[2]) > _MINOR
