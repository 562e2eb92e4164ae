"""Environments: described, built, played in, and stored."""

from ckptfmt.rl.envs.description import Environment, describe_env, make_env

__all__ = ["Environment", "describe_env", "make_env"]
