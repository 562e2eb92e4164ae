"""Folders of torch.distributed.checkpoint: tensors that several processes wrote in parts, read as whole ones."""

__all__ = ()
