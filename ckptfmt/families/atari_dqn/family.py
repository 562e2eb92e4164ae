"""The family of Atari DQNs: one of eight networks over a convolutional trunk."""

from ckptfmt.families.atari_dqn.classify import recognise
from ckptfmt.families.atari_dqn.config import UNSEEN, ModelConfig
from ckptfmt.families.atari_dqn.expected import expected_tensors, optional_tensors
from ckptfmt.families.registry import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    name=ModelConfig.family,
    about="Value networks for Atari games: DQN with any of dueling streams, C51 and noisy layers",
    examples=("dqn", "dueling", "distributional", "noisy"),
    told_by="words, a layout, a support of evenly rising values, sigmas of one sign",
    never="activation, scaling, padding, strides, the join of streams, the size of frames",
    config=ModelConfig,
    network_name=ModelConfig.get_architecture_name,
    tensors=expected_tensors,
    optional=optional_tensors,
    unseen=UNSEEN,
    recognise=recognise,
)
