"""Settings in a YAML file, read as plain data."""

import re
from typing import Any

import yaml

from ckptfmt.errors import CkptError

__all__ = ["read_settings"]

# Every setting on a line of its own takes a fiftieth of this.
_MAX_FILE = 128 << 10


class _PlainLoader(yaml.SafeLoader):
    """Reads YAML without aliases: with them a few lines are as many words as somebody wants."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read here, write the value out")
        return super().compose_node(parent, index)


# YAML 1.1 takes 1e-08, as JSON and our own --dry-run write it, for text: it wants a point before the exponent.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_settings(path: str) -> Any:
    """Return what a YAML file holds; raise `CkptError` where it is none, too large, or not to be read."""
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_FILE + 1)
        if len(text) > _MAX_FILE:
            raise CkptError(f"is more than {_MAX_FILE:,} bytes of settings", where=path, code="train.config")
        return yaml.load(text, Loader=_PlainLoader)
    except OSError as e:
        raise CkptError(f"cannot be read: {e.strerror}", where=path, code="train.config") from None
    # A date that there is not and an integer of thousands of digits are ValueErrors to the parser.
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        raise CkptError(f"is not YAML: {e}", where=path, code="train.config") from None
