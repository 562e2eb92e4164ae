"""What a conversion would make of a legacy file: decided in full before a byte is written."""

import os
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Self, cast

from ckptfmt.convert.choose import choose
from ckptfmt.convert.companions import read_companions
from ckptfmt.convert.copies import copies_left
from ckptfmt.convert.declared import Declared, read_declared, storable
from ckptfmt.convert.games import actions_of
from ckptfmt.convert.placed import images_of, make_support, take, transform
from ckptfmt.convert.recognise import classify_network, merge
from ckptfmt.convert.scalers import Scaler, scalers_of, with_scalers
from ckptfmt.convert.stock import refuse_empty, take_stock
from ckptfmt.convert.texts import read_texts
from ckptfmt.convert.tidy import Tidied
from ckptfmt.errors import ConversionError, ManifestError, Problem, printable
from ckptfmt.families.answer import Candidate, Classification, Placement
from ckptfmt.families.atari_dqn.support import HasSupport
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.families.config import Config
from ckptfmt.families.encoder import Encoder
from ckptfmt.format.document import fields_of
from ckptfmt.format.manifest import Transform
from ckptfmt.legacy.bytes.storages import LegacyTensor
from ckptfmt.legacy.find.census import Leftover, same
from ckptfmt.legacy.find.find import Network, find_networks
from ckptfmt.legacy.find.turned import is_turned
from ckptfmt.legacy.open import LegacyFile
from ckptfmt.legacy.sharded import open_source

__all__ = ["Plan", "make_plan"]

# Facts that only a distributional network has.
_SUPPORT = ("n_atoms", "v_min", "v_max")


@dataclass(slots=True)
class Plan:
    """A legacy file, held open, and what becomes of it; use it as a context manager.

    `tensors` maps stored names to tensors of the file, `tied` further names to stored ones, `made` are those
    that follow from the config and stood nowhere in the file. `left` are other networks of the file, with what they
    are, `lost` all other tensors in it, which `dropped` names with whatever else was not kept. `tidied` is the plain
    network, where only that could be told. `candidate` and `config` are None where the network is of no family: its
    tensors keep their names then.
    """

    path: str
    legacy: LegacyFile
    network: Network
    left: Mapping[str, str]
    declared: Declared
    classification: Classification
    candidate: Candidate | None = None
    config: Config | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    tensors: dict[str, LegacyTensor] = field(default_factory=dict)
    tied: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    transformed: tuple[Transform, ...] = ()
    made: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    lost: tuple[Leftover, ...] = ()
    tidied: Tidied | None = None
    warnings: tuple[Problem, ...] = ()

    @property
    def assumed(self) -> tuple[str, ...]:
        """Return the fields of the config that nothing in the file or the call decides."""
        return tuple(sorted(name for name, origin in self.origin.items() if origin == "assumed"))

    @property
    def decisive(self) -> tuple[str, ...]:
        """Return the assumed fields on which answers of the network depend."""
        unseen = Blueprint.of(self.config).family.unseen if self.config else ()
        return tuple(name for name in self.assumed if name not in unseen)

    def close(self) -> None:
        """Close the legacy file."""
        self.legacy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def make_plan(
    source: str | os.PathLike[str],
    *,
    key: str | None = None,
    allow_unsafe: bool = False,
    given: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """Read a legacy file without running it, find its network and decide what each tensor becomes.

    `given` are facts that the file cannot say (fields of `Facts`; `architecture="none"` keeps the weights
    without a network), `settings` further fields of the network's config. Raises `SourceError` for a file that is
    damaged or no checkpoint, `UnsafeSource` for one that would run code, `ConversionError` where the answer
    needs a fact that is missing or where two facts contradict one another.
    """
    path = os.fspath(source)
    given, settings = dict(given or {}), dict(settings or {})
    if settings.get("encoder") is not None:
        given["encoder"] = _encoder(settings["encoder"], path)
    legacy = open_source(path, allow_unsafe=allow_unsafe)
    try:
        return _decide(path, legacy, key, given, settings)
    except BaseException:
        legacy.close()
        raise


def _encoder(said: Any, path: str) -> Encoder:
    try:
        return said if isinstance(said, Encoder) else Encoder.from_dict(said)
    except (ManifestError, TypeError) as e:
        plain = "encoder must be the name of a known encoder or its description"
        what = e.what if isinstance(e, ManifestError) else plain
        raise ConversionError(f"given config: {what}", where=path, code="convert.config") from None


def _decide(path: str, legacy: LegacyFile, key: str | None, given: dict[str, Any], settings: dict[str, Any]) -> Plan:
    found = find_networks(legacy.members) or refuse_empty(legacy, path)
    unknown = given.get("architecture") == "none"
    if key is None and not unknown and all(network.role == "optimizer" for network in found):
        raise ConversionError(
            "holds the state of an optimizer and no network",
            where=path,
            fix="give the file that the network was saved in, or keep this as it is: architecture=none",
            code="convert.no-tensors",
        )
    text, unheard = read_texts(legacy.texts, where=path)
    found_beside, unread = read_companions(path)
    unkept: list[str] = []
    companions = storable(found_beside, unkept)

    def declare(network: Network) -> Declared:
        return read_declared(network.facts, where=path, text=text, companions=companions)

    chosen = choose(found, {**given, "more": settings}, declare, key=key, where=path)
    network, answer = chosen.network, chosen.answer
    scalers = scalers_of(legacy.members, answer.chosen.config) if answer.chosen and answer.chosen.config else ()
    scalers = () if "normalizer" in settings or key is not None else scalers
    beside = [tensor for scaler in scalers for tensor in scaler.tensors.values()]
    remains = take_stock(legacy, network, found, beside)
    dropped = (*chosen.declared.dropped, *unkept, *network.others, *remains.dropped)
    plan = Plan(path, legacy, network, remains.left, chosen.declared, answer, dropped=dropped)
    plan.lost = remains.lost
    plan.tidied = chosen.tidied if chosen.is_told else None
    plan.warnings = (*legacy.warnings, *unheard, *unread, *remains.warnings(path))
    if answer.chosen and not answer.refusal:
        plan = _as_network(plan, answer.chosen, settings, scalers)
        plan.warnings += _unused(plan, given)
        return plan
    if not unknown:
        _refuse_what_can_be_told(plan, given)
        if key is None:
            remains.refuse_unread(path, network)
        plan.warnings += (Problem("convert.unknown", path, answer.refusal, "", "warning"),)
    return _as_found(plan)


def _refuse_what_can_be_told(plan: Plan, given: Mapping[str, Any]) -> None:
    """Raise where one more fact would decide, or where facts and weights contradict one another."""
    answer = plan.classification
    if "strides" in answer.refusal and is_turned(plan.network.tensors):
        sides = "its weights are those of JAX or TensorFlow, which may pad one side of a screen more than the other"
        answer = replace(answer, refusal=f"{answer.refusal}; {sides}")
    keep = "keep the weights without a network: architecture=none"
    if answer.options:
        give = ", ".join(f"{name}=" for name in answer.options)
        raise ConversionError(answer.refusal, where=plan.path, fix=f"give {give}, or {keep}", code="convert.ambiguous")
    facts = merge(plan.declared.facts, given).known()
    # Told by its weights alone, but not together with what was said: the two contradict one another.
    if facts and classify_network(plan.network, Declared(), {}).chosen:
        raise ConversionError(answer.refusal, where=plan.path, fix=keep, code="convert.contradiction")
    if given.get("architecture") or given.get("encoder"):
        raise ConversionError(answer.refusal, where=plan.path, fix=keep, code="convert.contradiction")


def _as_network(plan: Plan, candidate: Candidate, settings: dict[str, Any], scalers: Sequence[Scaler] = ()) -> Plan:
    if candidate.config is None:
        raise ConversionError(
            "the file shows which network it is, but not all of its config", where=plan.path, code="convert.unknown"
        )
    plan.candidate = candidate
    own, origin = with_scalers(candidate.config, candidate.origin, scalers)
    plan.config, plan.origin = _overlay(plan, own, origin, settings)
    first: dict[Hashable, Placement] = {}
    source, made = (plan.tidied.tensors, plan.tidied.made) if plan.tidied else (plan.network.tensors, frozenset())
    images = images_of(plan.network, plan.config, plan.path)
    for placement in candidate.placements:
        tensor = take(source[placement.source], placement, images)
        kept = first.setdefault(tensor.identity, placement)
        # One source tensor placed twice is a copy that the layout asks for; two that share memory are tied.
        if kept.source != placement.source and tensor.nbytes:
            plan.tied[placement.name] = kept.name
        else:
            plan.tensors[placement.name] = tensor
        if placement.source in made:
            plan.made += (placement.name,)
        elif (name := source[placement.source].source or placement.source) != placement.name:
            plan.renamed[name] = placement.name
    uses = Counter(placement.source for placement in candidate.placements)
    found = ((transform(p, source, images), uses[p.source] > 1) for p in candidate.placements if p.source not in made)
    plan.transformed = tuple(
        item for item, copied in found if copied or item.rows or item.squeezed or item.turned or item.image
    )
    for scaler in scalers:
        _take_scaler(plan, scaler)
    plan.left = {**plan.left, **copies_left(plan.network, candidate.copies)}
    parts = plan.tidied.dropped if plan.tidied else {}
    # Families made of blocks say of each why it is dropped; of an Atari DQN it can only be noise.
    left_out = (name if name.endswith(")") else f"{name} (noise, which is drawn anew)" for name in candidate.dropped)
    plan.dropped = (*left_out, *(f"{name} ({why})" for name, why in parts.items()), *plan.dropped)
    if getattr(plan.config, "n_atoms", None) is not None and "support" not in plan.tensors:
        plan.tensors["support"] = make_support(cast(HasSupport, plan.config))
        plan.made += ("support",)
    placed = {**plan.tensors, **{name: plan.tensors[stored] for name, stored in plan.tied.items()}}
    for sentence in Blueprint.of(plan.config).mismatches(placed):
        raise ConversionError(f"the tensors of the file do not fit the network: {sentence}", where=plan.path)
    plan.warnings += _contradicted(plan, plan.config)
    return plan


def _take_scaler(plan: Plan, scaler: Scaler) -> None:
    """Take running statistics that lie beside the network; what follows from them, or counts, is dropped."""
    for placement in scaler.placements():
        plan.tensors[placement.name] = take(scaler.tensors[placement.source], placement, {})
        plan.renamed[f"{scaler.path}/{placement.source}"] = placement.name
        if placement.squeeze:
            plan.transformed += (transform(placement, scaler.tensors, {}),)
    why = "what follows from running statistics, or counts for them"
    plan.dropped = (*(f"{scaler.path}/{name} ({why})" for name in scaler.found.extra), *plan.dropped)


def _contradicted(plan: Plan, config: Config) -> tuple[Problem, ...]:
    """Return a warning where the game that is named, or the settings, have another number of actions."""
    game = str(plan.declared.environment.get("id") or getattr(config, "game", "") or "")
    counts, n_action = actions_of(game), getattr(config, "n_action", None)
    said = plan.declared.settings.n_action
    found = []
    if n_action is not None and counts and n_action not in counts:
        message = f"names {printable(game)}, which has {counts[0]} actions; its network has {n_action}"
        found.append(Problem("convert.game", plan.path, message, "check which game it was trained on", "warning"))
    if n_action is not None and said not in (None, n_action):
        message = f"has settings that say it has {said} actions; its network has {n_action}"
        found.append(Problem("convert.settings", plan.path, message, "check whose settings they are", "warning"))
    return tuple(found)


def _unused(plan: Plan, given: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Return a warning where a support was given and the network has none."""
    named = [name for name in _SUPPORT if given.get(name) is not None]
    if not named or getattr(plan.config, "n_atoms", None) is not None:
        return ()
    message = f"has a network without atoms, which has no {' or '.join(named)}"
    fix = f"leave {', '.join(f'{name}=' for name in named)} out, or check which network was meant"
    return (Problem("convert.unused", plan.path, message, fix, "warning"),)


def _overlay(
    plan: Plan, config: Config, origin: dict[str, str], settings: dict[str, Any]
) -> tuple[Config, dict[str, str]]:
    """Add to what the weights say what the file and the user say of the training."""
    kind, declared = type(config), plan.declared.config
    spoken = {
        name: declared[name] for name in fields_of(kind) if name in declared and origin.get(name) in (None, "assumed")
    }
    # Trainers write the atoms of a support into every config, also of networks that have none.
    idle = _SUPPORT if getattr(config, "distributional_dqn", None) is False else ()
    spoken = {name: value for name, value in spoken.items() if value is not None and name not in idle}
    # In this order: what the user says overrules what the file says.
    for words, speaker in ((spoken, "declared"), (settings, "given")):
        try:
            config = kind.from_dict({**config.to_dict(), **words})
        except ManifestError as e:
            raise ConversionError(
                f"{speaker} config: {e.what}",
                where=plan.path,
                fix=_meant(words, fields_of(kind)),
                code="convert.config",
            ) from None
        origin |= dict.fromkeys(words, speaker)
    return config, dict(sorted(origin.items()))


def _meant(words: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """Return the field that may be meant by the first word that is none, as a mend."""
    odd = sorted(words.keys() - known.keys())
    near = get_close_matches(odd[0], known, 1) if odd else []
    return f"did you mean {near[0]}?" if near else ""


def _as_found(plan: Plan) -> Plan:
    first: dict[Hashable, str] = {}
    for name, tensor in plan.network.tensors.items():
        kept = first.setdefault(same(tensor), name)
        if kept != name:
            plan.tied[name] = kept
        else:
            plan.tensors[name] = tensor
    return plan
