"""What a policy gives, read from its heads: which distribution, and where a deviation comes from."""

from collections.abc import Sequence
from math import prod

from ckptfmt.errors import printable
from ckptfmt.families.draft import Draft, Unfit
from ckptfmt.families.evidence import Actions
from ckptfmt.families.names import words
from ckptfmt.families.network import DISTRIBUTIONS
from ckptfmt.families.outline import Chain, Unit
from ckptfmt.families.sides import ANY_OUTPUT, said_of
from ckptfmt.families.vocabulary import Meaning, meanings

__all__ = ["action_size", "drop_temperatures", "head_meaning", "read_policy", "usual_scale"]

_LOG = frozenset({"log", "logstd", "sigma"})
_TEMPERATURES = frozenset({"alpha", "ent", "entropy", "coef", "temperature", "temp"})
# Words of a vector that scales the action and is no deviation of it.
_SCALES = frozenset({"action", "scale"})
_LOGITS = frozenset({"logits", "logit", "categorical", "probs", "prob", "softmax"})
# What tells a kind of policy: the settings; no deviation; a word for a policy, which real actions may have as well.
_SAID = "the file says what its actions are"
_SILENT = "a policy over real actions would have saved a deviation"
_NAMED = " is named as the logits of a policy are"
# As many numbers as are looked at of one tensor; actions have some dozens.
_MOST_NUMBERS = 4096
_OF_CHOICES: frozenset[Meaning] = frozenset({"policy"})


def read_policy(
    draft: Draft, chain: Chain, *, shared: int = 0, critics: Sequence[Chain] = (), alone: bool = True
) -> str:
    """Read the policy at the end of a chain, whose first `shared` layers are the trunk's; return what tells its kind.

    `critics` are chains that value its actions; without any, a policy that is not `alone` has a state value beside it,
    and would have saved a deviation if its actions were real. Raises `Unfit` where nothing tells.
    """
    draft.body("policy_trunk", "policy", chain.units[shared:], chain.features, behind=chain.heads)
    if len(chain.heads) == 2:
        return _two(draft, chain)
    if len(chain.heads) > 1:
        raise Unfit(f"it has {len(chain.heads)} heads")
    head = chain.heads[0]
    if vector := _deviation(draft, chain):
        return _with_vector(draft, chain, head, vector)
    half = action_size(chain, critics)
    real = draft.seen.facts.actions in (None, "real")
    if half and 2 * half == head.outputs and real and draft.said("policy") in (None, "gaussian"):
        kind, why = "gaussian", "the critics take what it sees together with half of what it gives"
    else:
        kind, why = _kind(draft, chain, critics, alone)
        half = int(draft.said("action_dim") or 0)
    if kind == "gaussian" and half and head.outputs == 2 * half:
        draft.head("mean", head, (0, half))
        draft.head("deviation", head, (half, 2 * half))
        _gaussian(draft, half, "head", chain, log=True)
        return why
    rows = head.outputs
    if kind == "categorical":
        draft.infer(policy=kind, n_action=rows)
        draft.head("logits", head)
    elif kind == "multi-categorical":
        draft.infer(policy=kind, choices=tuple(draft.said("choices")))
        draft.head("logits", head)
    elif kind == "gaussian":
        draft.infer(policy=kind, action_dim=rows, deviation="none")
        draft.take(squash="none")
        draft.head("mean", head)
    else:
        draft.infer(policy="deterministic", action_dim=rows)
        draft.take(squash="tanh", action_scale=1.0)
        draft.head("action", head)
        _saved_scale(draft, rows)
    if draft.said("policy") is not None:
        draft.origin["policy"] = draft.seen.facts.origin("policy")
    elif why == _SAID:
        draft.origin["policy"] = "declared"
    elif why == _SILENT or why.endswith(_NAMED):
        # Likely and no more: nothing in the file says it, and a fixed deviation would be saved nowhere.
        draft.origin |= {"policy": "assumed", "n_action": "assumed"}
    return why


def action_size(chain: Chain, critics: Sequence[Chain]) -> int:
    """Return how many numbers of an action critics take behind what the policy sees, 0 where they take none.

    They are as many as the policy gives, or half as many where it gives a mean and a deviation in one.
    """
    rows = chain.heads[0].outputs
    sizes = (rows, rows // 2 if rows % 2 == 0 and len(chain.heads) == 1 else 0)
    return next((n for n in sizes if n and any(critic.inputs == chain.inputs + n for critic in critics)), 0)


def head_meaning(unit: Unit) -> frozenset[Meaning]:
    """Return what the last piece of a path that says something says."""
    for piece in reversed(unit.path):
        if told := said_of(piece) - {""}:
            # The mean of an actor is a mean.
            return told & {"mean", "deviation"} or told
    return frozenset()


def usual_scale(draft: Draft) -> float:
    """Return what policies mostly divide what they see by: frames by 255, features by nothing."""
    # Pixels are bytes: divided by 255 they lie in 0 to 1.
    return 255.0 if len(draft.fields["observation"]) == 3 else 1.0


def drop_temperatures(draft: Draft) -> None:
    """Leave out numbers that only training needs: the temperature of an entropy."""
    for unit in draft.outline.vectors:
        if all(size == 1 for size in unit.shape) and _TEMPERATURES & {*words(unit.name)}:
            draft.drop([*unit.sources], "a temperature of the training")


def _two(draft: Draft, chain: Chain) -> str:
    one, other = chain.heads
    if one.outputs != other.outputs:
        raise Unfit("its two heads have different numbers of rows")
    told = [head_meaning(head) for head in chain.heads]
    if any("epsilon" in name for name in draft.outline.noise) or any(_is_half(unit) for unit in chain.units):
        raise Unfit("its mean and its deviation are those of a noisy layer")
    if {"deviation"} in told and ({"mean"} in told or not any(kind & {"value", "q", "advantage"} for kind in told)):
        deviation = chain.heads[told.index(frozenset({"deviation"}))]
        mean = other if deviation is one else one
        draft.head("mean", mean)
        draft.head("deviation", deviation)
        _gaussian(draft, mean.outputs, "head", chain, log=bool(_LOG & {*words(deviation.name)}))
        return f"{deviation.name} is a deviation beside a mean"
    said = {word: head for head in chain.heads for word in ("alpha", "beta") if word in words("_".join(head.path))}
    if len(said) == 2:
        draft.infer(policy="beta", action_dim=one.outputs)
        for word, head in said.items():
            draft.head(word, head)
        draft.take(squash="none", action_scale=1.0)
        return f"{one.name} and {other.name} are the two numbers of a Beta distribution"
    raise Unfit("nothing tells what its two heads are")


def _is_half(unit: Unit) -> bool:
    """Whether a hidden layer is named as the means or the deviations of a noisy one."""
    return bool({"mu", "sigma"} & {*words(unit.path[-1])})


def _deviation(draft: Draft, chain: Chain) -> Unit | None:
    rows = chain.heads[0].outputs
    shapes = {(rows,), (1, rows), (rows, 1), (chain.features, rows)}
    for unit in draft.outline.vectors:
        if (
            unit.shape in shapes
            and not {*words(unit.path[-1])} >= _SCALES
            and any(meanings(words(piece)) & {"deviation"} for piece in unit.path)
        ):
            return unit
    return None


def _with_vector(draft: Draft, chain: Chain, head: Unit, vector: Unit) -> str:
    rows = head.outputs
    matrix = vector.shape == (chain.features, rows) and chain.features > 1
    draft.head("mean", head)
    draft.vector("deviation", vector, (chain.features, rows) if matrix else (rows,))
    said = {*words(vector.name)}
    _gaussian(draft, rows, "matrix" if matrix else "vector", chain, log=bool(_LOG & said))
    if draft.origin["deviation_is"] == "assumed" and not matrix and _is_below(draft, vector):
        # It is no plain deviation, and a logarithm most likely; what else a code base makes of one, no number says.
        draft.fields["deviation_is"] = "log"
    return f"{vector.name} is the deviation of a Gaussian"


def _is_below(draft: Draft, vector: Unit) -> bool:
    """Whether a vector has a number that no deviation is: nothing or less."""
    values = draft.seen.values(vector.name) if draft.seen.values and prod(vector.shape) <= _MOST_NUMBERS else None
    return any(number <= 0 for number in values or ())


def _gaussian(draft: Draft, size: int, deviation: str, chain: Chain, *, log: bool) -> None:
    draft.infer(policy="gaussian", action_dim=size, deviation=deviation)
    draft.take(deviation_is="log" if log else "plain")
    draft.take(
        squash="tanh" if deviation == "head" else "none",
        # As in the code of Haarnoja et al. 2018; a deviation that is one vector for all states needs no bounds.
        deviation_range=(-20.0, 2.0) if deviation == "head" else None,
        action_scale=1.0,
        mean_range=None,
    )
    if draft.fields["deviation_range"] is not None:
        draft.take(deviation_bound="clamp")
    _saved_scale(draft, size)


def _saved_scale(draft: Draft, size: int) -> None:
    """Tensors that scale and move the action, as long as it is."""
    found = {}
    for unit in draft.outline.vectors:
        said = {*words(unit.name)}
        for name, word in (("action_scale", "scale"), ("action_offset", "bias")):
            if "action" in said and word in said and unit.shape in ((size,), (1, size)):
                found[name] = unit
    if len(found) == 2:
        for name, unit in found.items():
            draft.vector(name, unit, (size,))
        draft.infer(saved_scale=True)


def _kind(draft: Draft, chain: Chain, critics: Sequence[Chain], alone: bool) -> tuple[str, str]:
    """Return what a single head without a deviation gives, and what says so."""
    head, said = chain.heads[0], draft.said("policy")
    if said is not None:
        if said not in DISTRIBUTIONS:
            raise Unfit(f"no policy of the kind {printable(said, 40)} is rebuilt here")
        return str(said), "it was said to be one"
    if (named := draft.seen.facts.architecture) and "/" in named:
        kind = named.partition("/")[2].partition("+")[0]
        if kind in ("categorical", "multi-categorical", "gaussian", "deterministic"):
            return kind, "architecture= says so"
    if draft.said("choices") is not None and sum(draft.said("choices")) == head.outputs:
        return "multi-categorical", "the file says how many choices there are"
    actions, told = draft.seen.facts.actions, head_meaning(head)
    if any(critic.inputs > chain.inputs for critic in critics) and actions not in (None, "real"):
        raise Unfit("the file says that its actions are discrete, and its critics take them beside what it sees")
    if any(critic.inputs == chain.inputs + head.outputs for critic in critics):
        return "deterministic", "the critics take what it sees together with what it gives"
    if critics and actions != "real" and all(critic.heads[0].outputs == head.outputs for critic in critics):
        return "categorical", "the critics value as many actions as it has"
    if actions is not None and not (actions == "real" and told == {"mean"}):
        return _declared_kind(draft, head, actions, alone=alone), _SAID
    if draft.said("n_action") == head.outputs and draft.seen.facts.origin("n_action") == "given":
        return "categorical", "its number of outputs is the known number of actions"
    if told == {"mean"}:
        return "deterministic" if alone else "gaussian", f"{head.name} is a mean without a deviation"
    if logits := next((piece for piece in head.path if piece != ANY_OUTPUT and _LOGITS & {*words(piece)}), ""):
        return "categorical", f"'{logits}' is a name of logits"
    if not alone:
        if _is_open(chain):
            raise Unfit("whether its actions are discrete or real cannot be told", "policy")
        return "categorical", _SILENT
    if told & _OF_CHOICES:
        if draft.copies or draft.seen.copied:
            # Only agents of real actions keep one, but for some that take the likeliest of discrete ones as real.
            raise Unfit(f"{head.name} is of a policy with a target copy: is it deterministic?", "policy")
        return "categorical", f"{head.name}{_NAMED}"
    raise Unfit(f"nothing tells what the {head.outputs} numbers of {head.name} are")


def _declared_kind(draft: Draft, head: Unit, actions: Actions, *, alone: bool) -> str:
    """Return what a head gives of actions of a kind that the file says."""
    rows, size = head.outputs, draft.said("action_dim")
    if actions == "discrete":
        return "categorical"
    if actions == "choices":
        raise Unfit(f"how its {rows} rows are parted into choices is not said", "choices")
    if actions == "switches":
        raise Unfit("its actions are several times yes or no, which is not rebuilt here")
    if size is None and rows % 2 == 0:
        raise Unfit(f"whether half of the {rows} rows of {head.name} are deviations cannot be told", "action_dim")
    if size not in (None, rows, rows / 2):
        raise Unfit(f"{head.name} has {rows} rows, and an action is {size} numbers")
    if size is not None and rows == 2 * size:
        return "gaussian"
    if alone:
        raise Unfit(f"whether {head.name} gives an action or the mean of one cannot be told", "policy")
    return "gaussian"


def _is_open(chain: Chain) -> bool:
    """One row of layers on features is saved without a deviation for actions of both kinds (PPO-PyTorch)."""
    places = {unit.path[:-1] for unit in (*chain.units, *chain.heads)}
    numbered = all(unit.path[-1].isdigit() for unit in (*chain.units, *chain.heads))
    return not chain.is_pixels and len(places) == 1 and numbered
