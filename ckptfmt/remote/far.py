"""What lies at a URL: a bucket or a hub, each by the client of its kind."""

from ckptfmt.remote.folder import FarFolder

__all__ = ["open_far"]


def open_far(url: str) -> FarFolder:
    """Return the folder at a URL; whether anything is there shows when it is read."""
    # The imports that wait: a path needs none of them, and the client of each kind of store is a package of its own.
    from ckptfmt.remote.address import parse

    parsed = parse(url)
    if parsed.scheme == "hf":
        from ckptfmt.remote.hub import HubFolder

        return HubFolder(parsed)
    from ckptfmt.remote.bucket import BucketFolder

    return BucketFolder(parsed)
