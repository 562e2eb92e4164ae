"""Templates filled in: all text is escaped, wherever it came from."""

import base64
import hashlib
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ckptfmt.errors import printable
from ckptfmt.report.compiled import Compiled
from ckptfmt.report.draw import curve

__all__ = ["figure", "follow_digest", "prepare", "render", "script_digest", "style", "style_digest"]

_TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")


def prepare(*templates: str) -> None:
    """Compile templates that will be rendered, which takes as long as a small checkpoint takes to be validated."""
    for template in templates:
        _environment().get_template(f"{template}.html")


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return the page that a template makes of `context`."""
    return _environment().get_template(f"{template}.html").render(context)


@cache
def style() -> Markup:
    """Return the style sheet of every page, which is our own file and holds nothing of a checkpoint."""
    return Markup(_read("style.css"))


@cache
def follow_script() -> Markup:
    """Return the script by which the page of a run follows a training; our own file, as the other two."""
    return Markup(_read("follow.js"))


@cache
def script() -> Markup:
    """Return the script of the player; it is our own file and holds nothing of a trace."""
    return Markup(_read("agent.js"))


@cache
def script_digest() -> str:
    """Return the digest by which a content policy lets that script run, and no other (CSP level 3)."""
    return _digest(script())


@cache
def follow_digest() -> str:
    """Return the digest of the script that follows, as of the other one."""
    return _digest(follow_script())


@cache
def style_digest() -> str:
    """Return the digest of the style sheet, for a content policy."""
    return _digest(style())


def _read(name: str) -> str:
    with open(os.path.join(_TEMPLATES, name), encoding="utf-8") as file:
        return file.read()


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        bytecode_cache=Compiled(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        style=style, curve=curve, script=script, script_digest=script_digest, follow_script=follow_script
    )
    environment.filters.update(
        figure=figure, count=lambda value: f"{value:,}", safe_text=printable, minute=_minute, brief=_brief
    )
    return environment


def figure(value: float | None) -> str:
    """Return a number as pages show it, "" for none."""
    return "" if value is None else f"{value:.4g}"


def _brief(digest: str) -> str:
    """Return so much of a digest as tells checkpoints apart."""
    return printable(digest.partition(":")[2][:8])


def _minute(moment: str) -> str:
    """Return a moment of the manifest to the minute, in UTC as it stands there."""
    # 2026-11-22T21:04 of an instant.
    return moment[:16].replace("T", " ")
