"""Legacy checkpoints: files that pickle wrote, read without running or importing anything they name."""

__all__ = ()
