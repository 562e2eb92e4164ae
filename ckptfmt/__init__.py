"""Checkpoints for deep reinforcement learning that explain, prove and rebuild themselves."""

__version__ = "0.1.0"
