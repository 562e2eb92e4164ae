"""The target: an agent that its own class loads, plays and trains on.

What SB3 keeps beside the weights is JSON; what of it JSON has not must be pickles, and each is one name, or calls of
public constructors, written here opcode by opcode. Nothing in the zip is the image of a living object.
"""

from typing import Any

from ckptfmt.share.export.sb3.archive import write_zip
from ckptfmt.share.export.sb3.plan import plan
from ckptfmt.share.export.target import Outline, Target, left_out
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["SB3"]

_GIVEN = ', custom_objects={"observation_space": env.observation_space, "action_space": env.action_space}'


def _outline(checkpoint: Checkpoint, dest: str, algorithm: str) -> Outline:
    made = plan(checkpoint, algorithm)
    name = made.algorithm.name
    policy = made.algorithm.alias(made.agent.frames)
    return Outline(
        f"{name}, {policy}, {_actions(checkpoint.config)}",
        f'{name}.load("{dest}"{"" if made.is_told else _GIVEN})',
        lambda file: write_zip(checkpoint, made, file),
        left_out(checkpoint),
        made.anew(),
        name,
    )


def _actions(config: Any) -> str:
    if config.n_action is not None:
        return f"{config.n_action} actions"
    if choices := getattr(config, "choices", None):
        return f"{len(choices)} choices of {', '.join(map(str, choices))} actions"
    return f"actions of {config.action_dim} numbers"


SB3 = Target("sb3", _outline, "ckptfmt.rl.export.sb3:check_sb3")
