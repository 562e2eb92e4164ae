"""From a reading of the shapes to a candidate: its config, where each field comes from, its placements."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from ckptfmt.families.atari_dqn import contradiction, trunk
from ckptfmt.families.atari_dqn.answer import Candidate, Facts, Origin, Window, Wiring
from ckptfmt.families.atari_dqn.canonical import Assignment, Unplaced, placements
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.atari_dqn.fingerprint import Shape
from ckptfmt.families.atari_dqn.heads import Reading
from ckptfmt.families.atari_dqn.layouts import Layout
from ckptfmt.families.atari_dqn.support import Values, ends, find
from ckptfmt.families.atari_dqn.topology import Fit
from ckptfmt.families.names import kin, leads

__all__ = ["Undecided", "build"]

_TRANSFORMS: dict[str, Literal["", "shared-hidden", "fused-hidden"]] = {
    "shared": "shared-hidden",
    "fused": "fused-hidden",
}
# Training flags leave no trace in weights.
_UNSEEN = ("double_dqn", "prioritized_replay", "n_step_learning", "n_steps", "noisy_std_init")


class Undecided(Exception):
    """Something that a claim needs cannot be told; the text says what, `options` what would decide."""

    def __init__(self, what: str, options: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.options = options


def build(
    fit: Fit,
    reading: Reading,
    assignment: Assignment | None,
    shapes: Mapping[str, Shape],
    values: Values | None,
    facts: Facts,
    layout: Layout | None,
    wiring: Wiring,
) -> Candidate:
    """Return the candidate of a sure reading; raise `Undecided` or `NoSupport` where it may not be claimed."""
    if assignment is not None and layout is None and facts.architecture is None:
        _check_streams(reading, assignment)
    if fit.topology.streams == "shared":
        _check_shared(assignment, facts, layout)
    support = find(fit, shapes, values)
    fields, origin = _support(reading, support, values, facts)
    _trunk(fit, assignment, shapes, facts, layout, wiring, fields, origin)
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


def _check_streams(reading: Reading, found: Assignment) -> None:
    """Two streams may be those of an actor and a critic, two sets of layers a network of means and one of sigmas."""
    if reading.dueling and not reading.distributional and "advantage_hidden" in found.roles:
        value, advantage = (
            kin((*found.roles[f"{side}_hidden"].stem, *found.roles[f"{side}_head"].stem))
            for side in ("value", "advantage")
        )
        own = sorted(word for word in advantage - value if not word.isdigit())
        told = "advantage" in own or ("q" in own and "value" in value)
        if own and not told:
            raise Undecided(
                "two streams, one of which ends in a single row, are the shapes of a dueling network and of an "
                f"actor-critic, and '{own[0]}' is no name of an advantage",
                ("architecture",),
            )
    if reading.noisy and all(leads(group.weight_sigma) for group in found.roles.values()):
        raise Undecided(
            "its sigmas could be a stream of their own beside a stream of means, and not those of noisy layers",
            ("architecture",),
        )


def _check_shared(assignment: Assignment | None, facts: Facts, layout: Layout | None) -> None:
    """One hidden layer with two heads is an actor-critic's shape as well: the names must say dueling."""
    if facts.architecture is not None or (layout is not None and layout.shared_hidden):
        return
    if assignment is not None:
        value, advantage = (assignment.roles[role].stem for role in ("value_head", "advantage_head"))
        if any(word.startswith("adv") for word in advantage) and not any(word.startswith("adv") for word in value):
            return
    raise Undecided(
        "one hidden layer with two heads is the shape of a dueling network and of an actor-critic, "
        "and the names do not tell which",
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
        low, high = ends(support, values)
        if said := contradiction.ends(facts, low, high):
            raise Undecided(said)
        fields |= {"v_min": low, "v_max": high}
        origin |= {"v_min": "inferred", "v_max": "inferred"}
    return fields, origin


def _trunk(
    fit: Fit,
    assignment: Assignment | None,
    shapes: Mapping[str, Shape],
    facts: Facts,
    layout: Layout | None,
    wiring: Wiring,
    fields: dict[str, Any],
    origin: dict[str, Origin],
) -> None:
    convs = [shapes[group.weight] for group in assignment.convs] if assignment else list(fit.topology.convs)
    windows = _given_windows(convs, facts) or _windows(assignment, wiring)
    try:
        found = trunk.infer(
            convs,
            fit.topology.features,
            shape=facts.input_shape,
            padding=layout.padding if layout else None,
            windows=windows,
            activation=facts.encoder.activation if facts.encoder else wiring.activation or "relu",
        )
    except trunk.TrunkUnknown as e:
        option = "encoder" if facts.input_shape and not windows else "input_shape"
        raise Undecided(f"the strides of the trunk cannot be told: {e}", (option,)) from None
    if facts.encoder is not None:
        found = replace(found, encoder_origin=facts.origin("encoder"))
    elif windows and not wiring.activation:
        found = replace(found, encoder_origin="assumed")
    scale, source = _scale(facts, layout)
    fields |= {
        "encoder": found.encoder,
        "input_shape": found.input_shape,
        "input_scale": scale,
        "notes": _notes(found, source),
    }
    shape_origin = facts.origin("input_shape") if facts.input_shape else found.shape_origin
    origin |= {"encoder": found.encoder_origin, "input_shape": shape_origin, "input_scale": source}
    origin |= dict.fromkeys(_UNSEEN, "assumed")


def _given_windows(convs: Sequence[Shape], facts: Facts) -> list[Window] | None:
    """Return what the user says of strides and paddings, held against the convolutions of the file."""
    if facts.encoder is None:
        return None
    said = [(conv.channels, *conv.kernel) for conv in facts.encoder.convs]
    if said != [(conv[0], *conv[2:]) for conv in convs]:
        raise Undecided("the encoder that is given has other convolutions than the file")
    if any(len({*conv.stride}) > 1 or len({*conv.padding}) > 1 for conv in facts.encoder.convs):
        raise Undecided("the encoder that is given has a stride or padding that differs by direction")
    return [(conv.stride[0], conv.padding[0]) for conv in facts.encoder.convs]


def _windows(assignment: Assignment | None, wiring: Wiring) -> list[Window] | None:
    """Return what a whole module says of strides and paddings, None unless it does so of all convolutions."""
    found = [wiring.windows.get(group.weight) for group in assignment.convs] if assignment else []
    windows = [window for window in found if window is not None]
    return windows if windows and len(windows) == len(found) else None


def _notes(found: trunk.Trunk, scale: Origin) -> tuple[str, ...]:
    """What is assumed because weights do not show it, one sentence each."""
    padded = any(conv.padding != (0, 0) for conv in found.encoder.convs)
    assumed = f"{'padding' if padded else 'no padding'} and {found.encoder.activation}"
    notes = (
        found.note if found.shape_origin == "assumed" else "",
        f"weights do not show padding and activation: {assumed} are assumed"
        if found.encoder_origin == "assumed"
        else "",
        "weights do not show what the network divides its input by: 1 is assumed" if scale == "assumed" else "",
    )
    return tuple(note for note in notes if note)


def _scale(facts: Facts, layout: Layout | None) -> tuple[float, Origin]:
    if facts.input_scale is not None:
        return facts.input_scale, facts.origin("input_scale")
    if layout is not None and layout.input_scale is not None:
        return layout.input_scale, "inferred"
    return 1.0, "assumed"


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
