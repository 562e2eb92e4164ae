"""The families of networks: what each is made of, and how it is told from tensors.

>>> [family.name for family in ckptfmt.families.known_families()]       # those that are installed
>>> ckptfmt.families.known_family("actor-critic").fields                # what one is rebuilt from
"""

from ckptfmt.families.known import Known, known_families, known_family

__all__ = ("Known", "known_families", "known_family")
