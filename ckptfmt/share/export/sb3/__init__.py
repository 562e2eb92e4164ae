"""Stable-Baselines3's zips, and those of sb3-contrib: agents that `DQN.load` and its like read, play and train on."""

from ckptfmt.share.export.sb3.target import SB3

__all__ = ["SB3"]
