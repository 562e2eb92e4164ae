"""What of a file's tensors goes nowhere: each is named once, with its reason, or it is an error."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from ckptfmt.errors import ConversionError, Problem
from ckptfmt.format.record import record
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find.census import Leftover, leftovers, same
from ckptfmt.legacy.find.find import Network
from ckptfmt.legacy.find.unread import kind_of
from ckptfmt.legacy.open import LegacyFile
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Remains", "refuse_empty", "take_stock"]

# How the names of dtypes begin whose tensors may be weights; counters and masks are whole numbers.
_FLOATS = ("F", "BF", "C")


@record
class Remains:
    """What stays behind beside a network: other networks (`left`, by path and why) and all other tensors (`lost`).

    `constants` counts the tensors without a name of a TorchScript program.
    """

    left: Mapping[str, str]
    lost: tuple[Leftover, ...]
    constants: int = 0

    @property
    def dropped(self) -> tuple[str, ...]:
        """Return a line for each place whose tensors are lost."""
        program = (f"constants ({self.constants:,} of the program, without names)",) if self.constants else ()
        return (*map(str, self.lost), *program)

    def warnings(self, path: str) -> Iterator[Problem]:
        """Yield a warning for tensors that were left out because they cannot be stored."""
        if kinds := _kinds(self.lost):
            yield Problem("source.skipped", path, f"left out {_counted(kinds)}, which cannot be stored", "", "warning")

    def refuse_unread(self, path: str, network: Network) -> None:
        """Raise `ConversionError` where what was not read is more than what was: the network may be in it."""
        kinds = _kinds(self.lost)
        if kinds.total() > len(network.tensors):
            raise ConversionError(
                f"holds {_counted(kinds)}, which are not read",
                where=path,
                fix="keep the rest without a network: architecture=none",
                code="convert.unread",
            )


def take_stock(
    legacy: LegacyFile, network: Network, found: Sequence[Network], beside: Sequence[LegacyTensor] = ()
) -> Remains:
    """Return what of the file stays behind when `network`, one of all that were `found`, and what lies `beside` go."""
    own = {same(tensor) for tensor in (*network.tensors.values(), *beside)}
    left = [other for other in found if other is not network and _is_left(other, own)]
    taken = [*beside, *(tensor for item in (network, *left) for tensor in item.tensors.values())]
    reasons = [(tuple(item.tensors.values()), why) for item in found if (why := _reason(item))]
    lost = leftovers(legacy.members, taken, reasons)
    return Remains({item.path: _why_left(item, network) for item in left}, lost, legacy.constants)


def _why_left(other: Network, network: Network) -> str:
    """Return what a network is that was not taken, in a word and the number of its tensors."""
    shapes = [sorted(tensor.shape for tensor in item.tensors.values()) for item in (other, network)]
    what = "a target copy" if other.role == "target" else "another network"
    if what == "another network" and shapes[0] == shapes[1]:
        what = "another network of the same shapes"
    return f"{what}, {len(other.tensors):,} tensor{'s' if len(other.tensors) > 1 else ''}"


def _is_left(network: Network, own: set[object]) -> bool:
    """Say whether somebody may want this network in the place of the one that was taken."""
    tensors = network.tensors.values()
    return (
        not _reason(network)
        and any(len(tensor.shape) > 1 and tensor.dtype.startswith(_FLOATS) for tensor in tensors)
        and not {same(tensor) for tensor in tensors} <= own
    )


def _reason(network: Network) -> str:
    if network.role == "optimizer":
        return "optimizer state"
    return "recorded data" if network.is_recorded else ""


def refuse_empty(legacy: LegacyFile, path: str) -> NoReturn:
    """Raise `ConversionError` for a file in which no tensor was read, with the kind of those that were seen."""
    kinds = _kinds(leftovers(legacy.members, ()))
    if legacy.container.endswith("torchscript-zip"):
        what = "is a frozen TorchScript program: its weights are constants without names"
        fix = "save the state_dict of the module before it is frozen"
    elif kinds:
        what, fix = f"holds {_counted(kinds)}, which are not read, and no other tensors", ""
    else:
        what, fix = "holds no tensors", "see what it holds with: ckptfmt.summarize(PATH)"
    raise ConversionError(what, where=path, fix=fix, code="convert.no-tensors")


def _kinds(lost: Sequence[Leftover]) -> Counter[str]:
    return Counter(kind_of(leaf) for item in lost for leaf in item.tensors if isinstance(leaf, Opaque))


def _counted(kinds: Counter[str]) -> str:
    return " and ".join(f"{n:,} {kind}{'s' if n > 1 else ''}" for kind, n in kinds.items())
