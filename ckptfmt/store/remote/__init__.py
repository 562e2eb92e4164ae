"""Checkpoints written into buckets, whole or not at all, by conditions that the store checks: no lock, no clock."""

__all__ = ()
