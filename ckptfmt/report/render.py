"""Templates filled in: all text is escaped, wherever it came from."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ckptfmt.errors import printable
from ckptfmt.report.draw import curve

__all__ = ["render", "style"]


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return the page that a template makes of `context`."""
    return _environment().get_template(f"{template}.html").render(context)


@cache
def style() -> Markup:
    """Return the style sheet of every page, which is our own file and holds nothing of a checkpoint."""
    return Markup(files("ckptfmt.report").joinpath("templates/style.css").read_text("utf-8"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ckptfmt.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(style=style, curve=curve)
    environment.filters.update(figure=_figure, count=lambda value: f"{value:,}", safe_text=printable)
    return environment


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
