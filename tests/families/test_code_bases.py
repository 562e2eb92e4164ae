"""Networks as other code bases save them: what each is may not be known here, and nothing else is claimed."""

import pytest

from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.tell import classify

WIDE, HIDDEN = 3136, 64


def layer(stem, *shape):
    return {f"{stem}.weight": shape, f"{stem}.bias": shape[:1]}


def trunk(style, numbers=(0, 2, 4), channels=4):
    shapes = (32, channels, 8, 8), (64, 32, 4, 4), (64, 64, 3, 3)
    return {
        name: shape
        for number, sizes in zip(numbers, shapes, strict=True)
        for name, shape in layer(style.format(number), *sizes).items()
    }


def cell(stem, inputs, gates):
    rows = gates * HIDDEN
    shapes = {
        "weight_ih_l0": (rows, inputs),
        "weight_hh_l0": (rows, HIDDEN),
        "bias_ih_l0": (rows,),
        "bias_hh_l0": (rows,),
    }
    return {f"{stem}.{name}": shape for name, shape in shapes.items()}


def heads(*named):
    return {name: shape for stem, rows in named for name, shape in layer(stem, rows, HIDDEN).items()}


NATURE, NUMBERED = trunk("net.{}"), trunk("conv{}", (1, 2, 3))
FC = NUMBERED | layer("fc1", HIDDEN, WIDE)
TIANSHOU = trunk("preprocess.net.{}") | layer("preprocess.net.7", HIDDEN, WIDE)
EXTRACTED = trunk("features_extractor.cnn.{}") | layer("features_extractor.linear.0", 512, WIDE)
ACTOR, CELL, SEVERAL = "is a name of actor-critics", "it has a recurrent cell", "heads of 6 rows on one trunk"
TWO, ONE = "is the shape of a dueling network and of an actor-critic", "is the shape of a Q-network and of a policy"
NO_HEAD = "no linear layer takes the features of the trunk and leads to a head"

# What a code base saves, and a part of the sentence that says why it is none; "" for what is claimed.
KINDS = {
    "RLlib PPO": (trunk("encoder.encoder.net.mlp.{}") | layer("encoder.fc", HIDDEN, WIDE)
                  | heads(("pi.net.mlp.0", 6), ("vf.net.mlp.0", 1)), ACTOR),
    "Tianshou PPO": (trunk("actor.preprocess.net.{}") | layer("actor.preprocess.net.7", HIDDEN, WIDE)
                     | heads(("actor.last.model.0", 6), ("critic.last.model.0", 1)), ACTOR),
    "Tianshou's actor alone": (TIANSHOU | heads(("last.model.0", 6)), ONE),
    "Tianshou IQN": (TIANSHOU | heads(("embed_model.net.0", HIDDEN), ("last.model.0", 6)), "a third linear layer"),
    "Tianshou FQF": (TIANSHOU | heads(("embed_model.net.0", HIDDEN), ("last.model.0", 6), ("fraction.net", 32)),
                     "it has 2 heads, of 6 and 32 rows"),
    "R2D2": (trunk("torso.conv_{}") | layer("torso.linear", HIDDEN, WIDE) | cell("core", HIDDEN + 7, 4)
             | heads(("head.value.2", 1), ("head.advantage.2", 6)), CELL),
    "IMPALA": (trunk("embed._torso.{}") | layer("embed.fc", HIDDEN, WIDE) | cell("core", HIDDEN, 4)
               | heads(("policy_logits", 6), ("value", 1)), ACTOR),
    "PFRL A3C": (trunk("0.{}") | layer("0.6", HIDDEN, WIDE)
                 | heads(("1._children.0.0", 6), ("1._children.1", 1)), TWO),
    "rlpyt A2C": (trunk("conv.conv.conv.{}") | layer("conv.head.model.0", HIDDEN, WIDE)
                  | heads(("pi", 6), ("value", 1)), ACTOR),
    "a Gaussian actor of frames": (trunk("pi.net.{}") | layer("pi.net.6", HIDDEN, WIDE)
                                   | heads(("pi.mu_layer", 3), ("pi.log_std_layer", 3)), ACTOR),
    "minigrid starter files": (
        layer("image_conv.0", 16, 3, 2, 2) | layer("image_conv.3", 32, 16, 2, 2) | layer("image_conv.5", 64, 32, 2, 2)
        | layer("actor.0", 64, 64) | layer("actor.2", 7, 64) | layer("critic.0", 64, 64) | layer("critic.2", 1, 64),
        ACTOR),
    "ACER": (FC | cell("lstm", HIDDEN, 4) | heads(("fc_actor", 6), ("fc_critic", 6)), ACTOR),
    "a port of Dopamine's IQN": (NUMBERED | layer("quantile_embedding", WIDE, 64) | layer("dense1", HIDDEN, WIDE)
                                 | heads(("dense2", 6)), "is a name of quantile networks"),
    "bootstrapped heads": (FC | heads(*((f"net_list.{i}.fc2", 6) for i in range(5))), f"it has five {SEVERAL}"),
    "NGU": (FC | cell("lstm", HIDDEN + 8, 4) | heads(("adv.2", 6), ("val.2", 1), ("embedding.0", 32)), CELL),
    "Agent57": (FC | heads(("q_ext", 6), ("q_int", 6)), f"it has two {SEVERAL}"),
    "PPO with RND": (FC | heads(("value_ext", 1), ("value_int", 1), ("policy", 6)), ACTOR),
    "RND's predictor": (trunk("{}") | layer("7", HIDDEN, WIDE) | heads(("9", HIDDEN), ("11", HIDDEN)),
                        "it has two heads"),
    "RND's target": (trunk("{}") | layer("7", 512, WIDE), NO_HEAD),
    "ICM": (trunk("encoder.{}") | layer("encoder.7", HIDDEN, WIDE) | layer("inverse.0", HIDDEN, 2 * HIDDEN)
            | heads(("inverse.2", 6)), "something beside or before a Q-network"),
    "MuZero": (layer("representation.conv", 64, 4, 3, 3) | layer("dynamics.conv", 64, 65, 3, 3)
               | heads(("prediction.fc_value", 601), ("prediction.fc_policy", 6)), "do not follow one another"),
    "AlphaZero": (layer("conv1", 64, 4, 3, 3) | layer("conv2", 64, 64, 3, 3) | layer("fc1", HIDDEN, 64 * 36)
                  | heads(("fc_pi", 7), ("fc_v", 1)), ACTOR),
    "a variational autoencoder": (FC | heads(("fc_mu", 32), ("fc_logvar", 32)), "a layer of a policy"),
    "a discriminator": (layer("main.0", 64, 3, 4, 4) | layer("main.2", 128, 64, 4, 4) | layer("main.5", 1, 8192),
                        NO_HEAD),
    "LeNet": (layer("conv1", 6, 1, 5, 5) | layer("conv2", 16, 6, 5, 5) | layer("fc1", 120, 256) | layer("fc2", 84, 120)
              | layer("fc3", 10, 84), "a third linear layer"),
    "digits, ten classes": (layer("conv1", 32, 1, 8, 8) | layer("conv2", 64, 32, 4, 4) | layer("fc1", HIDDEN, 576)
                            | heads(("fc2", 10)), ONE),
    "a classifier of images": (trunk("features.{}", channels=3) | layer("classifier.0", HIDDEN, WIDE)
                               | heads(("classifier.2", 10)), ONE),
    "a feature extractor": (EXTRACTED, NO_HEAD),
    "SB3 A2C": (EXTRACTED | layer("action_net", 6, 512) | layer("value_net", 1, 512), "the actor of an actor-critic"),
    "SB3 QR-DQN": ({f"quantile_net.{name}": shape for name, shape in
                    (EXTRACTED | layer("quantile_net.0", 1200, 512)).items()}, "is a name of quantile networks"),
    "CleanRL SAC's actor": (FC | heads(("fc_logits", 6)), ACTOR),
    "an actor-critic of silent names": (FC | heads(("out1", 1), ("out2", 6)), TWO),
    "successor features": (FC | heads(("sf", 6 * 64)), "384 rows are more than the 18 actions"),
    "option-critic": (FC | heads(("Q", 4), ("terminations", 4)) | {"options_W": (4, HIDDEN, 6), "options_b": (4, 6)},
                      "options_W (4, 64, 6) belongs to no layer"),
    "DRQN": (NUMBERED | cell("lstm", WIDE, 4) | heads(("fc", 6)), "nothing tells what the 6 numbers of fc.weight are"),
    "layer normalisation": (NATURE | layer("fc.0", HIDDEN, WIDE) | layer("fc.1", HIDDEN) | heads(("fc.3", 6)),
                            "a normalisation layer"),
    "steering and throttle": (FC | heads(("angle", 1), ("throttle", 1)), "it has two heads of 1 row each"),
    "several discrete actions": (FC | heads(("heads.0", 3), ("heads.1", 4)), "it has 2 heads, of 3 and 4 rows"),
    "branching DQN": (FC | heads(("value_head", 1), ("adv_heads.0", 3), ("adv_heads.1", 3)),
                      "it has 3 heads, of 1, 3 and 3 rows"),
    "RLlib DQN": (trunk("_convs.{}._model.0", (0, 1, 2)) | layer("advantage_module.dueling_A_0._model.0", HIDDEN, WIDE)
                  | layer("value_module.dueling_V_0._model.0", HIDDEN, WIDE)
                  | heads(("advantage_module.A._model.0", 6), ("value_module.V._model.0", 1)), ""),
    "ElegantRL's dueling network": (trunk("net_state.{}") | layer("net_state.7", HIDDEN, WIDE)
                                    | heads(("net_adv.0", 6), ("net_val.0", 1)), ""),
    "rlpyt DQN": (trunk("conv.conv.{}") | layer("head.model.0", HIDDEN, WIDE) | heads(("head.model.2", 6)), ""),
}  # fmt: skip
CLAIMED = {"RLlib DQN": "dueling", "ElegantRL's dueling network": "dueling", "rlpyt DQN": "dqn"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_code_base_saves_is_told_or_refused_in_one_sentence(kind):
    shapes, why = KINDS[kind]
    answer = classify(shapes)
    claimed = answer.chosen is not None and isinstance(answer.chosen.config, ModelConfig)
    assert (answer.architecture if claimed else None) == CLAIMED.get(kind)
    # Another family may know it.
    assert answer.chosen is not None or why in answer.refusal
    assert "\n" not in answer.refusal


def test_one_silent_head_is_assumed_and_no_more():
    answer = classify(KINDS["rlpyt DQN"][0])
    assert answer.chosen.origin["architecture"] == "assumed"
    assert {answer.chosen.origin[name] for name in ("encoder", "input_scale", "input_shape")} == {"assumed"}


_SMALL = {
    name: shape
    for number, channels in enumerate((4, 32, 32, 32), 1)
    for name, shape in layer(f"conv{number}", 32, channels, 3, 3).items()
}
_STRIDES = (
    "the strides of its convolutions cannot be told: no known encoder has convolutions with kernels of 3, 3, 3, 3"
)


def test_a_family_that_came_further_than_the_atari_dqns_says_what_kept_it():
    a3c = _SMALL | cell("lstm", 288, 4) | heads(("critic_linear", 1), ("actor_linear", 6))
    assert classify(a3c).refusal == f"no family of networks fits it: {_STRIDES} pixels"
    ppo = _SMALL | layer("linear", HIDDEN, 1152) | heads(("critic_linear", 1), ("actor_linear", 6))
    assert classify(ppo).refusal == f"critic_linear.weight is a name of actor-critics; {_STRIDES} pixels"
