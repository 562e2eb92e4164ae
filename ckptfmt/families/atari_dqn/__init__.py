"""Which of the eight Atari DQN architectures a set of tensors is, told from shapes."""

from ckptfmt.families.atari_dqn.answer import Candidate, Classification, Placement
from ckptfmt.families.atari_dqn.classify import classify
from ckptfmt.families.atari_dqn.family import FAMILY
from ckptfmt.families.skeleton import Facts

__all__ = ["FAMILY", "Candidate", "Classification", "Facts", "Placement", "classify"]
