"""Measure by playing what neither weights nor names of a network say: the value with which its agent plays best.

Every combination of the values that are open plays the same episodes, by their seeds, and so does chance: with one of
them wrong, no value of another need play well. A combination is given up once the best one is better than it by a
paired t-test, and the best must be better than chance: an agent that learned nothing settles nothing. A field has its
value where all combinations that are left agree on it. The level of the test is shared out over all comparisons and
all looks, so that looking early costs nothing.
"""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from torch import nn

from ckptfmt.families.alternatives import variants
from ckptfmt.format.manifest import Manifest
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.play import play_episodes
from ckptfmt.rl.player import Player, open_player, require_same_network
from ckptfmt.rl.protocol import Protocol
from ckptfmt.rl.settlement import MOST, Candidate, Measured, Settlement, fields_to_measure, plain
from ckptfmt.store.write import require_update, update_manifest

__all__ = ["settle"]

# Stricter than the usual 0.05: what is written down as measured is not looked at again.
_LEVEL = 0.01
# A t-test of two episodes has one degree of freedom, and calls next to no difference significant.
_FEWEST = 3


def settle(
    path: str | os.PathLike[str],
    *,
    game: str | None = None,
    episodes: int = 20,
    seed: int = 0,
    fields: Iterable[str] | None = None,
    max_steps: int | None = None,
    device: str = "cpu",
    trust: bool = False,
    dry_run: bool = False,
) -> Settlement:
    """Play a checkpoint with what its assumed fields may be, and write down the values that play best.

    Each combination plays at most `episodes` episodes, from `seed` on; `fields` are the only ones measured. What
    nothing separates stays as it was. The manifest says `measured` of a field and keeps returns and test under
    `extra.settled`. Raises `CkptError` where no environment is known, or a field was not assumed or changes no action.
    """
    with open_player(path, game=game, device=device, protocol=_protocol(max_steps), trust=trust, raw=True) as player:
        names, left = fields_to_measure(player.manifest, player.config, fields, os.fspath(path))
        if names and not dry_run:
            require_update(path)
        measured = _measure(player, names, episodes, seed) if names else ()
        environment, played = player.environment.to_dict(), player.manifest
    settled = [item for item in measured if item.chosen is not None]
    whole = Settlement(os.fspath(path), environment, seed, measured, bool(settled) and not dry_run, left)
    if whole.written:
        update_manifest(path, lambda manifest: _with(manifest, played, whole, settled))
    return whole


def _protocol(max_steps: int | None) -> Protocol:
    return Protocol(epsilon=0.0, max_steps=max_steps)


def _measure(player: Player, names: Sequence[str], episodes: int, seed: int) -> tuple[Measured, ...]:
    configs = list(islice(variants(player.config, names, by_playing=True), MOST))
    race = _Race(player, configs, seed)
    while race.played < episodes and not race.is_over:
        race.play()
    left, p = race.survivors()
    return tuple(_told(race, configs, name, left, p) for name in names)


def _told(race: "_Race", configs: Sequence[Any], name: str, left: Sequence[int], p: float | None) -> Measured:
    """Return what a race says of one field: of each value the best combination that has it, and the common one."""
    own = [getattr(config, name) for config in configs]
    found = []
    for value in dict.fromkeys(own):
        rows = [race.returns[i] for i, item in enumerate(own) if item == value]
        # Those that played longest were given up last.
        best = max(rows, key=lambda row: (len(row), math.fsum(row)))
        found.append(Candidate(value, tuple(best)))
    agreed = {own[i] for i in left}
    chosen = agreed.pop() if len(agreed) == 1 else None
    return Measured(name, own[0], tuple(found), tuple(race.chance), chosen, None if chosen is None else p)


class _Race:
    """Combinations on the same episodes; those that are behind for sure play no further ones."""

    def __init__(self, player: Player, configs: Sequence[Any], seed: int) -> None:
        self._player, self._seed = player, seed
        state = player.model.state_dict()
        device = next(player.model.parameters()).device
        self._models = [_rebuilt(config, state, device) for config in configs]
        self.returns: list[list[float]] = [[] for _ in configs]
        self.chance: list[float] = []
        self.played = 0
        self._left = list(range(len(configs)))
        self._decisive: dict[int, float] = {}

    @property
    def is_over(self) -> bool:
        """Whether one is left, or those that are cannot be told apart: they did the same in every episode."""
        alike = len({tuple(self.returns[i]) for i in self._left}) == 1
        beaten = self.played >= _FEWEST and _behind(self.chance, self.returns[self._best()]) < self._level()
        return beaten and (len(self._left) == 1 or alike)

    def play(self) -> None:
        """Play one more episode with each that is left, and give up those that are behind."""
        for i in self._left:
            self.returns[i].append(self._episode(self._models[i], 0.0))
        # With epsilon 1 it does not matter whose network it is.
        self.chance.append(self._episode(self._models[0], 1.0))
        self.played += 1
        if self.played < _FEWEST:
            return
        best = self._best()
        for i in [i for i in self._left if i != best]:
            p = _behind(self.returns[i], self.returns[best])
            if p < self._level():
                self._decisive[i] = p
                self._left.remove(i)

    def survivors(self) -> tuple[list[int], float | None]:
        """Return those that none is better than, and the largest p; none where they are not better than chance."""
        while self.played < _FEWEST:
            self.play()
        best = self._best()
        p = _behind(self.chance, self.returns[best])
        if p >= self._level():
            return [], None
        return self._left, max([p, *self._decisive.values()])

    def _best(self) -> int:
        return max(self._left, key=lambda i: sum(self.returns[i]))

    def _level(self) -> float:
        # The sum over all looks n of 1 / (n · (n + 1)) is 1.
        return _LEVEL / len(self.returns) / (self.played * (self.played + 1))

    def _episode(self, model: nn.Module, epsilon: float) -> float:
        player = self._player
        protocol = replace(player.protocol, epsilon=epsilon)
        seed, skip = self._seed + self.played, player.frame_skip
        [episode] = play_episodes(model, player.env, protocol, episodes=1, seed=seed, frame_skip=skip)
        return episode.total


def _rebuilt(config: Any, state: Mapping[str, Any], device: Any) -> nn.Module:
    model: nn.Module = create_model_from_config(config, device)
    model.load_state_dict(dict(state))
    return model.eval()


def _behind(returns: Sequence[float], best: Sequence[float]) -> float:
    """Return the probability of differences this large, or larger, if the two were the same (one-sided, paired)."""
    differences = [b - a for a, b in zip(returns, best, strict=False)]
    n = len(differences)
    mean = math.fsum(differences) / n
    if mean <= 0:
        return 1.0
    # Bessel's correction: the mean was taken of the same differences.
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1)
    if variance == 0:
        # What never varies says no more than that it is larger each time.
        # The sign test: n times in a row by chance.
        return float(0.5**n)
    return _student(mean / math.sqrt(variance / n), n - 1)


def _student(t: float, degrees: int) -> float:
    """Return P(T > t) of Student's distribution for whole degrees of freedom (Abramowitz and Stegun, 26.7.3-4)."""
    angle = math.atan2(t, math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    term, total = 1.0, 1.0
    odd = degrees % 2
    for k in range(2 + odd, degrees - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    if odd:
        inner = angle + (sine * cosine * total if degrees > 1 else 0.0)
        return max(0.0, 0.5 - inner / math.pi)
    return max(0.0, 0.5 - sine * total / 2)


def _with(manifest: Manifest, played: Manifest, whole: Settlement, settled: Sequence[Measured]) -> Manifest:
    require_same_network(manifest, played, whole.path)
    config = {**(manifest.config or {}), **{item.field: plain(item.chosen) for item in settled}}
    origin = {**manifest.config_origin, **dict.fromkeys((item.field for item in settled), "measured")}
    environment = dict(manifest.environment)
    if any(item.field == "input_scale" for item in settled):
        # It was measured on what the environment gives by itself, so that is what the network is to be given.
        environment |= {"id": whole.environment["id"], "observation_scale": whole.environment["observation_scale"]}
    told = {**whole.to_dict(), "fields": [item.to_dict() for item in whole.fields]}
    kept = {name: told[name] for name in ("environment", "seed", "test", "fields")}
    extra = {**manifest.extra, "settled": [*manifest.extra.get("settled", ()), kept]}
    return replace(manifest, config=config, config_origin=origin, environment=environment, extra=extra)
