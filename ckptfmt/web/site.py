"""The routes of the inspector: pages of results, each with its JSON twin, and nothing that changes anything."""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ckptfmt.errors import CkptError
from ckptfmt.format.plain import plain
from ckptfmt.report.render import follow_digest, script_digest, style_digest
from ckptfmt.web.follow import make_follow
from ckptfmt.web.index import Index
from ckptfmt.web.pages import Answer, Behaviour, Missing, Pages

__all__ = ["make_site"]

# Two scripts there are: one plays a trace, the other follows a run, and asks this server alone.
_POLICY = (
    f"default-src 'none'; img-src data:; style-src '{style_digest()}'; "
    f"script-src '{script_digest()}' '{follow_digest()}'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_HERE = ("127.0.0.1", "localhost")


def make_site(folder: str, *, hosts: tuple[str, ...] = _HERE, behaviour: Behaviour | None = None) -> Starlette:
    """Return the site over a folder of runs; `hosts` are the names it answers to (DNS rebinding, CWE-350).

    `behaviour` lets two networks answer the frames of a trace, given the paths of all three, and tells what they did;
    without it, for it needs torch, the pages do not offer that.
    """
    index = Index(folder)
    pages = Pages(index, behaviour)
    routes = [
        _route("/", pages.overview),
        _route("/.json", pages.overview),
        _route("/c/{name:path}/t/{tensor:path}", pages.tensor),
        _route("/c/{name:path}/play", pages.play),
        _route("/c/{name:path}/play.json", pages.play),
        _route("/c/{name:path}", pages.checkpoint),
        _route("/diff", pages.difference),
        _route("/diff.json", pages.difference),
        _route("/runs/{name:path}", pages.run),
        Route("/follow/{name:path}", make_follow(index), methods=["GET"]),
        _route("/files", pages.files),
        _route("/files.json", pages.files),
        _route("/lineage/{name:path}", pages.lineage),
    ]
    middleware = [
        Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)),
        Middleware(_Headers),
        Middleware(_Faults),
    ]
    site = Starlette(routes=routes, middleware=middleware)
    # A server that can tell puts its own answer here: who follows a run is let go before it ends.
    site.state.ending = lambda: False
    return site


def _route(path: str, page: Callable[..., Answer]) -> Route:
    """Return the route of a page; the same path with `.json` behind it gives the page's data."""

    @wraps(page)
    def answer(request: Request) -> Response:
        given = dict(request.path_params)
        as_json = request.url.path.endswith(".json")
        if as_json and given:
            last = list(given)[-1]
            given[last] = given[last].removesuffix(".json")
        try:
            return _respond(page(**given, query=request.query_params), as_json, 200)
        except Missing as e:
            return _respond(Pages.error(str(e)), as_json, 404)
        except CkptError as e:
            # Understood, and not to be shown: what lies there is damaged.
            return _respond(Pages.error(str(e)), as_json, 422)

    return Route(path, answer, methods=["GET"], name=page.__name__)


def _respond(answer: Answer, as_json: bool, status: int) -> Response:
    html, data = answer
    if as_json:
        # As in every answer of ours, numbers that JSON lacks are words.
        return _Ascii(plain(data()), status)
    # A file may have a name that is no UTF-8.
    return HTMLResponse(html().encode("utf-8", "backslashreplace"), status)


class _Ascii(JSONResponse):
    """JSON in ASCII, which has a form for every name that a file can have."""

    def render(self, content: Any) -> bytes:
        """Return the text of plain data."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class _Faults:
    """Answer with a page of one sentence where a page could not be made; a server that is left running prints nothing.

    A stream that was begun ends.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as e:
            if begun:
                return
            page = Pages.error(f"a fault in ckpt itself: {type(e).__name__}; please report it")
            await _respond(page, scope["path"].endswith(".json"), 500)(scope, receive, send)


class _Headers:
    """Give every answer the headers that let a browser do nothing but show it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)
