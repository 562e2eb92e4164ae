"""Environments: described, built, played in, and stored."""

from ckptfmt.rl.environment import Environment
from ckptfmt.rl.envs.description import describe_env
from ckptfmt.rl.envs.make import make_env

__all__ = ["Environment", "describe_env", "make_env"]
