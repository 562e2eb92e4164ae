"""The Atari DQNs: which of the eight architectures a set of tensors is, told from shapes."""

from ckptfmt.families.atari_dqn.family import FAMILY

__all__ = ["FAMILY"]
