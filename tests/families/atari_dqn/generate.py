"""Networks over the whole space, each with its own truth, and a run that demands: right, or an honest refusal.

    python tests/families/atari_dqn/generate.py 20000

prints how many were told, how many refused and why, by kind; exits 1 if a single one was told wrongly.
"""

import math
import random
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ckptfmt.families.answer import Classification, Placement
from ckptfmt.families.atari_dqn.config import ARCHITECTURES
from ckptfmt.families.atari_dqn.expected import expected_tensors
from ckptfmt.families.evidence import Facts
from ckptfmt.families.tell import classify

Shape = tuple[int, ...]

TRUNKS: dict[str, tuple[tuple[tuple[int, int, int, int], ...], tuple[int, ...]]] = {
    # (channels, kernel, stride, padding) for each convolution, and screens it is used with.
    "nature": (((32, 8, 4, 0), (64, 4, 2, 0), (64, 3, 1, 0)), (36, 64, 84, 84, 84, 91, 128, 256)),
    "nips": (((16, 8, 4, 0), (32, 4, 2, 0)), (84, 84, 64, 128)),
    "data-efficient": (((32, 5, 5, 0), (64, 5, 5, 0)), (84,)),
    "wide": (((64, 8, 4, 0), (128, 4, 2, 0), (128, 3, 1, 0)), (84, 100)),
    "padded": (((32, 8, 4, 2), (64, 4, 2, 1), (64, 3, 1, 1)), (84,)),
    "four": (((32, 16, 8, 0), (32, 4, 2, 0), (64, 4, 2, 0), (64, 3, 1, 0)), (256,)),
}

# Role -> stem. "{i}" counts convolutions from 0, "{j}" from 1, "{k}" in steps of 2.
SCHEMES: dict[str, dict[str, str]] = {
    "reference": {
        "conv": "conv.{k}", "hidden": "fc.0", "head": "fc.2",
        "value_hidden": "value_stream.0", "value_head": "value_stream.2",
        "advantage_hidden": "advantage_stream.0", "advantage_head": "advantage_stream.2",
    },
    "kaixhin-like": {
        "conv": "convs.{k}", "hidden": "fc_h", "head": "fc_z",
        "value_hidden": "fc_h_v", "value_head": "fc_z_v", "advantage_hidden": "fc_h_a", "advantage_head": "fc_z_a",
    },
    "features": {
        "conv": "features.{k}", "hidden": "classifier.0", "head": "classifier.2",
        "value_hidden": "value.0", "value_head": "value.2",
        "advantage_hidden": "advantage.0", "advantage_head": "advantage.2",
    },
    "dense": {
        "conv": "conv{j}", "hidden": "dense1", "head": "dense2",
        "value_hidden": "dense1_val", "value_head": "dense2_val",
        "advantage_hidden": "dense1_adv", "advantage_head": "dense2_adv",
    },
    "camel": {
        "conv": "body.Conv{j}", "hidden": "body.Hidden", "head": "head.Out",
        "value_hidden": "head.ValueHidden", "value_head": "head.ValueOut",
        "advantage_hidden": "head.AdvHidden", "advantage_head": "head.AdvOut",
    },
    "slashes": {
        "conv": "net/conv_{j}", "hidden": "net/hidden", "head": "net/q",
        "value_hidden": "net/v/fc", "value_head": "net/v/out",
        "advantage_hidden": "net/a/fc", "advantage_head": "net/a/out",
    },
    "tianshou-like": {
        "conv": "net.{k}", "hidden": "Q.0", "head": "Q.2",
        "value_hidden": "V.0", "value_head": "V.2", "advantage_hidden": "Q.0", "advantage_head": "Q.2",
    },
    "flat": {
        "conv": "layer{j}", "hidden": "layer10", "head": "layer11",
        "value_hidden": "layer10", "value_head": "layer11", "advantage_hidden": "layer12", "advantage_head": "layer13",
    },
}  # fmt: skip

PLAIN = ("{s}.weight {s}.bias", "{s}_w {s}_b", "{s}.kernel {s}.bias", "{s}.W {s}.b", "W_{s} b_{s}")
NOISY = (
    "{s}.weight_mu {s}.weight_sigma {s}.bias_mu {s}.bias_sigma",
    "{s}.mu.weight {s}.sigma.weight {s}.mu.bias {s}.sigma.bias",
    "{s}.mu_W {s}.sigma_W {s}.mu_bias {s}.sigma_bias",
    "{s}.weight {s}.sigma_weight {s}.bias {s}.sigma_bias",
    "{s}.weight_mean {s}.weight_std {s}.bias_mean {s}.bias_std",
    "{s}.w_mu {s}.w_sigma {s}.b_mu {s}.b_sigma",
    "{s}_mu.weight {s}_sigma.weight {s}_mu.bias {s}_sigma.bias",
    "{s}.mean.kernel {s}.stddev.kernel {s}.mean.bias {s}.stddev.bias",
)
# Name and shape (letters: o out, i in, 1) of the noise buffers of one layer.
NOISE = (
    "",
    "epsilon_input:i epsilon_output:o",
    "eps_p:i eps_q:o",
    "epsilon_input:1i epsilon_output:o1",
    "weight_epsilon:oi bias_epsilon:o",
    "noise_in:i noise_out:o bias_noise:o",
    "epsilon_weight:oi",
    "eps_i:1i eps_j:1o",
    "weight_epsilon:oi bias_epsilon:o noise_in:i noise_out_weight:o noise_out_bias:o",
)
SUPPORTS = ("support", "atoms", "supports", "z", "bins", "value_range")
PREFIXES = ("", "", "", "module.", "agent.q_network.", "_orig_mod.", "policy_net.")
ORDERS = ("network", "shuffled", "reversed", "heads first")
NAMES = ("kept", "kept", "kept", "kept", "numbers", "meaningless", "permuted")


@dataclass
class Sample:
    """A network as a file shows it, and what it really is.

    `sigmas` are the tensors that hold values of one sign. `silent` is true for one head without a name on the trunk
    that papers on DQN describe: it may be taken for a Q-network where the answer says that this is assumed.
    """

    kind: str
    architecture: str | None
    shapes: dict[str, Shape]
    values: dict[str, list[float]] = field(default_factory=dict)
    truth: dict[str, tuple[str, tuple[int, int] | None]] = field(default_factory=dict)
    numbers: dict[str, int | float | None] = field(default_factory=dict)
    sigmas: frozenset[str] = frozenset()
    silent: bool = False
    context: tuple[str, ...] = ()
    screen: tuple[int, int, int] = (4, 84, 84)
    strides: tuple[int, ...] = ()
    paddings: tuple[int, ...] = ()

    def facts(self) -> Facts:
        return Facts(**self.numbers)  # type: ignore[arg-type]


class Builder:
    """Builds one network from choices that a random generator makes."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.tensors: list[tuple[str, Shape]] = []
        self.truth: dict[str, tuple[str, tuple[int, int] | None]] = {}
        self.sigmas: list[str] = []
        self.scheme = chance.choice(sorted(SCHEMES))
        self.plain = chance.choice(PLAIN).split()
        self.noisy_names = chance.choice(NOISY).split()
        self.noise = [item.split(":") for item in chance.choice(NOISE).split()]
        self.prefix = chance.choice(PREFIXES)

    def stem(self, role: str, i: int = 0) -> str:
        return self.prefix + SCHEMES[self.scheme][role].format(i=i, j=i + 1, k=2 * i)

    def plain_layer(self, stem: str, shape: Shape, targets: list[tuple[str, tuple[int, int] | None]]) -> None:
        names = [name.format(s=stem) for name in self.plain]
        self.tensors += [(names[0], shape), (names[1], shape[:1])]
        for target, rows in targets:
            self.truth |= {f"{target}.weight": (names[0], rows), f"{target}.bias": (names[1], rows)}

    def linear(
        self, stem: str, shape: tuple[int, int], targets: list[tuple[str, tuple[int, int] | None]], noisy: bool
    ) -> None:
        if not noisy:
            self.plain_layer(stem, shape, targets)
            return
        names = [name.format(s=stem) for name in self.noisy_names]
        self.tensors += list(zip(names, (shape, shape, shape[:1], shape[:1]), strict=True))
        self.sigmas += names[1::2]
        for target, rows in targets:
            parts = ("weight_mu", "weight_sigma", "bias_mu", "bias_sigma")
            self.truth |= {f"{target}.{part}": (name, rows) for part, name in zip(parts, names, strict=True)}
        sizes = {"o": shape[0], "i": shape[1], "1": 1}
        self.tensors += [(f"{stem}.{name}", tuple(sizes[letter] for letter in letters)) for name, letters in self.noise]


def features(trunk: str, screen: int) -> int:
    size = screen
    for _, kernel, stride, padding in TRUNKS[trunk][0]:
        size = (size + 2 * padding - kernel) // stride + 1
    return TRUNKS[trunk][0][-1][0] * size * size


def network(chance: random.Random) -> Sample:
    """Return one of the eight architectures in some layout."""
    build = Builder(chance)
    architecture = chance.choice(ARCHITECTURES)
    noisy, atoms = "noisy" in architecture, 1
    if "distributional" in architecture:
        atoms = chance.choice((51, 51, 51, 21, 101, 11))
    n_action = chance.choice((2, 3, 4, 6, 6, 9, 14, 18, 18, 32))
    hidden = chance.choice((512, 512, 512, 256, 200, 128, 1024))
    trunk = chance.choice(("nature",) * 6 + tuple(TRUNKS))
    screen, channels = chance.choice(TRUNKS[trunk][1]), chance.choice((1, 3, 4, 4, 4, 4, 12))
    inputs = channels
    for i, (outputs, kernel, _, _) in enumerate(TRUNKS[trunk][0]):
        build.plain_layer(build.stem("conv", i), (outputs, inputs, kernel, kernel), [(f"conv.{2 * i}", None)])
        inputs = outputs
    layout = _linear(build, architecture, features(trunk, screen), hidden, n_action, atoms, noisy)
    sample = Sample(layout, architecture, {}, truth=build.truth, sigmas=frozenset(build.sigmas))
    sample.numbers = {"n_action": n_action}
    if atoms > 1:
        low = chance.choice((-10.0, -1.0, 0.0, -21.0))
        high = chance.choice((10.0, 5.0, 200.0))
        sample.numbers |= {"n_atoms": atoms, "v_min": low, "v_max": high}
        if chance.random() < 0.7:
            name = build.prefix + chance.choice(SUPPORTS)
            build.tensors.insert(chance.choice((0, len(build.tensors))), (name, chance.choice(((atoms,), (1, atoms)))))
            build.truth["support"] = (name, None)
            sample.values[name] = [low + i * (high - low) / (atoms - 1) for i in range(atoms)]
    sample.screen = (channels, screen, screen)
    sample.strides = tuple(conv[2] for conv in TRUNKS[trunk][0])
    sample.paddings = tuple(conv[3] for conv in TRUNKS[trunk][0])
    return _disguise(sample, build.tensors, chance)


def _linear(build: Builder, architecture: str, size: int, hidden: int, n_action: int, atoms: int, noisy: bool) -> str:
    chance = build.chance
    if "dueling" not in architecture:
        build.linear(build.stem("hidden"), (hidden, size), [("fc.0", None)], noisy)
        build.linear(build.stem("head"), (n_action * atoms, hidden), [("fc.2", None)], noisy)
        return "single"
    layout = chance.choice(("separate",) * 4 + ("shared", "fused"))
    streams = ["value", "advantage"]
    if chance.random() < 0.5:
        streams.reverse()
    rows = {"value": atoms, "advantage": n_action * atoms}
    both: dict[str, tuple[int, int]] = {}
    if layout == "shared":
        targets: list[tuple[str, tuple[int, int] | None]] = [(f"{stream}_stream.0", None) for stream in streams]
        build.linear(build.stem("hidden") + "_", (hidden, size), targets, noisy)
    elif layout == "fused":
        both = {stream: (i * hidden, (i + 1) * hidden) for i, stream in enumerate(streams)}
        halves: list[tuple[str, tuple[int, int] | None]] = [(f"{name}_stream.0", rows) for name, rows in both.items()]
        build.linear(build.stem("hidden") + "_", (2 * hidden, size), halves, noisy)
    together = chance.random() < 0.3
    if layout == "separate" and together:
        for stream in streams:
            build.linear(build.stem(f"{stream}_hidden"), (hidden, size), [(f"{stream}_stream.0", None)], noisy)
    for stream in streams:
        if layout == "separate" and not together:
            build.linear(build.stem(f"{stream}_hidden"), (hidden, size), [(f"{stream}_stream.0", None)], noisy)
        build.linear(build.stem(f"{stream}_head"), (rows[stream], hidden), [(f"{stream}_stream.2", None)], noisy)
    return layout


def _disguise(sample: Sample, tensors: list[tuple[str, Shape]], chance: random.Random) -> Sample:
    """Put the keys into some order and take some of the names away."""
    order = chance.choice(ORDERS)
    if order == "shuffled":
        chance.shuffle(tensors)
    elif order == "reversed":
        tensors.reverse()
    elif order == "heads first":
        tensors.sort(key=lambda tensor: len(tensor[1]) == 4)
    names = chance.choice(NAMES)
    old = [name for name, _ in tensors]
    new = {
        "kept": old,
        "numbers": [str(i) for i in range(len(old))],
        "meaningless": [f"p{i}" for i in range(len(old))],
        "permuted": chance.sample(old, len(old)),
    }[names]
    renamed = dict(zip(old, new, strict=True))
    sample.shapes = {renamed[name]: shape for name, shape in tensors}
    sample.values = {renamed[name]: values for name, values in sample.values.items()}
    sample.sigmas = frozenset(renamed[name] for name in sample.sigmas)
    sample.truth = {target: (renamed[name], rows) for target, (name, rows) in sample.truth.items()}
    sample.kind = f"{sample.architecture}, {sample.kind}, names {names}"
    return sample


def _actor_critic(chance: random.Random) -> Sample:
    """The shapes of a dueling network, streams called actor and critic."""
    while True:
        sample = network(random.Random(chance.random()))
        if sample.architecture == "dueling" and "kept" in sample.kind and "val" in "".join(sample.shapes).lower():
            break
    renames = {"value": "critic", "val": "critic", "advantage": "actor", "adv": "actor"}
    names = {name: name for name in sample.shapes}
    for name in names:
        for word, other in renames.items():
            names[name] = names[name].replace(word, other).replace(word.title(), other.title())
    sample.shapes = {names[name]: shape for name, shape in sample.shapes.items()}
    return sample


def decoy(chance: random.Random) -> Sample:
    """Return something that is none of the eight."""
    kind = chance.choice(sorted(DECOYS))
    sample = DECOYS[kind](chance)
    return Sample(f"decoy: {kind}", None, sample.shapes, sample.values, numbers=sample.numbers, sigmas=sample.sigmas)


def _without_one(chance: random.Random) -> Sample:
    sample = network(chance)
    keys = [name for name, shape in sample.shapes.items() if name not in sample.values]
    del sample.shapes[chance.choice(keys)]
    return sample


def _with_one_more(chance: random.Random) -> Sample:
    sample = network(chance)
    sample.shapes["extra.weight"] = chance.choice(((512, 512), (64,), (7, 33), (3, 3, 3), (16, 16, 3, 3)))
    return sample


def _quantiles(chance: random.Random) -> Sample:
    """QR-DQN: the shapes of a distributional network, and no support."""
    while True:
        sample = network(chance)
        if "distributional" in str(sample.architecture) and not sample.values:
            break
    chance.choice((_called_quantile, lambda sample: None))(sample)
    sample.numbers = {}
    return sample


def _called_quantile(sample: Sample) -> None:
    sample.shapes = {f"quantile_net.{name}": shape for name, shape in sample.shapes.items()}


def _levels(chance: random.Random) -> Sample:
    """QR-DQN that keeps its quantile levels as a buffer: evenly rising, and no support."""
    while True:
        sample = network(chance)
        if "distributional" in str(sample.architecture) and sample.values:
            break
    name, values = next(iter(sample.values.items()))
    sample.values = {name: [(2 * i + 1) / (2 * len(values)) for i in range(len(values))]}
    sample.numbers = {}
    return sample


def _implicit(chance: random.Random) -> Sample:
    sample = network(chance)
    size = chance.choice((3136, 512))
    sample.shapes |= {"phi.weight": (size, 64), "phi.bias": (size,)}
    return sample


def _transposed(chance: random.Random) -> Sample:
    sample = network(chance)
    sample.shapes = {name: shape[::-1] if len(shape) == 2 else shape for name, shape in sample.shapes.items()}
    return sample


def _mlp(chance: random.Random) -> Sample:
    sample = network(chance)
    sample.shapes = {name: shape for name, shape in sample.shapes.items() if len(shape) < 3}
    return sample


def _headless(chance: random.Random) -> Sample:
    sample = network(chance)
    sample.shapes = {name: shape for name, shape in sample.shapes.items() if len(shape) == 4 or "conv" in name}
    return sample


def _half_noisy(chance: random.Random) -> Sample:
    """Only one of the layers is noisy."""
    while True:
        sample = network(chance)
        if "noisy" in str(sample.architecture):
            break
    target = chance.choice(sorted({key.rsplit(".", 1)[0] for key in sample.truth if key.endswith("sigma")}))
    for part in ("weight_sigma", "bias_sigma"):
        sample.shapes.pop(sample.truth[f"{target}.{part}"][0], None)
    return sample


def _twins(chance: random.Random) -> Sample:
    sample = network(chance)
    sample.shapes = {f"{side}.{name}": shape for side in ("q1", "q2") for name, shape in sample.shapes.items()}
    return sample


DECOYS: dict[str, Callable[[random.Random], Sample]] = {
    "actor-critic by name": _actor_critic,
    "one tensor missing": _without_one,
    "one tensor more": _with_one_more,
    "quantiles": _quantiles,
    "quantile levels": _levels,
    "implicit quantiles": _implicit,
    "transposed": _transposed,
    "no convolution": _mlp,
    "no head": _headless,
    "partly noisy": _half_noisy,
    "twins": _twins,
}


def _rival(chance: random.Random, kind: str) -> Sample:
    """Return another kind of network on a trunk of this field; its names say what it is, or nothing."""
    build = Builder(chance)
    build.prefix = chance.choice(("", "", "module.", "net.", "policy_net.", "agent.model."))
    trunk = chance.choice(("nature",) * 4 + ("nips", "wide"))
    inputs = channels = chance.choice((1, 3, 4, 4, 4))
    for i, (outputs, kernel, _, _) in enumerate(TRUNKS[trunk][0]):
        build.plain_layer(build.stem("conv", i), (outputs, inputs, kernel, kernel), [])
        inputs = outputs
    size, hidden = features(trunk, 84), chance.choice((512, 512, 256, 128))
    n_action = chance.choice((2, 3, 4, 6, 9, 14, 18))
    silent = chance.random() < 0.3
    streams = RIVALS[kind](chance, n_action, silent)
    shared = chance.random() < 0.5 or len(streams) == 1
    noisy = chance.random() < 0.1 and kind in ("actor-critic", "quantile")
    if shared:
        build.linear(build.prefix + chance.choice(("hidden", "fc", "fc1", "linear")), (hidden, size), [], noisy)
    for name, rows in streams:
        stem = build.prefix + name
        if not shared:
            build.linear(f"{stem}.0", (hidden, size), [], noisy)
        build.linear(stem if shared else f"{stem}.2", (rows, hidden), [], noisy)
    if kind == "gaussian":
        build.tensors.append((build.prefix + chance.choice(("log_std", "logstd", "actor_logstd", "std")), (n_action,)))
    sample = Sample(f"rival: {kind}, {'shared' if shared else 'separate'}, silent {silent}", None, {})
    sample.sigmas = frozenset(build.sigmas)
    kept = _disguise(sample, build.tensors, chance)
    # Where the names are lost, nothing is left that could tell one head from another.
    nameless = silent or not kept.kind.endswith("kept")
    kept.silent = (
        nameless and kind in ("policy", "policy of a Q-learner", "deterministic") and trunk in ("nature", "nips")
    )
    kept.screen = (channels, 84, 84)
    if kind == "policy of a Q-learner" and not nameless:
        kept.context = (chance.choice(("DQNAgent", "agents.dqn.Learner", "q_learning")),)
    return kept


def _heads(*pairs: tuple[str, ...]) -> Callable[[random.Random, bool], tuple[str, ...]]:
    """Choose how the heads are called: by the last of the names, which says nothing, where they are to be silent."""
    return lambda chance, silent: pairs[-1] if silent else chance.choice(pairs[:-1])


_POLICY = _heads(("logits",), ("pi",), ("action_probs",), ("actor",), ("policy_head",), ("action_head",), ("prob",),
                 ("fc_pi",), ("fcprob",), ("act_out",), ("out",))  # fmt: skip
_MEAN = _heads(("mu",), ("mean",), ("fc_mu",), ("action_mean",), ("head",))
_BOTH = _heads(("critic", "actor"), ("v", "p"), ("value", "policy"), ("value", "action"), ("v", "pi"), ("vf", "logits"),
               ("value_head", "policy_head"), ("state_value", "probs"), ("val", "act"), ("out1", "out2"))  # fmt: skip
_MANY = _heads(("quantiles",), ("quantile_head",), ("fc_quantiles",), ("out",))
_ONE_HEAD = ("policy", "policy of a Q-learner", "deterministic")
_PLAIN_HEADS = ("heads.{}", "net_list.{}", "head{}", "fc{}")

# Kind -> the names and rows of its heads, value first.
RIVALS: dict[str, Callable[[random.Random, int, bool], list[tuple[str, int]]]] = {
    "policy": lambda chance, n, silent: [(_POLICY(chance, silent)[0], n)],
    "policy of a Q-learner": lambda chance, n, silent: [(chance.choice(("logits", "pi", "action_probs", "actor")), n)],
    "deterministic": lambda chance, n, silent: [(_MEAN(chance, silent)[0], n)],
    "gaussian": lambda chance, n, silent: [(_MEAN(chance, silent)[0], n)],
    "actor-critic": lambda chance, n, silent: list(zip(_BOTH(chance, silent), (1, n), strict=True)),
    "state value": lambda chance, n, silent: [(chance.choice(("value", "critic", "v", "out")), 1)],
    "quantile": lambda chance, n, silent: [(_MANY(chance, silent)[0], n * chance.choice((51, 200, 32, 50)))],
    "dueling quantile": lambda chance, n, silent: list(
        zip(("value", "advantage"), (m := chance.choice((51, 200, 32)), n * m), strict=True)
    ),
    "atoms in one stream": lambda chance, n, silent: [("value", 1), ("advantage", n * 51)],
    "values beside state values": lambda chance, n, silent: [
        (chance.choice(("v", "V", "value")), 1), (chance.choice(("q", "Q", "q_values")), n)
    ],
    "twin": lambda chance, n, silent: [
        (name, n) for name in (("out1", "out2") if silent else chance.choice((("q1", "q2"), ("qf1", "qf2"))))
    ],
    "bootstrapped": lambda chance, n, silent: [
        (style.format(i), n) for style in (chance.choice(_PLAIN_HEADS),) for i in range(chance.choice((2, 3, 9, 10)))
    ],
    "imitation": lambda chance, n, silent: [("q", n), ("i", n)],
}  # fmt: skip


# What is none of the eight and may be told as another family.
ELSEWHERE = {
    "actor-critic by name": "actor-critic",
    "quantiles": "quantile-q",
    "quantile levels": "quantile-q",
    "implicit quantiles": "implicit-quantile-q",
    "policy": "policy",
    "policy of a Q-learner": "policy",
    "deterministic": "policy",
    "gaussian": "policy",
    "actor-critic": "actor-critic",
    "quantile": "quantile-q",
    "dueling quantile": "quantile-q",
    "imitation": "batch-constrained-q",
    "twin": "q-network",
    "twins": "q-network",
}


def rival(chance: random.Random) -> Sample:
    """Return a policy, an actor-critic, quantiles, twins or an ensemble: none of the eight."""
    return _rival(chance, chance.choice(sorted(RIVALS)))


def draw(chance: random.Random) -> Sample:
    """Return one of the eight, something near to them, or a rival."""
    kind = chance.random()
    return rival(chance) if kind < 0.4 else decoy(chance) if kind < 0.5 else network(chance)


# What no weights show, and no names of many: it is never inferred.
UNSEEN = ("encoder", "input_scale", "input_shape", "dueling_join")


def judge(sample: Sample, answer: Classification) -> str:
    """Return "" if the answer is right or an honest refusal, else what is wrong with it."""
    if bool(answer.chosen) == bool(answer.refusal):
        return "both or neither of an answer and a refusal"
    if answer.family not in (None, "atari-dqn"):
        kind = sample.kind.partition(": ")[2].partition(",")[0]
        return "" if answer.family == ELSEWHERE.get(kind) else f"claims {answer.family} {answer.architecture}"
    if sample.architecture is None:
        assumed = answer.chosen is not None and answer.chosen.origin.get("architecture") == "assumed"
        return f"claims {answer.architecture}" if answer.chosen and not (assumed and sample.silent) else ""
    if answer.chosen is None:
        return ""
    chosen = answer.chosen
    if seen := [name for name in UNSEEN if chosen.origin.get(name) == "inferred"]:
        return f"infers {seen[0]}"
    if chosen.name != sample.architecture:
        return f"claims {chosen.name}, is {sample.architecture}"
    if chosen.config is None:
        return "no config"
    config = chosen.config.to_dict()
    for name, number in sample.numbers.items():
        if config[name] != number:
            return f"{name} {config[name]}, is {number}"
    return _misplaced(sample, answer)


def _misplaced(sample: Sample, answer: Classification) -> str:
    assert answer.chosen is not None
    placed = {item.name: (item.source, item.rows) for item in answer.chosen.placements}
    for target, source in sample.truth.items():
        if placed.get(target) != source:
            return f"{target} is {source}, placed {placed.get(target)}"
    config = answer.chosen.config
    assert config is not None
    if config.input_shape[0] != sample.screen[0]:
        return f"{config.input_shape} channels"
    if tuple(conv.stride[0] for conv in config.encoder.convs) != sample.strides:
        return f"strides {config.encoder.convs}"
    if tuple(conv.padding[0] for conv in config.encoder.convs) != sample.paddings:
        return f"paddings {config.encoder.convs}"
    noise = [item for item in answer.chosen.placements if "epsilon" in item.name]
    expected = expected_tensors(config)
    return "" if all(expected[item.name] == _placed(sample.shapes, item) for item in noise) else "noise misplaced"


def _placed(shapes: Mapping[str, Shape], item: Placement) -> Shape:
    """Return the shape that a vector of noise has where it is placed."""
    return (item.rows[1] - item.rows[0] if item.rows else math.prod(shapes[item.source]),)


def answer(sample: Sample, facts: Facts | None) -> Classification:
    def values(name: str) -> list[float]:
        if name in sample.values:
            return sample.values[name]
        chance = random.Random(name)
        plain = [chance.gauss(0, 1) for _ in range(math.prod(sample.shapes[name]))]
        return [abs(number) for number in plain] if name in sample.sigmas else plain

    return classify(sample.shapes, values=values, facts=facts, context=sample.context)


REASONS = {
    "quantile network": "no support: needs v_min, v_max",
    "usual number of quantiles": "no support: needs v_min, v_max",
    "speaks of a policy": "called a policy: needs --architecture",
    "no name of either": "a head whose name says nothing: needs --architecture",
    "could be": "no support, one head: needs --n-actions and more",
    "more than the 18": "more rows than an Atari game has actions",
    "actor-critic": "one hidden layer with two heads: needs --architecture",
    "nothing shows which half": "fused hidden layer: which half is which",
    "all have the shape": "names lost: equal shapes",
    "is in front of": "names lost: which hidden layer is whose",
    "order of": "names lost: order of convolutions",
    "strides": "unknown trunk",
    "do not tell which": "two architectures of these shapes",
}


def reason(answer: Classification) -> str:
    return next((text for part, text in REASONS.items() if part in answer.refusal), answer.refusal)


def run(count: int, seed: int = 0) -> int:
    told, refused, wrong = Counter[str](), Counter[str](), []
    for number in range(seed, seed + count):
        chance = random.Random(number)
        sample = draw(chance)
        facts = sample.facts() if chance.random() < 0.3 else None
        said = answer(sample, facts)
        if fault := judge(sample, said):
            wrong.append(f"seed {number}, {sample.kind}: {fault}")
        elif sample.architecture is None:
            told["none of the eight, and not claimed"] += 1
        elif said.refusal:
            refused[reason(said)] += 1
        else:
            told[f"{sample.architecture}"] += 1
    networks = count - told["none of the eight, and not claimed"]
    for text, number in sorted(told.items()):
        print(f"{number:7}  {text}")
    for text, number in refused.most_common():
        print(f"{number:7}  {100 * number / networks:5.1f} %  refused: {text}")
    print("\n".join(wrong[:40]))
    print(f"{count} tried, {len(wrong)} wrong, {sum(refused.values())} of {networks} networks refused")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]) if len(sys.argv) > 1 else 2000))
