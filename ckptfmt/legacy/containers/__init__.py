"""How foreign files are packed: zips, tars, torch's streams, archives of arrays."""

__all__ = ()
