"""Foreign text in Markdown."""

from ckptfmt.errors import printable

__all__ = ["code_span"]


def code_span(text: object, limit: int) -> str:
    """Return text as a code span, the one place in Markdown where nothing is a link, a mention or markup.

    Bars and backticks would leave the cell or the span whatever stands before them, so they are written as escapes.
    """
    shown = printable(text, limit).replace("|", "\\x7c").replace("`", "\\x60")
    return f"`{shown}`" if shown.strip() else ""
