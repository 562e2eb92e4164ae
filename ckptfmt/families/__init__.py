"""The families of networks: what each is made of, and how it is told from tensors."""

__all__ = ()
