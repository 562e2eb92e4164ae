"""What a pickle asks for by name: each kind of request has its own list of what it may be asked of."""

from collections.abc import Callable
from typing import Any

from ckptfmt.errors import BadPickle, UnsafeSource, printable
from ckptfmt.legacy.bytes.blocks import Block, MemoryBlock, Window
from ckptfmt.legacy.bytes.budget import Budget, exceeded
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.pickle import globals as known
from ckptfmt.legacy.pickle import ndarray as arrays
from ckptfmt.legacy.pickle.builders import CALLS
from ckptfmt.legacy.pickle.inert import Opaque, Ordered
from ckptfmt.legacy.pickle.refusal import refused
from ckptfmt.legacy.pickle.tensors import TENSORS, tensor_state

__all__ = ["Calls", "Nested"]

_RECONSTRUCTOR = "copyreg._reconstructor"
_NESTED = "torch.storage._load_from_bytes"
_GETATTR = "builtins.getattr"
# A class of a class by its whole path, called and called again, takes some hundreds of characters.
_MAX_NAME = 1024
_BASES = ("builtins.object", "builtins.dict", "builtins.list")

Nested = Callable[[Block], Any]


class Calls:
    """Names, calls, instances and states of one pickle, answered with values and placeholders."""

    def __init__(self, budget: Budget, nested: Nested | None, allow_unsafe: bool) -> None:
        self.globals: dict[str, None] = {}
        self.placeholders: dict[str, None] = {}
        self._budget = budget
        self._nested = nested
        self._allow_unsafe = allow_unsafe
        self._known: dict[tuple[str, str], Opaque] = {}
        # How the pickle writes a name that is refused where it is called.
        self._written: dict[str, str] = {}

    def name(self, module: Any, name: Any) -> Opaque:
        """Return the placeholder of a name; raise `UnsafeSource` for one that no pickler writes."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise BadPickle("its pickle names a class by something that is no text")
        if (module, name) not in self._known:
            self._budget.name()
            self._known[module, name] = self._resolve(module, name)
        return self._known[module, name]

    def _resolve(self, module: str, name: str) -> Opaque:
        written = f"{module}.{name}"
        if not known.well_formed(module, name):
            raise refused(f"names {printable(written, 80)}, which is no plain name")
        full = known.full_name(module, name)
        group = known.group_of(full)
        # A class inside a class of somebody else is a name like any other; in a module that is installed
        # everywhere such a name walks to another module.
        if "." in name and group != "placeholder" and not self._allow_unsafe:
            raise refused(f"names {printable(written, 80)}, which is no plain name")
        self.globals[written] = None
        self._written.setdefault(full, written)
        if group in ("refused", "placeholder"):
            self.placeholders[written] = None
        return Opaque("global", full)

    def call(self, target: Any, args: Any) -> Any:
        """Answer REDUCE: a function of the table, or a record of the call of a foreign one."""
        if not isinstance(args, tuple):
            raise BadPickle("its pickle calls something without a tuple of arguments")
        if not isinstance(target, Opaque):
            raise refused("calls something that is no name")
        self._budget.copied(args)
        if target.kind != "global":
            return self._call_of_result(target, args)
        if target.name == _RECONSTRUCTOR:
            return self._reconstruct(args)
        if target.name == _NESTED:
            return self._load_nested(args)
        if target.name == _GETATTR and (attribute := self._attribute(args)) is not None:
            return attribute
        return self._call_of_name(target, args)

    def _call_of_name(self, target: Opaque, args: tuple[Any, ...]) -> Any:
        if target.name in CALLS:
            try:
                return self._built(CALLS[target.name](args))
            except (BadPickle, UnsafeSource):
                # What is no tensor may be kept as a record; a tensor that cannot be is damage.
                if not self._allow_unsafe or target.name in TENSORS:
                    raise
        elif known.group_of(target.name) != "placeholder" and not self._allow_unsafe:
            raise refused(f"calls {self._written.get(target.name, target.name)}")
        return Opaque("call", target.name, args)

    def _call_of_result(self, target: Opaque, args: tuple[Any, ...]) -> Opaque:
        """Return the record of a call of what another call gave, or of an instance; that one is kept inside."""
        if not self._is_inert(target):
            raise refused("calls something that is no name")
        full = f"{target.name}()"
        self._spend_name(full)
        return Opaque("call", full, (target, *args))

    def _spend_name(self, full: str) -> None:
        """Spend the name of what a call or an attribute of another placeholder gave: each is longer than the last."""
        if len(full) > _MAX_NAME:
            raise exceeded(f"calls what calls gave until its name takes more than {_MAX_NAME:,} characters")
        # Held twice over: as it is, and as a part of what is said of it.
        self._budget.text(2 * len(full))

    def _attribute(self, args: tuple[Any, ...]) -> Opaque | None:
        """Return the placeholder of an attribute of a placeholder; None for one of what might be a module of ours."""
        match args:
            case (Opaque() as holder, str() as name) if name.isidentifier() and self._is_inert(holder):
                full = f"{holder.name}.{name}"
                self._spend_name(full)
                return Opaque("attribute", full, () if holder.kind == "global" else (holder,))
        return None

    def _is_inert(self, target: Opaque) -> bool:
        """Say whether a placeholder may be gone on with: it stands for code of other packages, or the user said so."""
        return known.group_of(target.name) == "placeholder" or self._allow_unsafe

    def make(self, target: Any, args: Any) -> Any:
        """Answer NEWOBJ, OBJ and INST: an instance without its constructor's work."""
        if not isinstance(args, tuple):
            raise BadPickle("its pickle makes an instance without a tuple of arguments")
        self._budget.copied(args)
        if isinstance(target, Opaque) and target.kind != "global" and self._is_inert(target):
            return Opaque("instance", target.name, (target, *args) if target.kind == "call" else args)
        if not isinstance(target, Opaque) or target.kind != "global":
            raise refused("makes an instance of something that is no class")
        group = known.group_of(target.name)
        if not known.instantiable(target.name, args) and not self._allow_unsafe:
            does = "calls" if group == "refused" else "instantiates"
            raise refused(f"{does} {self._written.get(target.name, target.name)}")
        return Ordered() if target.name == "collections.OrderedDict" else Opaque("instance", target.name, args)

    def holds(self, target: Any) -> bool:
        """Say whether items may be recorded in a placeholder: not in one that the table makes itself."""
        if not isinstance(target, Opaque):
            return False
        return self._allow_unsafe or (target.kind != "global" and known.group_of(target.name) != "emulated")

    def state(self, target: Any, state: Any) -> Any:
        """Answer BUILD: return the object with its state, a new one where the old one cannot carry it."""
        if not isinstance(state, dict):
            self._budget.copied(state)
        match target:
            case Ordered() if isinstance(state, dict):
                return target
            case LegacyTensor() if tensor_state(state):
                return target
            case Opaque(kind="instance", name=arrays.NDARRAY, state=None):
                return self._built(arrays.array_state(target, state) or target)
            case Opaque(kind="instance", name=arrays.DTYPE, state=None) if isinstance(state, tuple):
                target.state = state
                return target
            case Opaque(kind="instance" | "call" | "attribute", name=name, state=None) if (
                self._allow_unsafe or known.group_of(name) != "emulated" or name in known.STATEFUL
            ):
                target.state = state
                return target
            case Opaque() if self._allow_unsafe:
                target.items.append(state)
                return target
        raise refused("gives a state to something that has none")

    def _built(self, value: Any) -> Any:
        if isinstance(value, LegacyTensor):
            self._budget.tensor(value)
        return value

    def _reconstruct(self, args: tuple[Any, ...]) -> Any:
        """Answer protocols 0 and 1: (class, base, contents of the base)."""
        match args:
            case (cls, Opaque(kind="global", name=base), contents) if base in _BASES:
                made = self.make(cls, ())
                if base == "builtins.dict" and isinstance(contents, dict) and isinstance(made, Opaque):
                    made.pairs.extend(contents.items())
                elif base == "builtins.list" and isinstance(contents, list) and isinstance(made, Opaque):
                    made.items.extend(contents)
                elif contents is not None:
                    raise BadPickle("its pickle makes an instance of contents that do not fit")
                return made
        raise BadPickle("its pickle makes an instance in a way that Python does not")

    def _load_nested(self, args: tuple[Any, ...]) -> Any:
        """Answer a storage that was pickled as bytes of its own: they go through the same reader."""
        if self._nested is None:
            raise refused(f"calls {_NESTED}")
        match args:
            case (bytes() as data,):
                return self._nested(MemoryBlock(data))
            case (Window() as block,):
                return self._nested(block)
        raise BadPickle("its pickle holds a storage in a way that torch does not")
