"""What Stable-Baselines3 calls the layers of its networks, and which bodies of ours have a place in them."""

from ckptfmt.families.blocks import Body, Cell, Convs, Mlp
from ckptfmt.families.encoder import NATURE
from ckptfmt.format.record import record
from ckptfmt.share.export.target import unfit

__all__ = ["Row", "Seen", "look_at"]

LIBRARY = "Stable-Baselines3"


@record
class Row:
    """Linear layers one behind another: our name, outputs and activation of each."""

    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    activations: tuple[str, ...] = ()

    def called(self, *theirs: str) -> dict[str, tuple[str, ...]]:
        """Return {our name: their names} where each layer is followed by an activation, all counted."""
        return {name: tuple(f"{one}.{2 * i}" for one in theirs) for i, name in enumerate(self.names)}

    def behind(self, count: int) -> "Row":
        """Return the layers behind the first `count`."""
        return Row(self.names[count:], self.sizes[count:], self.activations[count:])


@record
class Seen:
    """What sees: the features extractor of frames, where there is one, the cell and the linear layers behind it.

    `features_dim` is None where features are seen as they are, `cell` where nothing is remembered; `remembers` is our
    name of the cell.
    """

    row: Row
    convs: tuple[str, ...] = ()
    linear: str = ""
    features_dim: int | None = None
    cell: Cell | None = None
    remembers: str = ""

    def extractor(self, *theirs: str) -> dict[str, tuple[str, ...]]:
        """Return {our name: their names} of the features extractor, under each of several names of it."""
        if self.features_dim is None:
            return {}
        convs = {name: tuple(f"{one}.cnn.{2 * i}" for one in theirs) for i, name in enumerate(self.convs)}
        return {**convs, self.linear: tuple(f"{one}.linear.0" for one in theirs)}


def look_at(body: Body, prefix: str, usual: str, *, cells: bool = False) -> Seen:
    """Return what a body is there; raise `ConversionError` where that library has no such body.

    `usual` is the activation of blocks that name none; with `cells` one may stand before the linear layers.
    """
    first = body[0] if body else None
    if not isinstance(first, Convs):
        cell, place = _cell(body, prefix, 0, usual) if cells else (None, "")
        return Seen(_row(body, prefix, 0, usual, cells), cell=cell, remembers=place)
    nature = first.convs == NATURE.convs and first.norm == "none" and (first.activation or usual) == "relu"
    row = _row(body[1:], prefix, 1, usual, cells)
    if not nature or row.activations[:1] != ("relu",):
        raise unfit(f"{LIBRARY}'s CnnPolicy has the convolutions of the Nature paper and ReLU")
    convs = tuple(f"{prefix}.0.conv.{i}" for i in range(len(first.convs)))
    cell, place = _cell(body, prefix, 1, usual) if cells else (None, "")
    return Seen(row.behind(1), convs, row.names[0], row.sizes[0], cell, place)


def _cell(body: Body, prefix: str, layers: int, usual: str) -> tuple[Cell | None, str]:
    """Return the cell of a body and our name of it; so many linear layers must lie before it."""
    found = [(place, block) for place, block in enumerate(body) if isinstance(block, Cell)]
    if not found:
        return None, ""
    (place, cell), *more = found
    before = _row(tuple(block for block in body[:place] if not isinstance(block, Convs)), prefix, 0, usual)
    if more or len(before.names) != layers:
        raise unfit(f"{LIBRARY}'s RecurrentPPO has one LSTM, right behind what it sees or its features extractor")
    if cell.cell != "lstm":
        raise unfit(f"{LIBRARY}'s RecurrentPPO has LSTMs alone")
    return cell, f"{prefix}.{place}.cell"


def _row(body: Body, prefix: str, start: int, usual: str, cells: bool = False) -> Row:
    names: list[str] = []
    sizes: list[int] = []
    activations: list[str] = []
    for number, block in enumerate(body, start):
        if isinstance(block, Cell) and cells:
            continue
        if not isinstance(block, Mlp):
            what = "recurrent cells" if block.kind == "cell" else f"{block.kind} blocks there"
            raise unfit(f"{LIBRARY}'s policies have no {what}")
        if block.noisy or block.norm != "none":
            raise unfit(f"{LIBRARY}'s policies have no {'noisy layers' if block.noisy else 'normalisations'}")
        names += [f"{prefix}.{number}.linear.{i}" for i in range(len(block.sizes))]
        sizes += block.sizes
        activations += [block.activation or usual] * len(block.sizes)
    return Row(tuple(names), tuple(sizes), tuple(activations))
