"""One digest of several files: that of the list which `sha256sum` prints of them."""

import hashlib
from collections.abc import Mapping

__all__ = ["digest_of_list"]


def digest_of_list(digests: Mapping[str, str]) -> str:
    """Return the SHA-256 of the list of files by their names, each with its own SHA-256."""
    listing = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()
