"""Stores that are reached by a URL: buckets, servers, the hub; nothing here knows what a checkpoint is."""

__all__ = ()
