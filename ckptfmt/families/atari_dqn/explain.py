"""Why shapes are none of the eight architectures: what is there instead, what is missing, what is too many."""

from collections import Counter
from collections.abc import Callable, Mapping

from ckptfmt.families.atari_dqn.config import architecture_name
from ckptfmt.families.atari_dqn.fingerprint import MAX_CONVS, MAX_MATRICES, MAX_TENSORS, Fingerprint, Shape
from ckptfmt.families.atari_dqn.topology import Fit, Layer
from ckptfmt.families.rivals import q_network
from ckptfmt.families.skeleton import Kind, Skeleton

__all__ = ["NO_CONVOLUTION", "misfit", "nearest", "unusable"]

# Said unless a family that needs none knows better what fails.
NO_CONVOLUTION = "there is no convolution, so this is no network for Atari frames, and no other family fits it"

_STRANGE: dict[Kind, str] = {
    "batch norm": "batch normalisation",
    "norm": "a normalisation layer",
    "cell": "a recurrent cell",
}

_ROLES = {
    "hidden": "the hidden layer",
    "head": "the head",
    "value_hidden": "the hidden layer of the value stream",
    "advantage_hidden": "the hidden layer of the advantage stream",
    "value_head": "the value head",
    "advantage_head": "the advantage head",
}


def unusable(found: Fingerprint, seen: Skeleton) -> str:
    """Return why no architecture is even near: no trunk, no head, other kinds of layers; "" if one may be."""
    if not found.shapes:
        return "there are no tensors"
    if empty := next((name for name, shape in found.shapes.items() if 0 in shape), ""):
        return f"{empty} {_text(found.shapes[empty])} has no elements"
    if odd := next((name for name, shape in found.shapes.items() if _is_odd(shape)), ""):
        return f"{odd} {_text(found.shapes[odd])} belongs to no layer of these networks"
    if not found.convs:
        return NO_CONVOLUTION
    if not found.matrices:
        return "there is no linear layer: an encoder without a head"
    if len(found.shapes) > MAX_TENSORS or len(found.matrices) > MAX_MATRICES:
        return (
            f"{len(found.shapes)} tensors with {len(found.matrices)} shapes of matrices are more than one such network"
        )
    return "" if found.chain else _trunks(seen) or _no_chain(found)


def _is_odd(shape: Shape) -> bool:
    # No layer of the eight has such a tensor; three dimensions of which two are 1 are a vector.
    return len(shape) > 4 or (len(shape) == 3 and sum(size != 1 for size in shape) > 1)


def _trunks(seen: Skeleton) -> str:
    """Return that parts of the network have a trunk each, "" unless all begin with frames of as many channels."""
    firsts = {part.prefix: [layer for layer in part.layers if layer.kind == "convolution"] for part in seen.parts}
    trunks = {prefix: convs[0].shape[1] for prefix, convs in firsts.items() if convs}
    if len(trunks) < 2 or len({*trunks.values()}) > 1 or sum(map(len, firsts.values())) == len(trunks):
        return ""
    *most, last = (f"'{prefix}'" for prefix in trunks)
    return f"it has {len(trunks)} trunks, under {', '.join(most)} and {last}, so it is several networks in one"


def _no_chain(found: Fingerprint) -> str:
    convs = list(found.convs.elements())
    # Height and width come first there, and are equal; one convolution may be square by chance.
    if len(convs) > 1 and all(shape[0] == shape[1] != shape[3] for shape in convs):
        return "the convolutions are stored as (height, width, in, out), as TensorFlow and JAX do, which is not read"
    if len(convs) > MAX_CONVS:
        return f"{len(convs)} convolutions make a residual trunk, and the eight architectures have a plain one"
    shown = ", ".join(_text(shape) for shape in convs)
    # Three shapes fit a sentence.
    twice = f"{len(convs)} convolutions" if len(convs) > 3 else f"the convolutions {shown}"
    return f"{twice} do not follow one another, so there is more than one trunk or another layout"


def misfit(found: Fingerprint, fits: list[Fit], seen: Skeleton) -> str:
    """Return why nothing fits exactly: the thing that is there and should not be, else what the nearest one lacks."""
    if thing := _thing(seen):
        return thing
    if _transposed(found):
        return "the linear weights are stored as (in, out), as TensorFlow and JAX do, which is not read"
    if thing := _heads(seen) or _deep(seen):
        return thing
    if not fits:
        return "no linear layer takes the features of the trunk and leads to a head"
    fit = fits[0]
    name = nearest(fit)
    parts = []
    if fit.missing:
        parts.append("lacks " + _listed(fit.missing, lambda shape: _missing(shape, fit)))
    if fit.extra:
        parts.append("has no place for " + _listed(fit.extra, lambda shape: _extra(shape, fit, found.shapes)))
    return f"the nearest architecture, {name}, {' and '.join(parts)}"


def _thing(seen: Skeleton) -> str:
    """Return one sentence about what none of the eight has, "" where nothing stands out."""
    for kind, what in _STRANGE.items():
        if layer := next((layer for layer in seen.layers if layer.kind == kind), None):
            behind = " behind a convolution" if kind == "batch norm" and seen.convolutions else ""
            return f"it has {what}{behind} ({layer.name}), which no Atari DQN has"
    ensemble = next((proposal for proposal in q_network.recognise(seen)), None)
    if ensemble is not None:
        return f"{ensemble.sees}, and an Atari DQN has one, or value and advantage"
    return ""


def _heads(seen: Skeleton) -> str:
    """More heads than one, or two, or two that cannot be value and advantage."""
    rows = sorted(head.shape[0] for head in seen.heads)
    if len(rows) < 2 or not seen.named or any(layer.noisy for layer in seen.linear):
        return ""
    # As a value (1 or n_atoms rows) and its advantages (n_action times as many) are.
    if len(rows) == 2 and rows[0] < rows[1] and rows[1] % rows[0] == 0:
        return ""
    *most, last = map(str, rows)
    names = ", ".join(head.name for head in seen.heads[:3])
    return (
        f"it has {len(rows)} heads, of {', '.join(most)} and {last} rows ({names}), "
        "and an Atari DQN has one, or value and advantage"
    )


def _deep(seen: Skeleton) -> str:
    """A linear layer more than the two that lead from a trunk to its head."""
    if len(seen.heads) != 1 or any(layer.noisy for layer in seen.linear) or len(seen.linear) < 3:
        return ""
    head = seen.heads[0]
    between = [layer for layer in seen.linear if layer.shape[0] == head.shape[1] and layer is not head]
    if len(seen.linear) == 3 and between and len({layer.shape[1] for layer in between}) == len(between):
        return (
            f"it has a third linear layer ({between[-1].name}, {_text(between[-1].shape)}), "
            "and the eight architectures have two from the trunk to a head"
        )
    return ""


def nearest(fit: Fit) -> str:
    """Return the architecture that a fit is nearest to, atoms read off a value head of more than one row."""
    topology = fit.topology
    return architecture_name(
        dueling=topology.dueling,
        distributional=(topology.dueling and topology.heads[0] > 1) or fit.support is not None,
        noisy=topology.noisy,
    )


def _transposed(found: Fingerprint) -> bool:
    turned = {f"{i}": shape[::-1] if len(shape) == 2 else shape for i, shape in enumerate(found.counts.elements())}
    channels = found.chain[-1][0]
    flat = Fingerprint(turned)
    hidden = [shape for shape in flat.matrices if shape[1] % channels == 0 and shape[1] > shape[0]]
    biased = [(out, size) for out, size in hidden if (out,) in flat.counts and (size,) not in flat.counts]
    return any(size == out for out, _ in biased for _, size in flat.matrices)


def _listed(shapes: Counter[Shape], describe: Callable[[Shape], str]) -> str:
    """Name three shapes, each once, and say how many tensors there are more."""
    texts = [describe(shape) for shape in list(shapes)[:3]]
    more = sum(shapes.values()) - len(texts)
    return ", ".join(texts) + (f" and {more} more" if more else "")


def _missing(shape: Shape, fit: Fit) -> str:
    owner = next((layer for layer in fit.topology.layers if shape in (layer.shape, layer.shape[:1])), None)
    if owner is None:
        return f"a tensor {_text(shape)} of the convolutions"
    return f"{_part(shape, owner, fit)} {_text(shape)} of {_ROLES[owner.role]}"


def _part(shape: Shape, layer: Layer, fit: Fit) -> str:
    part = "a weight" if shape == layer.shape else "a bias"
    return f"{part} (mean or sigma)" if fit.topology.noisy else part


def _extra(shape: Shape, fit: Fit, shapes: Mapping[str, Shape]) -> str:
    names = [name for name, own in shapes.items() if own == shape]
    if fit.topology.required[shape] == 0:
        return f"{names[-1]} {_text(shape)}"
    return f"one of {', '.join(names[:4])} {_text(shape)}"


def _text(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
