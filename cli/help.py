"""How help is laid out: 80 columns wide, whatever the terminal."""

from collections.abc import Sequence

__all__ = ["HELP_NAMES", "definitions", "paragraphs"]

HELP_NAMES = ("-h", "--help")
# The narrowest terminal that is in use, and half of what is left for a name beside its sentence.
_WIDTH = 80
_LABEL_WIDTH = 24


def definitions(rows: Sequence[tuple[str, str]]) -> str:
    """Return rows of a term and its explanation, the explanations below one another."""
    width = min(max(len(term) for term, _ in rows), _LABEL_WIDTH)
    lines = []
    for term, text in rows:
        first, *rest = _wrap(text, _WIDTH - width - 4) or [""]
        if len(term) > width:
            lines.append(f"  {term}")
            rest, term = [first, *rest], ""
            first = rest.pop(0)
        lines.append(f"  {term:<{width}}  {first}".rstrip())
        lines += [" " * (width + 4) + line for line in rest]
    return "\n".join(lines)


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a docstring, each wrapped."""
    return ["\n".join(_wrap(paragraph, _WIDTH)) for paragraph in text.strip().split("\n\n")]


def _wrap(text: str, width: int) -> list[str]:
    """Break text into lines; six lines here start faster than `textwrap`."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
