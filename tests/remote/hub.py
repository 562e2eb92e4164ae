"""A hub on this machine, as far as huggingface_hub's own client uses one: repositories, branches, commits, LFS, trees.

It keeps every commit, refuses one whose parent is not the newest, takes large files by the SHA-256 that they must
have, and knows one token.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_TokenThatNothingMayShow0123456789"


class Hub:
    """What the hub holds: for each repository its branches, and the files of each commit by path."""

    def __init__(self) -> None:
        self.branches: dict[str, dict[str, str]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}
        self.private: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.url = ""

    def commit(self, repository: str, branch: str, lines: list[dict[str, Any]], parent: str | None) -> str | None:
        """Return the new commit, None where `parent` is not the newest one."""
        with self.lock:
            now = self.branches[repository].get(branch, "")
            if parent and parent != now:
                return None
            files = dict(self.commits.get(now, {}))
            for line in lines:
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = self.large[value["oid"]]
                elif line["key"] == "deletedFile":
                    files.pop(value["path"], None)
            text = json.dumps([now, sorted((path, hashlib.sha256(data).hexdigest()) for path, data in files.items())])
            new = hashlib.sha1(text.encode()).hexdigest()
            self.commits[new] = files
            self.branches[repository][branch] = new
            return new

    def resolve(self, repository: str, revision: str) -> str | None:
        """Return the commit that a branch or a commit names."""
        return self.branches[repository].get(revision) or (revision if revision in self.commits else None)


def is_large(path: str) -> bool:
    return path.endswith((".safetensors", ".zst", ".mp4", ".png"))


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, value: Any, status: int = 200, **headers: str) -> None:
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, text in headers.items():
                self.send_header(name.replace("_", "-"), text)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def known(self) -> bool:
            return self.headers.get("Authorization") == f"Bearer {TOKEN}"

        def seen(self, repository: str) -> bool:
            """Say that there is no such repository, as the hub does of private ones too; return whether there is."""
            if repository in hub.branches and (repository not in hub.private or self.known()):
                return True
            self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            return False

        def do_POST(self) -> None:
            hub.asked.append((self.command, self.path))
            data, path = self.body(), urllib.parse.unquote(self.path.partition("?")[0])
            if not self.known():
                self.answer({"error": "Invalid credentials"}, 401)
            elif path == "/api/repos/create":
                asked = json.loads(data)
                name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
                if name in hub.branches:
                    self.answer({"url": f"{hub.url}/{name}", "error": "exists"}, 409)
                    return
                hub.branches[name] = {}
                hub.commit(name, "main", [], None)
                if asked.get("private") or asked.get("visibility") == "private":
                    hub.private.add(name)
                self.answer({"url": f"{hub.url}/{name}", "name": name, "id": name})
            elif path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/(.+)", path):
                hub.branches[found[1]].setdefault(found[2], hub.branches[found[1]]["main"])
                self.answer({})
            elif "/preupload/" in path:
                files = [self.how(file["path"]) for file in json.loads(data)["files"]]
                self.answer({"files": files})
            elif path.endswith("/info/lfs/objects/batch"):
                objects = [self.where(item) for item in json.loads(data)["objects"]]
                self.answer({"transfer": "basic", "objects": objects})
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
                lines = [json.loads(line) for line in data.splitlines()]
                parent = next((line["value"].get("parentCommit") for line in lines if line["key"] == "header"), None)
                new = hub.commit(found[1], found[2], lines, parent)
                if new is None:
                    self.answer({"error": "A commit has happened since. Please refresh and try again."}, 412)
                else:
                    self.answer({"commitUrl": f"{hub.url}/{found[1]}/commit/{new}", "commitOid": new, "success": True})
            else:
                self.answer({"error": f"not known here: {path}"}, 404)

        def how(self, path: str) -> dict[str, Any]:
            return {
                "path": path,
                "uploadMode": "lfs" if is_large(path) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }

        def where(self, item: dict[str, Any]) -> dict[str, Any]:
            told = {"oid": item["oid"], "size": item["size"], "authenticated": True}
            if item["oid"] in hub.large:
                return told
            # As the real one, it hands out an address that is signed.
            href = f"{hub.url}/lfs/{item['oid']}?X-Amz-Signature=SignatureThatNothingMayShow"
            return {**told, "actions": {"upload": {"href": href}}}

        def do_PUT(self) -> None:
            data, oid = self.body(), self.path.partition("?")[0].rpartition("/")[2]
            if hashlib.sha256(data).hexdigest() != oid:
                self.answer({"error": "wrong content"}, 400)
                return
            hub.large[oid] = data
            self.answer(b"")

        def do_GET(self) -> None:
            hub.asked.append((self.command, self.path))
            path = urllib.parse.unquote(self.path.partition("?")[0])
            if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(refs/pr/\d+|[^/]+)/(.+)", path):
                self.file(*found.groups())
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/(refs/pr/\d+|[^/]+)(?:/(.*))?", path):
                self.tree(*found.groups())
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
                self.info(found[1], found[2] or "main")
            elif path == "/api/whoami-v2":
                self.answer({"name": "owner", "type": "user", "orgs": []})
            else:
                self.answer({"error": f"not known here: {path}"}, 404)

        do_HEAD = do_GET  # noqa: N815

        def info(self, repository: str, revision: str) -> None:
            if not self.seen(repository):
                return
            commit = hub.resolve(repository, revision)
            if commit is None:
                self.answer({"error": "Invalid rev id"}, 404, X_Error_Code="RevisionNotFound")
                return
            files = [{"rfilename": path} for path in sorted(hub.commits[commit])]
            told = {"id": repository, "modelId": repository, "sha": commit, "private": repository in hub.private}
            self.answer({**told, "siblings": files, "tags": [], "downloads": 0, "likes": 0})

        def tree(self, repository: str, revision: str, folder: str | None) -> None:
            if not self.seen(repository):
                return
            files = hub.commits[hub.resolve(repository, revision) or ""]
            begin = f"{folder}/" if folder else ""
            found = []
            for path, data in sorted(files.items()):
                if path.startswith(begin):
                    entry = {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    large = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
                    found.append({**entry, "lfs": large} if is_large(path) else entry)
            self.answer(found)

        def file(self, repository: str, revision: str, path: str) -> None:
            if not self.seen(repository):
                return
            commit = hub.resolve(repository, revision)
            data = hub.commits.get(commit or "", {}).get(path)
            if data is None:
                self.answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
                return
            etag, wanted, part, status, more = (
                hashlib.sha256(data).hexdigest(),
                self.headers.get("Range"),
                data,
                200,
                {},
            )
            if wanted and self.command == "GET":
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                part, status = data[int(first) : int(last or len(data)) + 1], 206
                if not part:
                    self.answer(b"", 416)
                    return
                more = {"Content_Range": f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"}
            self.answer(part, status, ETag=f'"{etag}"', X_Repo_Commit=commit or "", **more)

    return Handler


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """Serve a hub while the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def environment(hub: Hub, home: Any) -> dict[str, str]:
    """Return what points the client to a hub; it reads these when it is imported, so a process of its own is needed."""
    return {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
