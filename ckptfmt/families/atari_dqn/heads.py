"""What the rows of the output layers mean: actions, atoms, or something shapes do not tell."""

from collections.abc import Iterator

from ckptfmt.families.atari_dqn.config import architecture_name
from ckptfmt.families.atari_dqn.layouts import Layout
from ckptfmt.families.atari_dqn.topology import Fit
from ckptfmt.families.evidence import Facts
from ckptfmt.format.record import record

__all__ = ["ALE_ACTIONS", "Reading", "readings"]

# The full action set of the Arcade Learning Environment.
ALE_ACTIONS = 18
# Atom counts in use: Bellemare et al. 2017 (51, 21), their small-support runs (101), QR-DQN's quantiles (200).
_USUAL_ATOMS = (51, 21, 101, 200)
# Dabney et al. 2018.
_QUANTILES = 200
_MANY = (
    "{} rows beside one are more than the actions of an Atari game, and could be actions times atoms in the advantage "
    "stream alone"
)
# Fewer atoms than this describe no distribution; a number of actions that leaves so few is a contradiction.
_FEWEST_ATOMS = 5


@record
class Reading:
    """One meaning of the heads' rows; `doubt` says why it is not claimed, `options` what would decide."""

    dueling: bool
    distributional: bool
    noisy: bool
    n_action: int
    n_atoms: int | None = None
    reason: str = ""
    doubt: str = ""
    options: tuple[str, ...] = ()

    @property
    def architecture(self) -> str:
        """Which of the eight architectures this reading makes of the network."""
        return architecture_name(dueling=self.dueling, distributional=self.distributional, noisy=self.noisy)


def readings(fit: Fit, facts: Facts, layout: Layout | None) -> list[Reading]:
    """Return the meanings that the rows can have, the likeliest first; a sure one alone."""
    found = list(_dueling(fit, facts, layout) if fit.topology.dueling else _single(fit, facts, layout))
    named = [reading for reading in found if reading.architecture == facts.architecture]
    sure = [reading for reading in named or found if not reading.doubt]
    return sure if len(sure) == 1 else named or found


def _dueling(fit: Fit, facts: Facts, layout: Layout | None) -> Iterator[Reading]:
    value, advantage = fit.topology.heads
    noisy, n_action = fit.topology.noisy, advantage // value
    if value == 1:
        reason = f"a value head of 1 row beside one of {advantage}"
        doubt = "" if n_action == facts.n_action or _few(n_action, layout) else _MANY.format(n_action)
        yield Reading(True, False, noisy, n_action, None, reason, doubt, ("n_action",) if doubt else ())
        return
    reason = f"a value head of {value} rows beside one of {advantage} = {n_action} × {value}"
    doubt, options = ("", ()) if fit.support else _support_doubt(value, facts)
    yield Reading(True, True, noisy, n_action, value, reason, doubt, options)


def _support_doubt(n_atoms: int, facts: Facts) -> tuple[str, tuple[str, ...]]:
    ends = (("v_min", facts.v_min), ("v_max", facts.v_max))
    if options := tuple(option for option, value in ends if value is None):
        return (
            "without a support, v_min and v_max it may as well be a quantile network (QR-DQN)",
            options,
        )
    quantiles = facts.field("n_quantiles")
    if quantiles == n_atoms and facts.n_atoms is None and facts.architecture is None:
        return f"settings say that n_quantiles is {quantiles}, and there is no support", ("architecture",)
    if n_atoms == _QUANTILES and facts.architecture is None:
        return f"{n_atoms} is the usual number of quantiles of QR-DQN, and there is no support", ("architecture",)
    return "", ()


def _single(fit: Fit, facts: Facts, layout: Layout | None) -> Iterator[Reading]:
    rows, noisy = fit.topology.heads[0], fit.topology.noisy
    if fit.support:
        atoms = max(fit.support)
        reason = f"a head of {rows} rows = {rows // atoms} × {atoms}, and a support of {atoms} atoms"
        yield Reading(False, True, noisy, rows // atoms, atoms, reason, _one_action(rows // atoms, facts))
        return
    plain = _plain(rows, noisy, facts, layout)
    split = [_split(rows, pair, noisy, facts) for pair in _splits(rows, facts)]
    yield from sorted([plain, *split], key=lambda reading: bool(reading.doubt))


def _few(rows: int, layout: Layout | None) -> bool:
    """Whether so many rows are actions: those of a game, or of a layout that would save a support beside atoms."""
    # 51 rows are one action of 51 atoms, and 21 or 42 are one or two of 21: the fewest that usual atoms make.
    told = layout is not None and layout.always_support and rows < 51 and rows % 21
    return rows <= ALE_ACTIONS or bool(told)


def _one_action(n_action: int, facts: Facts) -> str:
    if n_action > 1 or facts.n_action == 1:
        return ""
    return "its head has a single output, as the head of a critic has"


def _plain(rows: int, noisy: bool, facts: Facts, layout: Layout | None) -> Reading:
    reading = Reading(False, False, noisy, rows, reason=f"a head of {rows} rows")
    if (facts.n_action == rows and facts.n_atoms is None) or facts.architecture == reading.architecture:
        return reading
    if doubt := _one_action(rows, facts):
        return Reading(False, False, noisy, rows, None, reading.reason, doubt, ("n_action",))
    split = facts.n_atoms is not None and rows % facts.n_atoms == 0
    few = _few(rows, layout)
    if not split and facts.n_action in (None, rows) and few:
        return reading
    doubt = f"{rows} rows are more than the {ALE_ACTIONS} actions of an Atari game"
    if few:
        doubt = f"its head of {rows} rows would be {rows} actions"
    return Reading(False, False, noisy, rows, None, reading.reason, doubt, ("n_action",))


def _splits(rows: int, facts: Facts) -> list[tuple[int, int]]:
    """Return (actions, atoms) whose product is `rows`: those the facts allow, else the usual ones."""
    if facts.n_action == rows and facts.n_atoms is None:
        return []
    if facts.n_action is not None and facts.n_atoms is not None:
        return [(facts.n_action, facts.n_atoms)] if facts.n_action * facts.n_atoms == rows else []
    if facts.n_action is not None:
        atoms, left = divmod(rows, facts.n_action)
        return [(facts.n_action, atoms)] if not left and atoms >= _FEWEST_ATOMS else []
    if facts.n_atoms is not None:
        return [(rows // facts.n_atoms, facts.n_atoms)] if rows % facts.n_atoms == 0 else []
    return [(rows // atoms, atoms) for atoms in _USUAL_ATOMS if rows % atoms == 0 and 2 <= rows // atoms <= ALE_ACTIONS]


def _split(rows: int, pair: tuple[int, int], noisy: bool, facts: Facts) -> Reading:
    n_action, n_atoms = pair
    reason = f"a head of {rows} rows, which could be {n_action} actions × {n_atoms} atoms"
    doubt, options = _support_doubt(n_atoms, facts)
    if facts.n_action is None and facts.n_atoms is None:
        doubt, options = (
            doubt or f"{rows} rows can be split into actions and atoms in other ways",
            ("n_action", "n_atoms", *options),
        )
    return Reading(False, True, noisy, n_action, n_atoms, reason, doubt or _one_action(n_action, facts), options)
