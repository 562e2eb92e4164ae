"""What an environment's spaces say of the network that plays in it; told by names, so that gymnasium is not needed."""

from math import prod
from typing import Any

from ckptfmt.errors import CkptError, ManifestError
from ckptfmt.format.record import record
from ckptfmt.format.safetensors import shape_text

__all__ = ["Spaces", "check_spaces", "is_agent", "played_spaces", "spaces_of"]

_ACTIONS = ("n_action", "action_dim", "choices")


@record
class Spaces:
    """What is done and what is seen: of the three kinds of actions all but one are None.

    `n_action` actions of which one is taken, `action_dim` real numbers, or one of so many actions for each of several
    `choices`. `input_shape` is (channels, height, width) of images, (features,) of other arrays.
    """

    input_shape: tuple[int, ...]
    n_action: int | None = None
    action_dim: int | None = None
    choices: tuple[int, ...] | None = None

    @property
    def actions(self) -> str:
        """Return what is done, for a sentence."""
        if self.choices is not None:
            return f"choices of {', '.join(map(str, self.choices))}"
        return f"{self.action_dim} real numbers" if self.action_dim is not None else str(self.n_action)


def spaces_of(env: Any) -> Spaces:
    """Return the spaces of an environment, of one of many where it is a vector of them.

    Raises `ManifestError` where its actions are of another kind, or there is no single array to look at.
    """
    actions, kind = _space(env, "action"), type(_space(env, "action")).__name__
    if kind == "Box":
        return Spaces(_seen(env), action_dim=prod(int(size) for size in actions.shape))
    if kind == "MultiDiscrete":
        return Spaces(_seen(env), choices=tuple(int(count) for count in actions.nvec.reshape(-1)))
    if not hasattr(actions, "n") or kind == "MultiBinary":
        fix = "give an environment whose action space is Discrete, MultiDiscrete or Box"
        raise ManifestError(f"the action space is {kind}", where="env", fix=fix, code="environment.unfit")
    return Spaces(_seen(env), n_action=int(actions.n))


def played_spaces(env: Any) -> Spaces:
    """Return the spaces of an environment of discrete actions, of one of many where it is a vector of them.

    Raises `ManifestError` where there is no count of actions or no single array to look at.
    """
    actions = _space(env, "action")
    if not hasattr(actions, "n"):
        fix = "a value network has one output per action; give an environment whose action space is Discrete"
        what = f"the action space is {type(actions).__name__}, not Discrete"
        raise ManifestError(what, where="env", fix=fix, code="environment.unfit")
    return Spaces(_seen(env), n_action=int(actions.n))


def is_agent(config: Any) -> bool:
    """Whether a network with this config says what to do: a value and critics alone do not."""
    valued = getattr(config, "policy", None) is None and getattr(config, "n_action", None) is None
    critics = valued and getattr(config, "n_critics", None) is not None
    return not critics and any(getattr(config, name, None) is not None for name in _ACTIONS)


def check_spaces(config: Any, env: Any, where: str, *, inside: bool = False) -> None:
    """Raise `CkptError` where a network has other actions or sees something else than an environment gives.

    For an environment `inside` of others, images may have their channels last, and fewer of them: frames are often
    stacked around it.
    """
    own = Spaces(tuple(config.input_shape), **{name: getattr(config, name, None) for name in _ACTIONS})
    played = played_spaces(env) if own.n_action is not None else spaces_of(env)
    wrong = []
    if is_agent(config) and played.actions != own.actions:
        wrong.append(f"actions {own.actions} (network) and {played.actions} (environment)")
    shape = played.input_shape
    first, last = shape, (*shape[-1:], *shape[:-1])
    fits = any(_fit(own.input_shape, seen) for seen in (first, last)) if inside else shape == own.input_shape
    if not fits:
        seen = "frames" if len(own.input_shape) == 3 else "observations"
        wrong.append(f"{seen} {shape_text(own.input_shape)} (network) and {shape_text(shape)} (environment)")
    if wrong:
        raise CkptError(
            f"network and environment do not match: {', '.join(wrong)}",
            where=where,
            fix="make the environment that the network was trained on",
            code="environment.unfit",
        )


def _fit(wanted: tuple[int, ...], seen: tuple[int, ...]) -> bool:
    if len(seen) == len(wanted) - 1:
        seen = (1, *seen)
    return len(seen) == len(wanted) and seen[1:] == wanted[1:] and wanted[0] % seen[0] == 0


def _seen(env: Any) -> tuple[int, ...]:
    seen = _space(env, "observation")
    shape = getattr(seen, "shape", None)
    if type(seen).__name__ in ("Dict", "Tuple") or not shape:
        raise ManifestError(
            f"the observation space is {type(seen).__name__}, and the network sees one array",
            where="env",
            fix="give an environment whose observation space is a Box, for example its images alone",
            code="environment.unfit",
        )
    shape = tuple(int(size) for size in shape)
    # Stacks of grey frames keep the one channel of each at their end.
    return shape[:-1] if len(shape) == 4 and shape[-1] == 1 else shape


def _space(env: Any, kind: str) -> Any:
    """A vector env's spaces describe the whole batch; its single_ spaces describe one."""
    space = getattr(env, f"single_{kind}_space", None)
    return space if space is not None else getattr(env, f"{kind}_space")
