"""What stores say when they refuse, in our words: never an address with a signature in it, never a key."""

import re

from ckptfmt.errors import CkptError, WriteError

__all__ = ["Absent", "NoBucket", "NotOnHub", "StoreError", "Taken", "told"]

_STATUS = r"status code: (\d{3})"
_CODE = r"<Code>(\w{1,60})</Code>"
# What the client calls keys that it cannot read, before it asks the store anything.
_NO_KEY = r"InvalidAccessKey|\w+Credentials \{|MissingKey"
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")


class Absent(Exception):
    """The store holds nothing of this name."""


class Taken(Exception):
    """Somebody else's object has this name, or it is not any more the one that was to be replaced."""


class StoreError(WriteError):
    """A store cannot be reached, refuses, or does not do what is asked of it."""

    code = "remote.failed"


class NoBucket(StoreError):
    """The bucket or container of a URL does not exist."""

    code = "remote.bucket"


class NotOnHub(StoreError):
    """The hub shows no such repository or revision."""

    code = "remote.missing"


def told(error: BaseException, where: str) -> CkptError:
    """Return the error of a store's client in our words; its own text holds addresses, and they may hold signatures."""
    text = str(error)
    status, code = re.search(_STATUS, text), re.search(_CODE, text)
    number, word = (status[1] if status else ""), (code[1] if code else "")
    if word in _NO_BUCKET:
        return NoBucket("there is no such bucket", where=where, fix="make it, or check the name")
    if number in ("401", "403") or type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        return StoreError(
            f"the store refuses these credentials{_in_brackets(number, word)}",
            where=where,
            fix="check the keys in the environment or in the files of the provider's tools",
            code="remote.refused",
        )
    if number in ("429", "503"):
        return StoreError(
            f"the store asks for fewer requests, and went on doing so{_in_brackets(number, word)}",
            where=where,
            fix="try again later",
            code="remote.busy",
        )
    if number:
        return StoreError(f"the store failed{_in_brackets(number, word)}", where=where, fix="try again later")
    if "MissingAccount" in text:
        fix = "set AZURE_STORAGE_ACCOUNT_NAME"
        return StoreError("no storage account is named", where=where, fix=fix, code="remote.refused")
    if re.search(_NO_KEY, text):
        fix = "check the keys in the environment or in the files of the provider's tools"
        return StoreError("these credentials cannot be used", where=where, fix=fix, code="remote.refused")
    if "HTTP error" in text or "error sending request" in text or "timed out" in text:
        return StoreError(
            "the store cannot be reached",
            where=where,
            fix="check the network and the endpoint in the environment",
            code="remote.unreachable",
        )
    return StoreError(f"the store's client failed ({type(error).__name__})", where=where, fix="check the settings")


def _in_brackets(number: str, word: str) -> str:
    said = " ".join(filter(None, (number, word)))
    return f" ({said})" if said else ""
