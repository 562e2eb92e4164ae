"""A proxy before a real store, which counts requests and does to some of them what networks do."""

import contextlib
import http.client
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What a rule can say of a request: pass it on, pass it on and lose the answer, lose the request itself; else a status
# to answer with, or `Late`.
PASS, LOSE, DROP = "pass", "lose", "drop"
Rule = Callable[[str, str], Any]


class Late:
    """Lose the request now, and let it arrive at the store when `now` is set."""

    def __init__(self) -> None:
        self.now, self.arrived = threading.Event(), threading.Event()
        self.status = 0


class Proxy:
    """Passes on to the store at `port` what comes in at its own; `seen` are (method, path) of all requests."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.seen: list[tuple[str, str]] = []
        self.rule: Rule = lambda method, path: PASS
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

            def answer(self) -> None:
                proxy.serve(self)

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self.answer
                raise AttributeError(name)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def serve(self, client: BaseHTTPRequestHandler) -> None:
        body = client.rfile.read(int(client.headers.get("Content-Length") or 0))
        self.seen.append((client.command, client.path))
        action = self.rule(client.command, client.path)
        if isinstance(action, Late):
            threading.Thread(
                target=self.later, args=(action, client.command, client.path, client.headers, body)
            ).start()
            client.close_connection = True
            client.connection.close()
            return
        if action == DROP:
            client.close_connection = True
            client.connection.close()
            return
        if isinstance(action, int):
            client.send_response(action)
            if action in (429, 503):
                client.send_header("Retry-After", "1")
            client.send_header("Content-Length", "0")
            client.end_headers()
            return
        status, headers, data = self.ask(client.command, client.path, client.headers, body)
        if action == LOSE:
            client.close_connection = True
            client.connection.close()
            return
        client.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                client.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length")
        client.send_header("Content-Length", length if length and client.command == "HEAD" else str(len(data)))
        client.end_headers()
        client.wfile.write(data)

    def later(self, action: Late, *request: Any) -> None:
        if action.now.wait(60):
            action.status = self.ask(*request)[0]
        action.arrived.set()

    def ask(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        for attempt in range(5):
            connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
            try:
                connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
                for name, value in headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body or None)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            except ConnectionError:
                if attempt == 4:
                    raise
                time.sleep(0.1)
            finally:
                connection.close()
        raise AssertionError
