"""Which of the eight Atari DQN architectures a set of tensors is, told from shapes."""

from ckptfmt.architecture.answer import Candidate, Classification, Facts, Placement
from ckptfmt.architecture.classify import classify

__all__ = ["Candidate", "Classification", "Facts", "Placement", "classify"]
