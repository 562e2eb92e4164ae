"""Networks made of blocks, drawn at random from the configs of every family, under names of several kinds.

    python tests/families/draws.py 20000

Whatever is claimed of a network must be what it is. Prints each wrong claim, and how many were right and refused.
"""

import random
import sys
from collections import Counter

from ckptfmt.families import registry
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.families.evidence import Facts
from ckptfmt.families.skeleton import Skeleton
from ckptfmt.families.tell import tell

SIZES = (16, 24, 32, 48, 64)


def mlp(chance, least=1, **more):
    return [{"kind": "mlp", "sizes": [chance.choice(SIZES) for _ in range(chance.randint(least, 3))], **more}]


def actor_critic(chance, names):
    gaussian = chance.random() < 0.5
    said = {"policy": "gaussian", "action_dim": 3, "deviation": "vector"} if gaussian else {"policy": "categorical"}
    config = {"observation": [11], "policy_trunk": mlp(chance), "value_trunk": mlp(chance), **said}
    names |= {"policy.": "pi_net.", "logits": "pi_head", "mean": "mean_head", "deviation": "log_std"}
    names |= {"value.": "vf_net.", "state_value": "vf_head"}
    return "actor-critic", config if gaussian else {**config, "n_action": 5}


def actor_q(chance, names):
    names |= {"policy.": "actor.body.", "action": "actor.mu", "critics.": "qf."}
    config = {"observation": [11], "policy": "deterministic", "action_dim": 3, "policy_trunk": mlp(chance)}
    return "actor-q", {**config, "n_critics": chance.randint(1, 3), "critic_trunk": mlp(chance)}


def q_network(chance, names):
    names |= {"trunk.": "q_net.", "q": "q_values"}
    trunk = mlp(chance, norm=chance.choice(["none", "layer"]))
    return "q-network", {"observation": [11], "n_action": 5, "trunk": trunk}


def recurrent_q(chance, names):
    names |= {"trunk.": "q_net.", "q": "q_values"}
    cell = {"kind": "cell", "cell": chance.choice(["lstm", "gru"]), "size": chance.choice(SIZES)}
    return "recurrent-q", {"observation": [11], "n_action": 5, "trunk": [*mlp(chance), cell]}


def policy(chance, names):
    names |= {"policy.": "actor.", "mean": "actor_mean", "deviation": "actor_log_std"}
    config = {"observation": [11], "policy": "gaussian", "action_dim": 3, "deviation": "head"}
    return "policy", {**config, "policy_trunk": mlp(chance)}


def quantile_q(chance, names):
    names |= {"trunk.": "quantile_net.", "q": "quantiles"}
    return "quantile-q", {
        "observation": [11],
        "n_action": 5,
        "n_quantiles": chance.choice([7, 25]),
        "trunk": mlp(chance),
    }


def implicit_quantile_q(chance, names):
    names |= {"trunk.": "psi.", "embedding": "cosine_embedding", "quantile.": "quantile_net.", "quantiles": "quantiles"}
    config = {"observation": [11], "n_action": 5, "n_cosines": chance.choice([32, 64]), "trunk": mlp(chance)}
    return "implicit-quantile-q", {**config, "quantile_trunk": mlp(chance)}


def batch_constrained_q(chance, names):
    names |= {"q.": "q_net.", "q_head": "q_head", "imitation.": "imitation_net.", "imitation_head": "imitation_head"}
    sizes = mlp(chance)
    return "batch-constrained-q", {"observation": [11], "n_action": 5, "q_trunk": sizes, "imitation_trunk": sizes}


def recurrent_actor_critic(chance, names):
    names |= {"trunk.": "base.", "logits": "actor_head", "state_value": "critic_head"}
    cell = {"kind": "cell", "cell": chance.choice(["lstm", "gru"]), "size": chance.choice(SIZES)}
    config = {"observation": [11], "policy": "categorical", "n_action": 5, "trunk": [*mlp(chance), cell]}
    return "recurrent-actor-critic", config


KINDS = (
    *(actor_critic, actor_q, q_network, recurrent_q, policy),
    *(quantile_q, implicit_quantile_q, batch_constrained_q, recurrent_actor_critic),
)


def renamed(name, names):
    old = next((old for old in names if name == old or name.startswith(old if old.endswith(".") else f"{old}.")), "")
    new = names[old] + name.removeprefix(old) if old else name
    return new.replace(".linear.", ".fc").replace(".norm.", ".ln")


def draw(kind, seed):
    """Return (family, the network, its tensors by the names that a code base could give them, in any order)."""
    chance, names = random.Random(seed), {}
    family, data = kind(chance, names)
    network = Blueprint.of(registry.find(family).config.from_dict(data))
    shapes = [(renamed(name, names), shape) for name, shape in network.tensors().items()]
    if seed % 2:
        chance.shuffle(shapes)
    prefix = chance.choice(["", "module.", "agent."])
    return family, network, {prefix + name: shape for name, shape in shapes}


def is_open(family, network, shapes):
    """Whether shapes allow more than one reading, so that nothing may be claimed."""
    if family == "implicit-quantile-q":
        # The product may lie before the last layer as well, or the embedding be one more layer of the row.
        features, last = network.tensors()["embedding.weight"][0], network.tensors()["quantiles.weight"][1]
        return features == last or network.config.n_cosines in (features, last)
    # A normalisation that comes before its layer may be one of what the layer takes.
    names = list(shapes)
    return any(
        len(shape) == 2 and shape[0] == shape[1] and min(_at(names, name, "ln")) < min(_at(names, name, "fc"))
        for name, shape in shapes.items()
        if ".fc" in name and name.replace(".fc", ".ln") in shapes
    )


def _at(names, weight, kind):
    layer = weight.replace(".fc", f".{kind}").removesuffix("weight")
    return [names.index(layer + part) for part in ("weight", "bias")]


def answer_to(kind, seed):
    """Return "right", "refused" where nothing can be claimed, or what is wrong with the answer to a drawn network."""
    family, network, shapes = draw(kind, seed)
    facts = Facts(more={"n_quantiles": network.config.n_quantiles}) if family == "quantile-q" else Facts()
    answer = tell(Skeleton(shapes=shapes, facts=facts))
    if answer.family is None:
        refused = is_open(family, network, shapes)
        return "refused" if refused else f"{kind.__name__} {seed}: refused, {answer.refusal}"
    if (answer.family, answer.architecture) != (family, network.name):
        return f"{kind.__name__} {seed}: told as {answer.family}/{answer.architecture}"
    told = Blueprint.of(answer.chosen.config)
    return "right" if dict(told.tensors()) == dict(network.tensors()) else f"{kind.__name__} {seed}: other tensors"


def main():
    """Try as many draws as are asked for; return the exit code, 1 for any wrong claim."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    found = Counter()
    for i in range(count):
        kind = KINDS[i % len(KINDS)]
        answer = answer_to(kind, i // len(KINDS))
        found[answer if answer in ("right", "refused") else "wrong"] += 1
        found[f"{kind.__name__} refused"] += answer == "refused"
        if answer not in ("right", "refused"):
            sys.stdout.write(f"{answer}\n")
    sys.stdout.write(", ".join(f"{name} {number:,}" for name, number in found.items() if number) + "\n")
    return int(found["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
