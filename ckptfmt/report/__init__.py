"""Pages made of results: one self-contained file, without script and without anything fetched."""

from ckptfmt.report.page import Page, report

__all__ = ["Page", "report"]
