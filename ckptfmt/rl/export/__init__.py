"""Exports that need torch: graphs of networks, and what other libraries make of our files."""

__all__ = ()
