"""Pickles read as data: an interpreter of ours that runs nothing and imports nothing."""

__all__ = ()
