"""Files inside a pickle: d3rlpy and RLlib keep what torch or pickle wrote as bytes among the values of a dict."""

from typing import Any

from ckptfmt.errors import SourceError, TooCostly, UnsafeSource
from ckptfmt.legacy.bytes.blocks import Block, MemoryBlock, Window
from ckptfmt.legacy.containers import torchzip, zip
from ckptfmt.legacy.containers.reading import Reading, within

__all__ = ["opened"]

# Protocols 0 and 1 begin as any text may, and no library keeps them inside of another pickle.
_PICKLES = tuple(b"\x80" + bytes((protocol,)) for protocol in (2, 3, 4, 5))
_D3RLPY = {"torch", "config"}


def opened(value: Any, reading: Reading) -> tuple[str, Any]:
    """Return the container and the object of a pickle, with the files among its values in the place of their bytes.

    Only the outermost dict is looked through. Bytes that begin as a file and are none stay bytes.
    """
    if not isinstance(value, dict):
        return "pickle", value
    found = {key: _opened(str(key), item, reading) for key, item in value.items()}
    if found.keys() >= _D3RLPY and isinstance(found["config"], str) and found["torch"] is not value["torch"]:
        reading.declare("config", MemoryBlock(found.pop("config").encode()))
        return "d3rlpy", found
    return "pickle", found if any(found[key] is not item for key, item in value.items()) else value


def _opened(name: str, item: Any, reading: Reading) -> Any:
    if not isinstance(item, bytes | Window):
        return item
    block: Block = MemoryBlock(item) if isinstance(item, bytes) else item
    head = block.read(0, min(4, block.size))
    if not head.startswith((*zip.MAGIC, *_PICKLES)):
        return item
    try:
        with within(name):
            return _read(block, head, reading)
    except UnsafeSource as e:
        # Bytes that nobody reads are no reason to refuse the rest.
        reading.warn("source.skipped", name, f"was left as bytes: {e.what}")
        return item
    except TooCostly:
        raise
    except SourceError:
        return item


def _read(block: Block, head: bytes, reading: Reading) -> Any:
    if head.startswith(_PICKLES):
        return reading.load(block, whole=True).value
    archive = zip.read_archive(block)
    return torchzip.read_object(reading.take(archive), torchzip.find_root(archive), reading)
