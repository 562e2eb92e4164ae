"""Read files in a process of its own that notes every import, execution, process and other file that is reached.

    python guarded.py safe|unsafe|pickle FILE...

`unsafe` reads with refusals turned into placeholders; `pickle` reads with the standard library, to show that the
guard sees what happens then (system calls are stopped before they do anything).
"""

import builtins
import importlib
import json
import re
import sys
import tempfile
from collections.abc import Callable
from typing import Any

# The interpreter itself loads some of these when it starts.
AT_START = frozenset(sys.modules)

from ckptfmt.errors import CkptError  # noqa: E402
from ckptfmt.legacy import open as container  # noqa: E402

WATCHED = ("import", "exec", "compile", "os.", "subprocess.", "shutil.", "ctypes.", "socket.", "pickle.", "marshal.")
STOPPED = ("os.", "subprocess.", "shutil.", "socket.")
# What is unpacked goes to a file that the package makes and removes at once; tempfile is loaded for that.
SPOOLED = re.compile(re.escape(tempfile.gettempdir()) + r"(/[a-z0-9_]{8})?")
FORBIDDEN = ("pickle", "_pickle", "pickletools", "torch", "marshal", "subprocess", "numpy")


class Reached(BaseException):
    """Raised in the place of what must not happen; no handler of the package catches it."""


class Guard:
    """Notes what is reached while a file is read."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.file = ""

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.file or (event in ("open", "os.remove") and SPOOLED.fullmatch(str(args[0]))):
            return
        if event == "open" and args[0] != self.file:
            self.reached.append(f"open {args[0]}")
        if event.startswith(WATCHED):
            self.reached.append(event)
        if event.startswith(STOPPED):
            raise Reached

    def watched(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.file and args[0] != "tempfile":
                self.reached.append(f"{name} {args[0]}")
            return original(*args, **kwargs)

        return call


def with_package(file: str, *, allow_unsafe: bool) -> None:
    with container.read(file, allow_unsafe=allow_unsafe) as opened:
        opened.check_unchanged()


def with_pickle(file: str) -> None:
    unpickle = sys.modules["pickle"].load
    with open(file, "rb") as f:
        unpickle(f)


def main(mode: str, files: list[str]) -> dict[str, Any]:
    if mode == "pickle":
        importlib.import_module("pickle")
    guard = Guard()
    sys.addaudithook(guard.audit)
    for name in ("__import__", "eval", "exec", "compile"):
        setattr(builtins, name, guard.watched(name, getattr(builtins, name)))
    importlib.import_module = guard.watched("import_module", importlib.import_module)
    for file in files:
        guard.file = file
        try:
            if mode == "pickle":
                with_pickle(file)
            else:
                with_package(file, allow_unsafe=mode == "unsafe")
        except (CkptError, Reached):
            continue
    guard.file = ""
    loaded = [name for name in FORBIDDEN if name in sys.modules and name not in AT_START]
    return {"read": len(files), "reached": guard.reached, "loaded": loaded}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2:])))
