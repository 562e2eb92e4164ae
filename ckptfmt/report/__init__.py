"""Pages made of results: one self-contained file, nothing fetched, no script but the player of a trace."""

from ckptfmt.report.page import Page, page_of, report, trace_page

__all__ = ["Page", "page_of", "report", "trace_page"]
