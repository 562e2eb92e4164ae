"""Pages made of results: one self-contained file, nothing fetched, no script but the player of a trace."""

from ckptfmt.report.page import Page, report, trace_page

__all__ = ["Page", "report", "trace_page"]
