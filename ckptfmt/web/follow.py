"""A run followed while it is trained: server-sent events that say that something changed, and nothing else."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from ckptfmt.web.index import Index
from ckptfmt.web.run import entries_of, run_state

__all__ = ["make_follow"]

# A checkpoint takes longer to be trained, and a log is written every few seconds; whether the server is about to end
# is asked more often.
_EVERY, _ASKED = 2.0, 0.25
# Windows that follow at once; each costs a look at the folder every `_EVERY` seconds.
_MOST = 16
# After this many looks a browser that is still there asks again, half an hour later.
_LOOKS = 900


def make_follow(index: Index) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers who follows a run: an event at once, and one after each change (HTML, 9.2)."""
    places = threading.BoundedSemaphore(_MOST)

    async def follow(request: Request) -> Response:
        name = request.path_params["name"]
        # Only names that the listing holds lead anywhere; what else a path says is no place to look at.
        if not await run_in_threadpool(entries_of, index, name):
            return PlainTextResponse("there is no such run", 404)
        if not places.acquire(blocking=False):
            return PlainTextResponse("too many windows follow a training", 503)
        ending: Callable[[], bool] = request.app.state.ending
        return StreamingResponse(events(name, ending), media_type="text/event-stream")

    async def events(name: str, ending: Callable[[], bool]) -> AsyncIterator[str]:
        try:
            known = ""
            for _ in range(_LOOKS):
                state = await run_in_threadpool(run_state, index, name)
                # A comment finds out whether anybody still listens.
                yield f"data: {state}\n\n" if state != known else ":\n\n"
                known = state
                for _ in range(int(_EVERY / _ASKED)):
                    if ending():
                        return
                    await asyncio.sleep(_ASKED)
        finally:
            places.release()

    return follow
