"""From a reading of the shapes to a candidate: its config, where each field comes from, its placements."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from ckptfmt.families.answer import Candidate
from ckptfmt.families.atari_dqn import contradiction, trunk
from ckptfmt.families.atari_dqn.canonical import Assignment, Unplaced, placements
from ckptfmt.families.atari_dqn.config import UNSEEN, ModelConfig
from ckptfmt.families.atari_dqn.fingerprint import Shape
from ckptfmt.families.atari_dqn.heads import Reading
from ckptfmt.families.atari_dqn.layouts import Layout
from ckptfmt.families.atari_dqn.support import ends, find
from ckptfmt.families.atari_dqn.topology import Fit
from ckptfmt.families.evidence import Facts, Origin, Window, Wiring
from ckptfmt.families.names import leads
from ckptfmt.families.skeleton import Skeleton, Values

__all__ = ["Undecided", "build"]

_TRANSFORMS: dict[str, Literal["", "shared-hidden", "fused-hidden"]] = {
    "shared": "shared-hidden",
    "fused": "fused-hidden",
}


class Undecided(Exception):
    """Something that a claim needs cannot be told; the text says what, `options` what would decide."""

    def __init__(self, what: str, options: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.options = options


def build(
    fit: Fit, reading: Reading, assignment: Assignment | None, seen: Skeleton, layout: Layout | None
) -> Candidate:
    """Return the candidate of a sure reading; raise `Undecided` or `NoSupport` where it may not be claimed."""
    shapes, values, facts = seen.shapes, seen.values, seen.facts
    # A known code base, or whoever names the architecture, has said already that these are sigmas.
    if reading.noisy and assignment is not None and layout is None and facts.architecture is None:
        _check_sigmas(assignment)
    support = find(fit, shapes, values)
    fields, origin = _support(reading, support, values, facts)
    _trunk(fit, assignment, seen, layout, fields, origin)
    placed, dropped, reasons = _placed(fit, assignment, shapes, support, layout)
    fields |= {
        "n_action": reading.n_action,
        "dueling_dqn": reading.dueling,
        "distributional_dqn": reading.distributional,
        "noisy_networks": reading.noisy,
        "hidden_size": fit.topology.hidden,
    }
    origin |= dict.fromkeys(
        ("n_action", "dueling_dqn", "distributional_dqn", "noisy_networks", "hidden_size"), "inferred"
    )
    # Without the ends of its support C51 gives no Q-values; what else was told is told all the same.
    whole = not reading.distributional or None not in (fields["v_min"], fields["v_max"])
    notes = fields.pop("notes")
    return Candidate(
        name=reading.architecture,
        config=ModelConfig(**fields) if whole else None,
        origin=origin,
        placements=placed,
        dropped=dropped,
        reasons=(reading.reason, *reasons),
        against=notes,
        layout=layout.name if layout else "",
        transform=_TRANSFORMS.get(fit.topology.streams, ""),
    )


def _check_sigmas(found: Assignment) -> None:
    """Two sets of layers may be a network of means and one of sigmas."""
    if all(leads(group.weight_sigma) for group in found.roles.values()):
        raise Undecided(
            "its sigmas could be a stream of their own beside a stream of means, and not those of noisy layers",
            ("architecture",),
        )


def _support(
    reading: Reading, support: str, values: Values | None, facts: Facts
) -> tuple[dict[str, Any], dict[str, Origin]]:
    if not reading.distributional:
        return {}, {}
    fields: dict[str, Any] = {"n_atoms": reading.n_atoms, "v_min": facts.v_min, "v_max": facts.v_max}
    origin: dict[str, Origin] = {"n_atoms": "inferred", "v_min": facts.origin("v_min"), "v_max": facts.origin("v_max")}
    if support and values is not None:
        low, high = ends(support, values, known=facts.n_atoms is not None or _is_given(facts))
        if said := contradiction.ends(facts, low, high):
            raise Undecided(said)
        fields |= {"v_min": low, "v_max": high}
        origin |= {"v_min": "inferred", "v_max": "inferred"}
    return fields, origin


def _is_given(facts: Facts) -> bool:
    """Whether somebody says that the rows are atoms."""
    return "distributional" in (facts.architecture or "")


def _trunk(
    fit: Fit,
    assignment: Assignment | None,
    seen: Skeleton,
    layout: Layout | None,
    fields: dict[str, Any],
    origin: dict[str, Origin],
) -> None:
    shapes, facts, wiring = seen.shapes, seen.facts, seen.wiring
    convs = [shapes[group.weight] for group in assignment.convs] if assignment else list(fit.topology.convs)
    windows = _given_windows(convs, facts) or _windows(assignment, wiring)
    try:
        found = trunk.infer(
            convs,
            fit.topology.features,
            shape=facts.input_shape,
            padding=layout.padding if layout else None,
            settled=_settled(layout, facts),
            windows=windows,
            # No weight shows it; ReLU is what Mnih et al. 2015 have, and nearly all after them.
            activation=facts.encoder.activation if facts.encoder else wiring.activation or "relu",
        )
    except trunk.TrunkUnknown as e:
        # A screen settles which of the usual strides it was; where it is known already, only the strides themselves do.
        option = "encoder" if facts.input_shape and not windows else "input_shape"
        raise Undecided(f"the strides of the convolutions are not known: {e}", (option,)) from None
    if facts.encoder is not None:
        found = replace(found, encoder_origin=facts.origin("encoder"))
    # A module that tells its strides, and not what follows them, leaves part of the encoder to be assumed.
    elif windows and (not wiring.activation or wiring.activation_origin == "assumed"):
        found = replace(found, encoder_origin="assumed")
    scale, source = _scale(facts, layout)
    join, joined = _join(facts, layout)
    if fit.topology.dueling:
        origin["dueling_join"] = joined
    fields |= {
        "dueling_join": join,
        "encoder": found.encoder,
        "input_shape": found.input_shape,
        "input_scale": scale,
        "notes": _notes(found, scale, origin | {"input_scale": source}),
    }
    shape_origin = facts.origin("input_shape") if facts.input_shape else found.shape_origin
    origin |= {"encoder": found.encoder_origin, "input_shape": shape_origin, "input_scale": source}
    origin |= dict.fromkeys(UNSEEN, "assumed")


def _given_windows(convs: Sequence[Shape], facts: Facts) -> list[Window] | None:
    """Return what the user says of strides and paddings, held against the convolutions of the file."""
    if facts.encoder is None:
        return None
    said = [(conv.channels, *conv.kernel) for conv in facts.encoder.convs]
    if said != [(conv[0], *conv[2:]) for conv in convs]:
        raise Undecided("the encoder that is given has other convolutions than the file")
    # The strides that are told from shapes are one number each, and this is held against those.
    if any(len({*conv.stride}) > 1 or len({*conv.padding}) > 1 for conv in facts.encoder.convs):
        raise Undecided("the encoder that is given has a stride or padding that differs by direction")
    return [(conv.stride[0], conv.padding[0]) for conv in facts.encoder.convs]


def _windows(assignment: Assignment | None, wiring: Wiring) -> list[Window] | None:
    """Return what a whole module says of strides and paddings, None unless it does so of all convolutions."""
    found = [wiring.windows.get(group.weight) for group in assignment.convs] if assignment else []
    windows = [window for window in found if window is not None]
    return windows if windows and len(windows) == len(found) else None


def _notes(found: trunk.Trunk, scale: float, origin: Mapping[str, Origin]) -> tuple[str, ...]:
    """What is assumed because weights do not show it, one sentence each."""
    padded = any(conv.padding != (0, 0) for conv in found.encoder.convs)
    assumed = f"{'padding' if padded else 'no padding'} and {found.encoder.activation}"
    notes = (
        found.note if found.shape_origin == "assumed" else "",
        f"weights do not show padding and activation: {assumed} are assumed"
        if found.encoder_origin == "assumed"
        else "",
        f"weights do not show what the network divides its input by: {scale:g} is assumed"
        if origin["input_scale"] == "assumed"
        else "",
        "weights do not show how value and advantage are joined: V + A - mean A is assumed"
        if origin.get("dueling_join") == "assumed"
        else "",
    )
    return tuple(note for note in notes if note)


def _settled(layout: Layout | None, facts: Facts) -> bool:
    """Whether the file holds the config that one project alone writes, so that its code is known."""
    return layout is not None and layout.config and "architecture" in facts.declared


def _scale(facts: Facts, layout: Layout | None) -> tuple[float, Origin]:
    if facts.input_scale is not None:
        return facts.input_scale, facts.origin("input_scale")
    likely = layout.input_scale if layout is not None and layout.input_scale is not None else 1.0
    return likely, "inferred" if _settled(layout, facts) else "assumed"


def _join(facts: Facts, layout: Layout | None) -> tuple[str, Origin]:
    if facts.dueling_join is not None:
        return facts.dueling_join, facts.origin("dueling_join")
    return "mean", "inferred" if _settled(layout, facts) else "assumed"


def _placed(
    fit: Fit, assignment: Assignment | None, shapes: Mapping[str, Shape], support: str, layout: Layout | None
) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    if assignment is None:
        return (), (), ()
    try:
        placed, dropped = placements(fit, assignment, shapes, support, layout)
    except Unplaced as e:
        raise Undecided(str(e)) from None
    layers = f"{len(assignment.convs)} convolutions, {len(assignment.roles)} linear layers"
    known = (f"the names are those of {layout.name}",) if layout else ()
    return placed, dropped, (layers, *known)
