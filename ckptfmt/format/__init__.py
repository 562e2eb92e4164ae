"""The format of a checkpoint: its manifest, its files, its digests, without knowing any network."""

__all__ = ()
