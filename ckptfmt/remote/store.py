"""One bucket, or one server that is only read: objects by name, written on conditions.

Every object that is written holds its writer's word. A put whose answer was lost is tried again by the client, and
told that its own object is in the way; the word tells that from defeat.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ckptfmt.errors import CkptError, missing_package
from ckptfmt.remote.address import Url
from ckptfmt.remote.credentials import aws_settings, azure_settings
from ckptfmt.remote.failure import Absent, NoBucket, StoreError, Taken, told

try:
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError
    from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store
except ImportError as e:
    raise missing_package(e, "a URL of a store") or e from None

__all__ = ["Found", "Store", "open_store"]

# Azure takes no hyphen in it.
_WRITER = "ckptwriter"
# About ten seconds, after which a store that is not there is not waited for any more.
_RETRIES = 7
# How often a condition that failed without anybody in the way is tried again.
_LOOKS = 20
# Parts of an upload, and how many of them are on their way: 64 MiB at most, and 80 GB in 10,000 parts.
_PART = 8 << 20
_TOGETHER = 4


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there: its bytes, what tells this version of it from others, who wrote it."""

    size: int
    e_tag: str
    writer: str = ""
    # Google's stores compare this and not the other.
    version: str | None = None


class Store:
    """The objects of a bucket or of a server, by their keys."""

    def __init__(self, url: Url) -> None:
        self._url = f"{url.scheme}://{url.place}"
        self._client = _client(url)
        # A server of files can neither be listed nor written to.
        self.is_bucket = url.scheme not in ("http", "https")

    def read(self, key: str, begin: int, size: int) -> tuple[bytes, Found]:
        """Return `size` bytes of an object, fewer where it ends before, and what it is; raise `Absent`."""
        if size <= 0:
            return b"", self.look(key)
        try:
            got = obstore.get(self._client, key, options={"range": (begin, begin + size)})
            return got.bytes().to_bytes(), _found(got)
        except NotSupportedError:
            raise _no_ranges(self._where(key)) from None
        except (BaseError, FileNotFoundError) as e:
            if "status code: 416" in str(e):  # it begins behind the end
                return b"", self.look(key)
            raise self._error(e, key) from None

    def read_all(self, key: str, most: int) -> tuple[bytes, Found]:
        """Return an object, of which at most `most` bytes and one more are fetched, and what it is; raise `Absent`."""
        try:
            got = obstore.get(self._client, key)
            data = bytearray()
            # Large enough that the calls cost nothing, small enough that what is too much is noticed early.
            for part in got.stream(min_chunk_size=1 << 20):
                data += memoryview(part)
                if len(data) > most:
                    break
            return bytes(data), _found(got)
        except (BaseError, FileNotFoundError) as e:
            raise self._error(e, key) from None

    def stream(self, key: str) -> Iterator[memoryview]:
        """Yield an object in parts; raise `Absent`."""
        try:
            # A call costs nothing beside a MiB, and no copy of an object stays in memory.
            for part in obstore.get(self._client, key).stream(min_chunk_size=1 << 20):
                yield memoryview(part)
        except (BaseError, FileNotFoundError) as e:
            raise self._error(e, key) from None

    def look(self, key: str) -> Found:
        """Return what an object is; raise `Absent`."""
        try:
            return _found(obstore.get(self._client, key, options={"head": True}))
        except (BaseError, FileNotFoundError) as e:
            raise self._error(e, key) from None

    def list(self, prefix: str) -> Iterator[tuple[str, Found]]:
        """Yield (key, what it is) of all objects below a prefix, a thousand a request."""
        try:
            # The most that S3 gives at a time.
            for page in obstore.list(self._client, prefix or None, chunk_size=1000):
                for item in page:
                    yield item["path"], Found(item["size"], item["e_tag"] or "", version=item["version"])
        except (BaseError, FileNotFoundError) as e:
            if isinstance(failed := self._error(e, prefix), Absent):
                return
            raise failed from None

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders right below a prefix; of what lies in them a store lists nothing."""
        try:
            found = obstore.list_with_delimiter(self._client, prefix or None)["common_prefixes"]
        except (BaseError, FileNotFoundError) as e:
            if isinstance(failed := self._error(e, prefix), Absent):
                return
            raise failed from None
        for folder in found:
            yield folder.rpartition("/")[2]

    def put(self, key: str, body: bytes, writer: str, *, over: Found | None = None) -> Found:
        """Write an object that must not be there, or must be the version `over`; raise `Taken` where it is not so."""
        mode: Any = "create" if over is None else _this(over)
        for _ in range(_LOOKS):
            try:
                put = obstore.put(self._client, key, body, mode=mode, attributes={_WRITER: writer})
                return Found(len(body), put["e_tag"] or "", writer, put["version"])
            except (BaseError, FileNotFoundError) as e:
                if not isinstance(e, (AlreadyExistsError, PreconditionError)) and not _conflict(e):
                    raise self._error(e, key) from None
            try:
                there = self.look(key)
            except Absent:
                if over is not None:
                    raise Taken(key) from None
                continue
            if there.writer == writer and (over is None or there.e_tag != over.e_tag):
                return there
            if over is None or there.e_tag != over.e_tag:
                raise Taken(key)
        raise StoreError("the store keeps saying that it is busy with this object", where=self._where(key))

    def upload(self, key: str, parts: Iterable[bytes], writer: str) -> None:
        """Write a large object under a name that is the writer's alone, a few parts in memory at a time."""
        try:
            obstore.put(
                self._client,
                key,
                parts,
                attributes={_WRITER: writer},
                chunk_size=_PART,
                max_concurrency=_TOGETHER,
            )
        except (BaseError, FileNotFoundError) as e:
            raise self._error(e, key) from None

    def copy_new(self, source: str, key: str) -> None:
        """Give an object a second name that must be free; raise `Taken` where it is not."""
        try:
            obstore.copy(self._client, source, key, overwrite=False)
        except (AlreadyExistsError, PreconditionError):
            raise Taken(key) from None
        except (BaseError, FileNotFoundError) as e:
            if _conflict(e):
                raise Taken(key) from None
            raise self._error(e, key) from None

    def remove(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there do no harm."""
        for key in keys:
            try:
                obstore.delete(self._client, key)
            except (BaseError, FileNotFoundError) as e:
                if not isinstance(failed := self._error(e, key), Absent):
                    raise failed from None

    def _where(self, key: str) -> str:
        return f"{self._url}/{key}"

    def _error(self, error: BaseException, key: str) -> Exception:
        failed = told(error, self._where(key))
        if isinstance(error, FileNotFoundError) and not isinstance(failed, NoBucket):
            return Absent(key)
        return failed


_OPEN: dict[tuple[str, str], Store] = {}
# The process that has used a store: its child by fork has none of the threads that a store needs, and would wait
# for them for ever.
_USED_BY: list[int] = []


def open_store(url: Url) -> Store:
    """Return the store of a URL, the same one for all that lies in it."""
    if _USED_BY and _USED_BY[0] != os.getpid():
        raise CkptError(
            "a process that was forked cannot use stores that its parent has used",
            where=str(url),
            fix="start it with the method spawn",
            code="remote.forked",
        )
    _USED_BY[:] = [os.getpid()]
    place = (url.scheme, url.place)
    if place not in _OPEN:
        _OPEN[place] = Store(url)
    return _OPEN[place]


def _client(url: Url) -> Any:
    # A whole object may be gigabytes over a slow line; two minutes without a byte are a broken one.
    options: dict[str, Any] = {"timeout": timedelta(minutes=30), "read_timeout": timedelta(minutes=2)}
    if certificate := os.environ.get("SSL_CERT_FILE"):
        with open(certificate, "rb") as file:
            options["root_certificate"] = file.read()
    retry: Any = {"max_retries": _RETRIES, "retry_timeout": timedelta(minutes=3)}
    try:
        if url.scheme == "s3":
            settings: dict[str, Any] = {"checksum_algorithm": "SHA256", "copy_if_not_exists": "multipart"}
            settings |= aws_settings()
            endpoint = settings.get("endpoint") or _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
            options |= _plain(endpoint)
            return S3Store(url.place, config=settings, client_options=options, retry_config=retry)
        if url.scheme == "az":
            options |= _plain(_first("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"))
            return AzureStore(url.place, config=azure_settings(), client_options=options, retry_config=retry)
        if url.scheme == "gs":
            return GCSStore(url.place, client_options=options, retry_config=retry)
        options |= _plain(f"{url.scheme}:")
        return HTTPStore(f"{url.scheme}://{url.place}", client_options=options, retry_config=retry)
    except BaseError as e:
        raise told(e, str(url)) from None


def _first(*variables: str) -> str:
    return next(filter(None, map(os.environ.get, variables)), "")


def _plain(endpoint: str) -> dict[str, bool]:
    """Allow a connection that is not encrypted where the endpoint was given as one."""
    return {"allow_http": True} if endpoint.startswith("http:") else {}


def _found(got: Any) -> Found:
    meta = got.meta
    return Found(meta["size"], meta["e_tag"] or "", got.attributes.get(_WRITER, ""), meta["version"])


def _this(there: Found) -> dict[str, str]:
    """Return what a put is to compare; a version of nothing would be compared as well."""
    return {"e_tag": there.e_tag} | ({"version": there.version} if there.version else {})


def _conflict(error: BaseException) -> bool:
    """Return whether a store says that another request for the same name is under way, which proves nothing."""
    return "status code: 409" in str(error)


def _no_ranges(where: str) -> StoreError:
    return StoreError(
        "the server sends whole files only, and a checkpoint is read in parts",
        where=where,
        fix="serve it with a server that knows ranges, or copy it here",
        code="remote.ranges",
    )
