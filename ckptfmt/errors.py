"""The one error of the package, findings apart from errors, and how foreign text is printed.

Every sentence this package says is built from *what* is wrong, *where*, and how to *mend* it. Text that
came from a file (tensor names, globals, paths) is escaped when a sentence is made, so that nothing a
stranger wrote into a checkpoint reaches a terminal raw (CWE-117, CWE-150).
"""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

__all__ = [
    "AssumedWarning", "BadPickle", "CkptError", "ConfigError", "ConversionError", "Locked", "ManifestError",
    "MissingFile", "MissingPackage", "NotACheckpoint", "Problem", "SourceError", "TargetExists", "TooCostly",
    "Unreadable", "UnsafeSource", "UnsupportedVersion", "WeightsError", "WouldAssume", "WriteError", "WrongSize",
    "missing_package", "printable",
]  # fmt: skip

# Control characters, formats (bidirectional overrides among them), surrogates, private use, unassigned,
# and the two separators that some terminals treat as line ends.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Letters that are written from right to left, and their digits, turn around what stands beside them on the line.
_LEFTWARDS = frozenset({"R", "AL", "AN"})
# Letters and marks that show as nothing (Default_Ignorable_Code_Point): fillers and selectors of variants. All others
# of them are of the categories above.
_INVISIBLE = frozenset(
    chr(code)
    for first, last in (
        *((0x34F, 0x34F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x3164, 0x3164)),
        *((0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xE0100, 0xE01EF)),
    )
    for code in range(first, last + 1)
)
# Marks stand above and below a letter, of which no spelling has more; a pile of them covers the lines around it.
_MARKS, _MOST_MARKS = frozenset({"Mn", "Me"}), 4
# How containers write themselves out, whatever they hold and how often they hold it.
_WRITTEN_OUT = frozenset({list.__repr__, tuple.__repr__, dict.__repr__})


class AssumedWarning(UserWarning):
    """Answers of a network depend on what nothing in its source file said: its manifest marks it as assumed."""


# The limit is two lines of a terminal. Callers give less where more stands beside it: 40 for one name of several, 60
# to 80 for a name within a sentence, 120 for a line of its own on a page.
def printable(text: object, limit: int = 160) -> str:
    """Return `text` on one line, cut to `limit` characters; what hides, piles up or turns the line is escaped."""
    start = _beginning(text, limit + 1)
    # Nearly all text is plain, and a look at each of its characters costs more than all else here.
    shown = start if start.isascii() and start.isprintable() else "".join(_escaped(start))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _beginning(value: object, size: int) -> str:
    """Return the first `size` characters of `str(value)`; of a container no more is written out than that."""
    if isinstance(value, str):
        return str(value[:size])
    if type(value).__repr__ not in _WRITTEN_OUT:
        return str(value)[:size]
    parts: list[str] = []
    room = size
    for part in _written(value, size):
        parts.append(part)
        room -= len(part)
        if room <= 0:
            break
    return "".join(parts)[:size]


def _written(value: object, size: int) -> Iterator[str]:
    """Yield `repr(value)` in parts, its long texts only as far as `size`."""
    if isinstance(value, dict) and type(value).__repr__ in _WRITTEN_OUT:
        yield "{"
        for i, (key, item) in enumerate(value.items()):
            yield ", " * bool(i)
            yield from _written(key, size)
            yield ": "
            yield from _written(item, size)
        yield "}"
    elif isinstance(value, list | tuple) and type(value).__repr__ in _WRITTEN_OUT:
        yield "(" if isinstance(value, tuple) else "["
        for i, item in enumerate(value):
            yield ", " * bool(i)
            yield from _written(item, size)
        yield ("," * (len(value) == 1) + ")") if isinstance(value, tuple) else "]"
    else:
        yield repr(value[:size] if isinstance(value, str | bytes) else value)


def _escaped(text: str) -> Iterator[str]:
    """Yield each character, or its escape."""
    # Before the first letter there is nothing of this text that a mark could stand on.
    marks = _MOST_MARKS
    for char in text:
        if char.isascii() and char.isprintable():
            marks = 0
            yield char
            continue
        category = unicodedata.category(char)
        marks = marks + 1 if category in _MARKS else 0
        unsafe = category in _UNSAFE_CATEGORIES or char in _INVISIBLE or unicodedata.bidirectional(char) in _LEFTWARDS
        yield _escape(char) if unsafe or marks > _MOST_MARKS else char


def _escape(char: str) -> str:
    # Written as Python writes it, so that the text can be pasted back: two, four or eight hex digits by size.
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class CkptError(Exception):
    """What went wrong, where, and how to mend it; `str()` is one line `where: what; fix`.

    `code` is a stable pair of words such as `layout.no-manifest`; scripts may rely on it.
    """

    code = "error.unknown"

    def __init__(self, what: str, *, where: str = "", fix: str = "", code: str = "") -> None:
        super().__init__(what)
        # Room for a sentence with several names in it, a path and a command; more than that only a file would say.
        self.what = printable(what, 600)
        self.where = printable(where, 300)
        self.fix = printable(fix, 400)
        self.code = code or type(self).code

    def but(self, *, where: str | None = None, fix: str | None = None) -> Self:
        """Return the same error, said of another place or with another mend."""
        return type(self)(
            self.what,
            where=self.where if where is None else where,
            fix=self.fix if fix is None else fix,
            code=self.code,
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> "CkptError":
        """Build an error from `to_dict`, of the class whose code it has; another process may have raised it."""
        kinds = {kind.code: kind for kind in _descendants(cls)}
        return kinds.get(data["code"], cls)(data["what"], where=data["where"], fix=data["fix"], code=data["code"])

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        mend = f"; {self.fix}" if self.fix else ""
        return f"{place}{self.what}{mend}"

    def to_dict(self) -> dict[str, Any]:
        """Return the error as the `error` object of a `--json` answer."""
        return {"code": self.code, "what": self.what, "where": self.where, "fix": self.fix}


def _descendants(kind: type[CkptError]) -> Iterator[type[CkptError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


class NotACheckpoint(CkptError, FileNotFoundError):
    """There is no checkpoint at this path."""

    code = "layout.no-manifest"


class ManifestError(CkptError, ValueError):
    """The manifest is not strict JSON, or does not say what the format demands."""

    code = "manifest.value"


class ConfigError(ManifestError):
    """A field of a config holds what it cannot."""

    code = "config.value"


class WeightsError(CkptError, ValueError):
    """A safetensors file is malformed, or its bytes are not those the manifest describes."""

    code = "weights.header"


class MissingFile(WeightsError):
    """A file that the manifest lists, or the manifest itself, is not in the folder."""

    code = "layout.missing-file"


class Unreadable(WeightsError):
    """The operating system does not let a file be opened or read."""

    code = "layout.unreadable"


class WrongSize(WeightsError):
    """A file is longer or shorter than its header or the manifest says."""

    code = "weights.size"


class UnsupportedVersion(CkptError):
    """The checkpoint was written by a newer format than this code reads."""

    code = "version.unsupported"


class SourceError(CkptError, ValueError):
    """A legacy file is missing, damaged, truncated, or no checkpoint at all."""

    code = "source.damaged"


class TooCostly(SourceError):
    """Reading a legacy file would take more memory, steps or depth than any checkpoint needs."""

    code = "source.limit"


class BadPickle(SourceError):
    """A legacy file's pickle is not one that Python and torch write."""

    code = "source.pickle"


class UnsafeSource(SourceError):
    """A legacy file asks for something that only an attack asks for; nothing was run.

    `source` is the path of that file, where `where` goes on to the member in it.
    """

    code = "source.unsafe"
    source = ""


class ConversionError(CkptError, ValueError):
    """A legacy file was read, but what it holds cannot be told or contradicts itself."""

    code = "convert.unknown"


class WouldAssume(ConversionError):
    """Something would have to be assumed, and that was not allowed."""

    code = "convert.assumed"


class WriteError(CkptError, OSError):
    """A checkpoint could not be written whole; what was there before is still there."""

    code = "write.failed"


class TargetExists(WriteError, FileExistsError):
    """Something lies at the target already and replacing it was not asked for."""

    code = "write.exists"


class Locked(WriteError):
    """Another process is writing at the target."""

    code = "write.locked"


class MissingPackage(CkptError, ImportError):
    """An optional package that this call needs is not installed."""

    code = "install.missing"


# Which extra of this package brings a package that is optional.
_EXTRAS = {
    **dict.fromkeys(("torch", "gymnasium", "ale_py", "cv2", "tensorboard", "yaml", "imageio_ffmpeg"), "rl"),
    **dict.fromkeys(("jinja2", "starlette", "uvicorn"), "web"),
    "distributed": "cluster",
    "cryptography": "sign",
    "obstore": "remote",
    "huggingface_hub": "hub",
    "h5py": "keras",
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "onnx"),
    **dict.fromkeys(("stable_baselines3", "sb3_contrib", "lightning"), "integrations"),
}
# What nobody asks for by its own name.
_BROUGHT_BY = {"markupsafe": "jinja2"}


def missing_package(error: ImportError, needed_by: str) -> MissingPackage | None:
    """Return what to say when an import failed for want of an optional package; None where it was another."""
    missing = (error.name or "").partition(".")[0]
    package = _BROUGHT_BY.get(missing, missing)
    if package not in _EXTRAS:
        return None
    return MissingPackage(
        f"{needed_by} needs {package}, which is not installed", fix=f'run: pip install "ckptfmt[{_EXTRAS[package]}]"'
    )


Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a checkpoint or a source: a stable `code`, the place, the sentence, the mend."""

    code: str
    where: str
    message: str
    fix: str = ""
    severity: Severity = "error"

    @classmethod
    def of(cls, error: CkptError, *, where: str | None = None, fix: str = "", severity: Severity = "error") -> Self:
        """Return an error as a finding: said of the place `where`, and with the mend `fix` where it has none."""
        return cls(error.code, error.where if where is None else where, error.what, error.fix or fix, severity)

    def to_dict(self) -> dict[str, str]:
        """Return the finding with the keys of `report.schema.json`."""
        return {
            "code": self.code,
            "severity": self.severity,
            "where": self.where,
            "message": self.message,
            "fix": self.fix,
        }
