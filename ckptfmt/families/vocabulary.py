"""What the words of a head's name say that it gives: action values, a policy, a state value, quantiles, or nothing.

A word is evidence that a stranger wrote. It may speak for one meaning or for another; where a head is called by
a word that is not known here, its name speaks for none, and nothing is claimed on the strength of it.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal

from ckptfmt.families.names import words

__all__ = ["MEMBERS", "TARGET_WORDS", "Meaning", "is_of_policy", "meaning", "meanings"]

Meaning = Literal[
    "q", "value", "advantage", "policy", "mean", "deviation", "quantile", "imitation", "action", "other", "neutral", ""
]

# What code bases call the copy of a network that follows it.
TARGET_WORDS = frozenset({"target", "targets", "targ", "targs", "tgt", "old", "ema", "lagged", "slow"})
# What those are called of whom each has networks of its own.
MEMBERS = frozenset({
    "agent", "agents", "player", "players", "member", "members", "worker", "workers", "manager", "individual",
    "individuals", "opponent", "team", "speaker", "listener", "predator", "prey", "leader", "follower",
})  # fmt: skip
_WORDS: dict[Meaning, str] = {
    "q": "q qs qf qfs qfunc qfunction qfunctions qval qvals qvalue qvalues qnet qnetwork dqn ddqn dddqn ddqnet dqnet",
    "value": "v vs vf val vals value values critic critics baseline baselines state",
    "advantage": "adv advs advantage advantages af",
    "policy": (
        "policy policies pi actor actors logit logits prob probs probability probabilities softmax categorical "
        "dist distribution distributions gaussian gauss normal bernoulli multinomial sampler p ppo a2c a3c acer acktr "
        "trpo sac ddpg td3 reinforce vpg impala alpha beta concentration steer steering throttle gas brake control "
        "controls motor torque gripper option options proba stochastic"
    ),
    "mean": "mu mus mean means loc",
    "deviation": "sigma sigmas std stds stddev logstd var variance covariance scale",
    "quantile": "quantile quantiles qr qrdqn tqc iqn fqf tau taus expectile expectiles fraction fractions",
    "imitation": (
        "imitation imitator imitators imt bc bcq behavior behaviour cloning clone demonstrator expert experts student "
        "teacher gail airl"
    ),
    "action": "act acts action actions move moves decision",
    "other": (
        "reward rewards next forward inverse decoder reconstruction reconstructed embedding embed projection projector "
        "predictor prediction discriminator termination successor dynamics done terminal terminals label labels "
        "class classifier classify classes score scores style gate attention "
        "key query latent code feature_loss auxiliary aux segmentation segmenter mask classification recogniser "
        "recognizer recognition detector detection regressor regression world autoencoder vae gan generator "
        "evolution evolutionary genetic neuroevolution cem"
    ),
    "neutral": (
        "fc fcs fcn full fully connected connection connections lin linear linears dense denses layer layers l ll head "
        "heads out outs output outputs outp last final end ending top net nets network networks nn mlp mlps model "
        "models module modules seq sequential main block blocks hidden hid h base body trunk core feature features "
        "noisy nl noise ff ffn feedforward feed affine proj w b weight bias unit units first "
        "second third fourth fifth pre post flat flatten in inner outer agent online local current eval target stream "
        "streams branch branches relu act_fn nature atari conv convs cnn dnn ann readout wrapped inp input lay "
        "neuron neurons distributional distrib rainbow dueling duel double z atoms atom c51 "
        "params param list middle tail stem bottom upper lower hiddens fnn ffw estimator function func approximator "
        "duelling funcs functions convolution convolutions d backbone stem torso encoder vision cnns"
    ),
}  # fmt: skip
_MEANINGS: dict[str, Meaning] = {word: kind for kind, text in _WORDS.items() for word in text.split()}
# Short words that are whole only when they stand alone; inside a longer word they are its letters.
_SHORTEST = 2


# A file has some hundreds of words, each asked for by every family.
@lru_cache(maxsize=4096)
def meaning(word: str) -> Meaning:
    """Return what a word of a head's name says, "" for a word that is not known; `fcadv` is read as fc, adv."""
    if word in _MEANINGS:
        return _MEANINGS[word]
    parts = _split(word)
    told = dict.fromkeys(_MEANINGS[part] for part in parts if _MEANINGS[part] != "neutral")
    if not parts:
        return ""
    return _joined(tuple(told)) if told else "neutral"


def meanings(text: Iterable[str]) -> frozenset[Meaning]:
    """Return what the words of one name say together, neutral words left out; `action_value` is a Q-value.

    The empty meaning stands for words that are not known.
    """
    found = [meaning(word) for word in text if not word.isdigit()]
    told = dict.fromkeys(kind for kind in found if kind != "neutral")
    joined = _joined(tuple(told))
    return frozenset({joined}) if joined else frozenset(told)


def _joined(told: tuple[Meaning, ...]) -> Meaning:
    """Two words that make one meaning together; "" where they make none."""
    kinds = set(told)
    if kinds in ({"action", "value"}, {"q", "value"}, {"q", "action"}, {"q", "action", "value"}):
        return "q"
    if kinds in ({"action", "advantage"}, {"advantage", "q"}):
        return "advantage"
    if kinds in ({"action", "policy"}, {"value", "quantile"}, {"q", "quantile"}):
        return "policy" if "policy" in kinds else "quantile"
    return told[0] if len(kinds) == 1 else ""


def _split(word: str) -> tuple[str, ...]:
    """Take a word that was written in one apart into two or three known ones, longest first; () where it is none."""
    for cut in range(len(word) - _SHORTEST, 0, -1):
        head, rest = word[:cut], word[cut:]
        if head not in _MEANINGS or (cut < _SHORTEST and head != "q"):
            continue
        if rest in _MEANINGS:
            return head, rest
        if (more := _split(rest)) and len(more) == 2:
            return (head, *more)
    return ()


def is_of_policy(own: Sequence[Sequence[str]], copies: Sequence[Sequence[str]]) -> bool:
    """Whether paths of networks, or of their layers, say that those with a target copy are policies.

    What all paths begin with is a wrapper. The network that DQN's tutorial copies is called `policy_net` and the copy
    `target_net`, so that the word policy says nothing of a network whose copy has no such word.
    """
    paths = [*own, *copies]
    depth = next((i for i, pieces in enumerate(zip(*paths, strict=False)) if len({*pieces}) > 1), 0)
    said = (_in_all(own, depth) - {"policy"}) | _in_all(copies, depth)
    return any(meaning(word) in ("policy", "mean") for word in said)


def _in_all(paths: Iterable[Sequence[str]], depth: int) -> frozenset[str]:
    said = [frozenset(word for piece in path[depth:] for word in words(piece)) for path in paths]
    return frozenset.intersection(*said) if said else frozenset()
