"""Checkpoints taken elsewhere: files that other libraries load, checked with these libraries."""

from ckptfmt.share.export.export import TARGETS, Export, export

__all__ = ["TARGETS", "Export", "export"]
