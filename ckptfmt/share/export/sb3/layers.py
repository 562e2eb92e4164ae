"""What Stable-Baselines3 calls the layers of its networks, and which bodies of ours have a place in them."""

from ckptfmt.families.blocks import Body, Convs, Mlp
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
    activations: frozenset[str] = frozenset()

    def called(self, *theirs: str) -> dict[str, tuple[str, ...]]:
        """Return {our name: their names} where each layer is followed by an activation, all counted."""
        return {name: tuple(f"{one}.{2 * i}" for one in theirs) for i, name in enumerate(self.names)}


@record
class Seen:
    """What sees: the features extractor of frames, where there is one, and the linear layers behind it.

    `features_dim` is None where features are seen as they are.
    """

    row: Row
    convs: tuple[str, ...] = ()
    linear: str = ""
    features_dim: int | None = None

    def extractor(self, *theirs: str) -> dict[str, tuple[str, ...]]:
        """Return {our name: their names} of the features extractor, under each of several names of it."""
        if self.features_dim is None:
            return {}
        convs = {name: tuple(f"{one}.cnn.{2 * i}" for one in theirs) for i, name in enumerate(self.convs)}
        return {**convs, self.linear: tuple(f"{one}.linear.0" for one in theirs)}


def look_at(body: Body, prefix: str, usual: str) -> Seen:
    """Return what a body is there; raise `ConversionError` where that library has no such body.

    `usual` is the activation of blocks that name none.
    """
    if not body or not isinstance(body[0], Convs):
        return Seen(_row(body, prefix, 0, usual))
    first = body[0]
    nature = first.convs == NATURE.convs and first.norm == "none" and (first.activation or usual) == "relu"
    row = _row(body[1:], prefix, 1, usual)
    if not nature or not row.names or _first(body[1:], usual) != "relu":
        raise unfit(f"{LIBRARY}'s CnnPolicy has the convolutions of the Nature paper and ReLU")
    convs = tuple(f"{prefix}.0.conv.{i}" for i in range(len(first.convs)))
    rest = Row(row.names[1:], row.sizes[1:], _activations(body[1:], usual, 1))
    return Seen(rest, convs, row.names[0], row.sizes[0])


def _row(body: Body, prefix: str, start: int, usual: str) -> Row:
    names: list[str] = []
    sizes: list[int] = []
    for number, block in enumerate(body, start):
        if not isinstance(block, Mlp):
            what = "recurrent cells" if block.kind == "cell" else f"{block.kind} blocks there"
            raise unfit(f"{LIBRARY}'s policies have no {what}")
        if block.noisy or block.norm != "none":
            raise unfit(f"{LIBRARY}'s policies have no {'noisy layers' if block.noisy else 'normalisations'}")
        names += [f"{prefix}.{number}.linear.{i}" for i in range(len(block.sizes))]
        sizes += block.sizes
    return Row(tuple(names), tuple(sizes), _activations(body, usual, 0))


def _activations(body: Body, usual: str, skip: int) -> frozenset[str]:
    each = [block.activation or usual for block in body if isinstance(block, Mlp) for _ in block.sizes]
    return frozenset(each[skip:])


def _first(body: Body, usual: str) -> str:
    (first, *_) = body
    return first.activation or usual if isinstance(first, Mlp) else ""
