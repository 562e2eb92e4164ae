"""Checkpoints out of trainers that are not ours."""

__all__ = ()
