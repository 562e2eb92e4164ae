"""What a legacy file says of its own network, beside the weights: its config, its training, its settings."""

import os
from collections.abc import Mapping
from dataclasses import field, fields, replace
from typing import Any

from ckptfmt.convert.settings import agents_of, environment_of, facts_of, merged
from ckptfmt.convert.texts import Text
from ckptfmt.errors import ManifestError, UnsupportedVersion, printable
from ckptfmt.families.atari_dqn.config import ModelConfig, architecture_name
from ckptfmt.families.evidence import Facts, Wiring
from ckptfmt.families.facts import known
from ckptfmt.format.freeform import encode_free
from ckptfmt.format.jsontext import render
from ckptfmt.format.record import record
from ckptfmt.legacy.pickle.inert import Opaque

__all__ = ["Declared", "read_declared", "storable"]

# What the reference project wrote into every file; no other version of its dict is known.
_READABLE = "2.0"
_FLAGS = {"dueling": "dueling_dqn", "distributional": "distributional_dqn", "noisy": "noisy_networks"}
_FIELDS = frozenset(field.name for field in fields(ModelConfig))
# Beyond it no settings nest; a manifest follows 64 levels, and what is around them takes some.
_MAX_DEPTH = 24
# What of a manifest the words of a source may take; its limit is four times as much.
_MOST_BYTES = 4 << 20
# Lines for what is dropped, and the characters of a path in one.
_MOST_DROPPED, _SHOWN = 10_000, 120


@record
class Declared:
    """A file's own words: `config` holds fields of `ModelConfig`, `facts` those that weights can contradict.

    `settings` are further facts, found among training settings: they answer questions that the weights leave
    open but contradict nothing, since settings often name what a network does not use. `dropped` names, with
    their paths, the objects that JSON cannot hold. `file` is the file's own name, `wiring` what a text says of layers.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Facts = field(default_factory=Facts)
    settings: Facts = field(default_factory=Facts)
    training_info: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    agent: tuple[str, ...] = ()
    wiring: Wiring = field(default_factory=Wiring)
    dropped: tuple[str, ...] = ()
    file: str = ""


def read_declared(
    facts: Mapping[str, Any], *, where: str, text: Text | None = None, companions: Mapping[str, Any] | None = None
) -> Declared:
    """Sort what lay beside a network, what the archive says in a text, and settings of files beside it (plain data).

    Raises `UnsupportedVersion` for a version of the reference project's dict that is not known, and
    `ManifestError` for a config whose values cannot be.
    """
    dropped: list[str] = []
    plain = storable(facts, dropped)
    own = _popped(plain, "model_config")
    if own:
        _check_version(plain.pop("version", None), where)
    fields_of_ours = {name: value for name, value in own.items() if name in _FIELDS}
    strange = {name: value for name, value in own.items() if name not in _FIELDS}
    info = _popped(plain, "training_info")
    beside = companions or {}
    settings = {name: word for item in beside.values() for name, word in merged(item).items()} | merged(plain)
    text = text or Text()
    return Declared(
        config=fields_of_ours,
        facts=_with_text(_facts_of(fields_of_ours), text),
        settings=facts_of(settings),
        training_info={**beside, **text.training_info, **plain, **info},
        environment={**text.environment, **environment_of(settings)},
        extra={"model_config": strange} if strange else {},
        agent=(*agents_of({**strange, **settings, **plain}), *text.agent),
        wiring=text.wiring,
        dropped=tuple(dropped),
        file=os.path.basename(where),
    )


def _with_text(facts: Facts, text: Text) -> Facts:
    more = {name: value for name, value in text.facts.items() if name not in facts.known()}
    told = frozenset(more) | frozenset(text.more)
    return replace(facts, **more, more=text.more, declared=facts.declared | told)


def _popped(plain: dict[str, Any], name: str) -> dict[str, Any]:
    """Take a mapping out of what lay beside a network; what is called so and is none stays among the rest."""
    found: dict[str, Any] = plain.pop(name) if isinstance(plain.get(name), dict) else {}
    return found


def _check_version(version: Any, where: str) -> None:
    if version not in (None, _READABLE):
        raise UnsupportedVersion(
            f"its version is '{printable(version, 40)}', this ckpt reads {_READABLE} of this kind of file",
            where=where,
            fix="install a newer ckptfmt",
            code="source.version",
        )


def _facts_of(config: Mapping[str, Any]) -> Facts:
    found = known(config)
    flags = {word: config.get(name) for word, name in _FLAGS.items()}
    if all(isinstance(flag, bool) for flag in flags.values()):
        found["architecture"] = architecture_name(**{word: bool(flag) for word, flag in flags.items()})
        # Trainers write the atoms of a support into every config, also of networks that have none.
        if not flags["distributional"]:
            found = {name: value for name, value in found.items() if name not in ("n_atoms", "v_min", "v_max")}
    if isinstance(found.get("input_shape"), list):
        found["input_shape"] = tuple(found["input_shape"])
    return Facts(**found, declared=frozenset(found))


_GONE = object()


def storable(facts: Mapping[str, Any], dropped: list[str]) -> dict[str, Any]:
    """Return what of the facts a manifest can hold, as plain data: what JSON cannot and what is too much is dropped."""
    kept: dict[str, Any] = {}
    room = _MOST_BYTES
    for name, item in facts.items():
        plain = _plain(item, (path := str(name),), dropped)
        if plain is _GONE:
            continue
        try:
            # As large as it will stand in the manifest, indents and escapes among it.
            size = len(render(encode_free({path: plain}, where=path)).encode())
        except ManifestError:
            _gone(item, (path,), dropped)
            continue
        if size > room:
            _drop((path,), f"{size:,} bytes", dropped)
            continue
        kept[path] = plain
        room -= size
    return kept


def _plain(item: Any, path: tuple[Any, ...], dropped: list[str]) -> Any:
    """Return an object as plain data, an inert instance as its attributes; what is neither is noted in `dropped`."""
    if isinstance(item, Opaque) and isinstance(item.state, dict) and not item.items and not item.pairs:
        item = {"class": item.name, **item.state}
    if len(path) > _MAX_DEPTH + 1 or not isinstance(item, None | bool | int | float | str | dict | list | tuple):
        return _gone(item, path, dropped)
    if isinstance(item, dict):
        pairs = ((name, _plain(entry, (*path, name), dropped)) for name, entry in item.items())
        return {name: entry for name, entry in pairs if entry is not _GONE}
    if isinstance(item, list | tuple):
        entries = [_plain(entry, (*path, i), dropped) for i, entry in enumerate(item)]
        return [entry for entry in entries if entry is not _GONE]
    return item


def _gone(item: Any, path: tuple[Any, ...], dropped: list[str]) -> Any:
    kind = item.name if isinstance(item, Opaque) else type(item).__name__
    _drop(path, printable(kind, 80), dropped)
    return _GONE


def _drop(path: tuple[Any, ...], why: str, dropped: list[str]) -> None:
    """Note that something is dropped; of what nobody would read to its end, that there is more."""
    if len(dropped) < _MOST_DROPPED:
        dropped.append(f"{printable('/'.join(str(part)[:_SHOWN] for part in path), _SHOWN)} ({why})")
    elif len(dropped) == _MOST_DROPPED:
        dropped.append("and more beside the network")
