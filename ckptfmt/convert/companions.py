"""Files of settings beside a foreign file: JSON and YAML, read as text, of which no tag and no alias is followed."""

import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ckptfmt.errors import ManifestError, Problem, printable
from ckptfmt.format import jsontext

if TYPE_CHECKING:
    import yaml

__all__ = ["read_companions"]

_NAMES = (
    *("args", "config", "hparams", "hyperparameters", "hyperparams", "params", "settings", "train_config"),
    *("training_config", "kwargs", "env_kwargs"),
)
_SUFFIXES = (".json", ".yaml", ".yml")
# Files of settings are a few kilobytes, also all of them together; what is larger is data, and reading it would slow
# down every conversion: PyYAML takes a second for so much.
_LIMIT = 256 << 10
# Far beyond any settings, far below what makes the parser slow or deep.
_MAX_NODES, _MAX_DEPTH = 20_000, 24
# Each file of a folder has the same beside it, of as many names as there are.
_REMEMBERED = len(_NAMES) * len(_SUFFIXES)
# No link: what lies elsewhere was not put beside this file; and no pipe is waited for.
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "null": None, "~": None}


def read_companions(path: str) -> tuple[dict[str, Any], tuple[Problem, ...]]:
    """Return the settings that lie beside a file, by the names of theirs, and a warning for each that is not read.

    They are called as code bases call them, or as the file itself: `config.yaml`, `hparams.yaml`, `dqn_best.json`.
    """
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0]
    found: dict[str, Any] = {}
    problems = []
    left = _LIMIT
    for candidate in (word + suffix for word in dict.fromkeys((*_NAMES, stem)) for suffix in _SUFFIXES):
        if candidate == name or (data := _read(os.path.join(folder, candidate))) is None:
            continue
        if len(data) > left:
            what = f"is more than the {_LIMIT:,} bytes allowed, with the others there"
        else:
            left -= len(data)
            try:
                found[candidate], what = _parsed(candidate, data)
            except ImportError:
                what = "needs PyYAML, which is not installed"
        if what:
            message = f"{printable(candidate, 80)} beside it {what}, so nothing is taken from it"
            problems.append(Problem("source.skipped", path, message, "", "warning"))
    return {candidate: value for candidate, value in found.items() if isinstance(value, dict)}, tuple(problems)


def _read(path: str) -> bytes | None:
    """Return a small regular file, None for anything else."""
    try:
        descriptor = os.open(path, _OPEN)
    except (OSError, ValueError):
        return None
    try:
        info = os.fstat(descriptor)
        small = stat.S_ISREG(info.st_mode) and info.st_size <= _LIMIT
        return os.read(descriptor, _LIMIT) if small else None
    except OSError:
        return None
    finally:
        os.close(descriptor)


@lru_cache(maxsize=_REMEMBERED)
def _parsed(name: str, data: bytes) -> tuple[Any, str]:
    """Return what a file of these bytes holds, or (None, what is wrong with it); nobody changes what it gives."""
    try:
        return _parse(name, data), ""
    except ManifestError as e:
        return None, e.what


def _parse(name: str, data: bytes) -> Any:
    if name.endswith(".json"):
        return jsontext.parse(data, where=name, limit=_LIMIT)
    return _named(_parse_yaml(name, data))


def _named(value: Any) -> Any:
    """Return a list of pairs, or a list of one such list, as a dict: so Python's OrderedDict is written."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    pairs = isinstance(value, list) and value and all(isinstance(p, list) and len(p) == 2 for p in value)
    return {str(key): item for key, item in value} if pairs else value


def _parse_yaml(name: str, data: bytes) -> Any:
    # The one import that waits: most files have no YAML beside them.
    import yaml

    try:
        events = yaml.parse(data.decode("utf-8"), Loader=yaml.SafeLoader)
        return _Builder(events).value()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise ManifestError("is not YAML that can be read here", where=name) from None


class _Builder:
    """Plain data of the events of a YAML text: aliases are an error, tags are passed over, so nothing is made."""

    def __init__(self, events: "Iterator[yaml.Event]") -> None:
        self._events = events
        self._nodes = 0

    def value(self) -> Any:
        """Return the first document."""
        next(self._events)
        next(self._events, None)
        return self._node(next(self._events, None), 0)

    def _node(self, event: Any, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise ManifestError(f"has more than {_MAX_NODES:,} values, or nests deeper than {_MAX_DEPTH}")
        match type(event).__name__:
            case "ScalarEvent":
                return _scalar(event.value) if event.style is None else event.value
            case "SequenceStartEvent":
                return list(self._until("SequenceEndEvent", depth))
            case "MappingStartEvent":
                items = list(self._until("MappingEndEvent", depth))
                return {str(key): item for key, item in zip(items[::2], items[1::2], strict=True)}
        raise ManifestError("holds an alias, which is not followed")

    def _until(self, end: str, depth: int) -> Iterator[Any]:
        for event in self._events:
            if type(event).__name__ == end:
                return
            yield self._node(event, depth + 1)


def _scalar(text: str) -> Any:
    """Return a plain word of YAML as what it stands for: truth, nothing, a number, or text."""
    if text.lower() in _WORDS or text == "":
        return _WORDS.get(text.lower())
    for kind in (int, float):
        try:
            # The longest number that Python writes has 24 characters.
            return kind(text) if len(text) < 25 and "_" not in text else text
        except ValueError:
            continue
    return text
