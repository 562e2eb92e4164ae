"""Values of results as the `--json` answers hold them."""

import math
from collections.abc import Mapping
from typing import Any

from ckptfmt.errors import printable

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Return `value` as plain JSON; NaN and the infinities become the texts nan, inf and -inf."""
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(float(value))
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _ if hasattr(value, "to_dict"):
            return plain(value.to_dict())
    return printable(value)
