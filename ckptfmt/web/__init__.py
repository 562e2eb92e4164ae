"""The inspector: a small read-only site over a folder of checkpoints."""

from ckptfmt.web.site import make_site

__all__ = ["make_site"]
