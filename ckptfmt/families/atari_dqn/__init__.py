"""Which of the eight Atari DQN architectures a set of tensors is, told from shapes."""

from ckptfmt.families.atari_dqn.answer import Candidate, Classification, Facts, Placement
from ckptfmt.families.atari_dqn.classify import classify

__all__ = ["Candidate", "Classification", "Facts", "Placement", "classify"]
