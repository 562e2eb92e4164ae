"""ckpt serve: look around in the browser."""

import contextlib
import os
import socket
import webbrowser
from importlib.util import find_spec
from typing import Any

import click

from ckptfmt.errors import CkptError

from ..behaving import behaviour_of
from ..options import argument, command, option
from ..output import Output

__all__ = ["serve"]

_HERE = "127.0.0.1"


@command(examples=["ckpt serve runs", "ckpt serve runs --port 8420 --open"])
@argument("folder", "The folder to serve, with its subfolders.", type=click.Path())
@option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="The port; a free one by default.")
@option("--host", default=_HERE, metavar="ADDRESS", help="The address to listen on; this machine only by default.")
@option("--allow-remote", is_flag=True, help="Let other machines in; there is no password.")
@option("--open", "show", is_flag=True, help="Show it in a browser.")
def serve(output: Output, folder: str, port: int, host: str, allow_remote: bool, show: bool) -> int:
    """Serve pages about the checkpoints in a folder, read only.

    Ctrl-C stops.
    """
    # A guest of this command alone: its help is there without it.
    import uvicorn

    from ckptfmt.web import make_site

    if not os.path.isdir(folder):
        what = "is a file, not a folder" if os.path.exists(folder) else "no such folder"
        raise CkptError(what, where=folder, fix="check the path", code="layout.missing")
    if host not in (_HERE, "localhost") and not allow_remote:
        what = "would let other machines look at every checkpoint"
        raise CkptError(what, where=host, fix="add --allow-remote if that is meant", code="serve.remote")
    # A page elsewhere can point a name of its own at this machine and read what is served here (DNS rebinding).
    hosts = ("*",) if allow_remote else (_HERE, "localhost")
    with _listen(host, port) as listening:
        address = f"http://{host}:{listening.getsockname()[1]}"
        told = {"address": address, "folder": folder}
        # Now, for who waits for it; the document comes when the server has ended.
        output.stream(told)
        output.result(told)
        output.line(f"{address}  (read only; Ctrl-C stops)")
        output.out.flush()
        if show:
            webbrowser.open(address)
        site = make_site(folder, hosts=hosts, behaviour=_behaviour if find_spec("torch") else None)
        config = uvicorn.Config(site, log_level="info" if output.verbose else "error")
        server = uvicorn.Server(config)
        # Windows that follow a run would go on asking for ever, and uvicorn waits until all have been answered.
        site.state.ending = lambda: server.should_exit
        # Ctrl-C is how a server is meant to end; uvicorn raises it again once all answers are out.
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    return 0


def _behaviour(a: str, b: str, trace: str) -> dict[str, Any]:
    return behaviour_of(a, b, trace).to_dict()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as e:
        what = f"cannot listen: {e.strerror or e}"
        raise CkptError(what, where=f"{host}:{port}", fix="choose another --port", code="serve.port") from None
