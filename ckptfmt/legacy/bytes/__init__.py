"""The bytes of a foreign file: bounded reads, strided elements, storages, what lies compressed."""

__all__ = ()
