"""What an environment's spaces say of the network that plays in it; told by names, so that gymnasium is not needed."""

from dataclasses import dataclass
from typing import Any

from ckptfmt.errors import CkptError, ManifestError
from ckptfmt.format.safetensors import shape_text

__all__ = ["Spaces", "check_spaces", "played_spaces"]


@dataclass(frozen=True, slots=True)
class Spaces:
    """How many actions there are, and the shape of what is seen: (channels, height, width) of images."""

    n_action: int
    input_shape: tuple[int, ...]


def played_spaces(env: Any) -> Spaces:
    """Return the spaces of an environment, of one of many where it is a vector of them.

    Raises `ManifestError` where there is no count of actions or no single array to look at.
    """
    actions, seen = _space(env, "action"), _space(env, "observation")
    kind = type(actions).__name__
    if not hasattr(actions, "n"):
        fix = "a value network has one output per action; give an environment whose action space is Discrete"
        raise ManifestError(f"the action space is {kind}, not Discrete", where="env", fix=fix, code="environment.unfit")
    shape = getattr(seen, "shape", None)
    if type(seen).__name__ in ("Dict", "Tuple") or not shape:
        raise ManifestError(
            f"the observation space is {type(seen).__name__}, and the network sees one array",
            where="env",
            fix="give an environment whose observation space is a Box, for example its images alone",
            code="environment.unfit",
        )
    shape = tuple(int(size) for size in shape)
    return Spaces(int(actions.n), shape[:-1] if len(shape) == 4 and shape[-1] == 1 else shape)


def check_spaces(n_action: int, input_shape: tuple[int, ...], env: Any, where: str, *, inside: bool = False) -> None:
    """Raise `CkptError` where a network has other actions or sees other images than an environment gives.

    For an environment `inside` of others, images may have their channels last, and fewer of them: frames are often
    stacked around it.
    """
    played = played_spaces(env)
    wrong = []
    if played.n_action != n_action:
        wrong.append(f"actions are {n_action} and {played.n_action}")
    shape = played.input_shape
    first, last = shape, (*shape[-1:], *shape[:-1])
    fits = any(_fit(input_shape, seen) for seen in (first, last)) if inside else shape == tuple(input_shape)
    if not fits:
        wrong.append(f"frames are {shape_text(input_shape)} and {shape_text(shape)}")
    if wrong:
        raise CkptError(
            f"network and environment do not fit, their {' and their '.join(wrong)}",
            where=where,
            fix="make the environment that the network was trained on",
            code="environment.unfit",
        )


def _fit(wanted: tuple[int, ...], seen: tuple[int, ...]) -> bool:
    if len(seen) == len(wanted) - 1:
        seen = (1, *seen)
    return len(seen) == len(wanted) and seen[1:] == wanted[1:] and wanted[0] % seen[0] == 0


def _space(env: Any, kind: str) -> Any:
    """A vector env's spaces describe the whole batch; its single_ spaces describe one."""
    space = getattr(env, f"single_{kind}_space", None)
    return space if space is not None else getattr(env, f"{kind}_space")
