"""A folder of a repository on the Hugging Face hub, read part by part without a copy of the whole.

The revision is looked up once, so all parts are of one commit. The hub knows the SHA-256 of every file that it keeps
as a large one: it is the name under which it keeps it (Git LFS).
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from ckptfmt.errors import CkptError, missing_package
from ckptfmt.remote.address import Url
from ckptfmt.remote.failure import Absent, NotOnHub, StoreError
from ckptfmt.remote.folder import FarFolder

try:
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import build_hf_headers, get_session
except ImportError as e:
    raise missing_package(e, "hf://") or e from None

__all__ = ["HubFolder", "told_by_hub"]

# As much as other stores give at a time: a call costs nothing beside it, and no copy of a file stays in memory.
_BLOCK = 1 << 20
# Seconds without an answer: beyond what a slow line takes, short enough that nobody thinks it hangs.
_TIMEOUT = 60.0


class HubFolder(FarFolder):
    """The files of a repository at one commit."""

    def __init__(self, url: Url) -> None:
        super().__init__(url)
        self._commit = ""
        self._known: dict[str, str] = {}

    @property
    def commit(self) -> str:
        """Return the commit that is read."""
        if not self._commit:
            try:
                found = HfApi().repo_info(self.url.place, revision=self.url.revision or None)
            except Exception as e:
                raise told_by_hub(e, self.where) from None
            self._commit = str(found.sha)
        return self._commit

    def sha256(self, name: str) -> str:
        """Return the SHA-256 by which the hub keeps a file, "" for a small one that it keeps in git itself."""
        self.names()
        return self._known.get(name, "")

    def list(self) -> Mapping[str, int]:
        """Return the size of each file by its name."""
        found, begin = {}, f"{self.url.key}/" if self.url.key else ""
        try:
            for item in HfApi().list_repo_tree(self.url.place, self.url.key or None, revision=self.commit):
                size, lfs = getattr(item, "size", None), getattr(item, "lfs", None)
                if size is not None:
                    name = item.path.removeprefix(begin)
                    found[name] = size
                    self._known[name] = lfs.sha256 if lfs else ""
        except CkptError:
            raise
        except Exception as e:
            raise told_by_hub(e, self.where) from None
        return found

    def fetch(self, name: str, begin: int, size: int) -> tuple[bytes, int]:
        """Return bytes of a file, fewer where it ends before, and how large it is; raise `Absent`."""
        if size <= 0:
            return b"", self.size(name) or 0
        answer = self._get(name, {"Range": f"bytes={begin}-{begin + size - 1}"})
        # The range lies behind the end of the file.
        if answer.status_code == 416:
            return b"", self.size(name) or 0
        data: bytes = answer.content
        # A part, as it was asked for; the header says of how much.
        if answer.status_code == 206:
            return data, int(answer.headers["Content-Range"].rpartition("/")[2])
        # A small file comes whole from some servers, whatever was asked for.
        return data[begin : begin + size], len(data)

    def fetch_all(self, name: str, most: int) -> bytes:
        """Return a file, of which more than `most` bytes are not fetched to the end; raise `Absent`."""
        data = bytearray()
        for part in self.stream(name):
            data += part
            if len(data) > most:
                break
        return bytes(data)

    def stream(self, name: str) -> Iterator[bytes]:
        """Yield a file in parts; raise `Absent`."""
        try:
            with get_session().stream("GET", self._address(name), **self._options({})) as answer:
                self._check(answer, name)
                yield from answer.iter_bytes(_BLOCK)
        except (CkptError, Absent):
            raise
        except Exception as e:
            raise told_by_hub(e, self.where) from None

    def _get(self, name: str, headers: Mapping[str, str]) -> Any:
        try:
            answer = get_session().get(self._address(name), **self._options(headers))
        except Exception as e:
            raise told_by_hub(e, self.where) from None
        self._check(answer, name)
        return answer

    def _check(self, answer: Any, name: str) -> None:
        if answer.status_code == 404:
            raise Absent(name)
        # 416 is the answer to a range beyond the end: the caller tells from the size that it says.
        if answer.status_code >= 400 and answer.status_code != 416:
            raise _refused(answer.status_code, self.where)

    def _address(self, name: str) -> str:
        path = f"{self.url.key}/{name}" if self.url.key else name
        endpoint = os.environ.get("HF_ENDPOINT")
        return str(hf_hub_url(self.url.place, path, revision=self.commit, endpoint=endpoint))

    def _options(self, headers: Mapping[str, str]) -> dict[str, Any]:
        whole = {**build_hf_headers(), "Accept-Encoding": "identity", **headers}
        return {"headers": whole, "follow_redirects": True, "timeout": _TIMEOUT}


def told_by_hub(error: Exception, where: str) -> CkptError:
    """Return the error of the hub's client in our words; its own text holds addresses, and they may hold signatures."""
    if isinstance(error, RevisionNotFoundError):
        return NotOnHub("the hub has no such revision", where=where, fix="check its name")
    if isinstance(error, RepositoryNotFoundError):
        fix = "check its name; one that is private needs a token: hf auth login, or HF_TOKEN"
        return NotOnHub("the hub shows no such repository", where=where, fix=fix)
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return _refused(error.response.status_code, where)
    if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore"):
        fix = "check the network, and HF_ENDPOINT where the hub is one of your own"
        return StoreError("the hub cannot be reached", where=where, fix=fix, code="remote.unreachable")
    return StoreError(f"the hub's client failed ({type(error).__name__})", where=where, fix="check the settings")


def _refused(status: int, where: str) -> StoreError:
    # No one is logged in, or not who may read it.
    if status in (401, 403):
        fix = "log in with: hf auth login, or set HF_TOKEN"
        return StoreError(f"the hub refuses it ({status})", where=where, fix=fix, code="remote.refused")
    # Too many requests in a while.
    if status == 429:
        return StoreError(
            f"the hub asks for fewer requests ({status})", where=where, fix="try again later", code="remote.busy"
        )
    return StoreError(f"the hub failed ({status})", where=where, fix="try again later")
