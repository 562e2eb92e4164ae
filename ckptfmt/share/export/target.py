"""What an export makes: a target's file, what it cannot hold, and the checkpoint seen with the target's eyes."""

from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from ckptfmt.errors import ConversionError, ManifestError, printable
from ckptfmt.families.atari_dqn.config import ModelConfig
from ckptfmt.families.config import Config
from ckptfmt.families.network import NetworkConfig
from ckptfmt.format.files import REPLAY, STATE
from ckptfmt.format.record import record
from ckptfmt.look.figures import finite
from ckptfmt.share.export.torchfile import StoredTensor
from ckptfmt.store.checkpoint import Checkpoint

__all__ = [
    "Outline",
    "Target",
    "environment_scale",
    "left_out",
    "pixel_scale",
    "require",
    "require_config",
    "require_plain",
    "stored_tensors",
    "unfit",
]

_WHERE_TO = "export it to torch or onnx"


@record
class Outline:
    """What an export will make, known before a byte is written.

    `summary` says what the other library will see in it, `loads_with` the line of code that loads it, `write`
    writes the file. `left_out` is what of the checkpoint the target has no place for, `anew` what a training begins
    anew with there; `algorithm` is the library's class of agents, where it has such.
    """

    summary: str
    loads_with: str
    write: Callable[[BinaryIO], None]
    left_out: tuple[str, ...] = ()
    anew: tuple[str, ...] = ()
    algorithm: str = ""


@record
class Target:
    """A form in which another library reads networks.

    `outline` takes the checkpoint, the name that the file will have and the algorithm that was asked for, "" for none;
    it raises `ConversionError` for a network that the target cannot hold. `check` names the function that loads the
    file with the other library and compares, as `module:function`; it takes the checkpoint, the file and the outline.
    """

    name: str
    outline: Callable[[Checkpoint, str, str], Outline]
    check: str


def unfit(what: str, fix: str = _WHERE_TO) -> ConversionError:
    """Return the error that says what a target cannot hold; where that is, who knows the checkpoint adds."""
    return ConversionError(what, fix=fix, code="export.unfit")


def require(true: bool, what: str) -> None:
    """Raise `ConversionError` that says what a target cannot hold, unless it can."""
    if not true:
        raise unfit(what)


def require_config(checkpoint: Checkpoint, target: str) -> Config:
    """Return the config of a network of any family; raise `ConversionError` where it is unknown."""
    config: Config | None = checkpoint.config
    if config is None:
        what = "its architecture is unknown"
        if (architecture := checkpoint.manifest.architecture) is not None:
            what = f"its family {printable(architecture.family, 60)} is not installed"
        raise unfit(
            f"{target} needs to know the network, and {what}", "export it to torch, which takes tensors as they are"
        )
    return config


def require_plain(config: Any, library: str) -> None:
    """Raise `ConversionError` for what networks of no library have: running statistics, several that give Q-values."""
    kept = [getattr(config, name, "none") for name in ("normalizer", "value_normalizer")]
    require(
        kept == ["none", "none"], f"{library}'s networks normalise nothing by running statistics, and this one does"
    )
    stretched = getattr(config, "deviation_range", None) and getattr(config, "deviation_bound", "") == "tanh"
    require(not stretched, f"{library}'s networks clamp deviations, and this one stretches a tanh over their range")
    several = getattr(config, "policy", None) is None and getattr(config, "n_critics", None) is not None
    require(not several, f"{library}'s agents have one network of Q-values, and this one has several")


def left_out(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what no target holds beside the network, in words."""
    manifest = checkpoint.manifest
    parts = {
        "optimizer and generators": STATE in manifest.contents,
        "replay buffer": REPLAY in manifest.contents,
        "evaluations": bool(manifest.evaluation),
    }
    return tuple(name for name, there in parts.items() if there)


def pixel_scale(checkpoint: Checkpoint, config: ModelConfig | NetworkConfig) -> float:
    """Return by what is seen is divided before the first layer, outside of the network and inside together."""
    return config.input_scale * environment_scale(checkpoint)


def environment_scale(checkpoint: Checkpoint) -> float:
    """Return by what the environment divides pixels; 1 where nobody says that it does.

    Raises `ManifestError` where the manifest says something that divides nothing.
    """
    told = checkpoint.manifest.environment.get("observation_scale", 1.0)
    scale = finite(told)
    if scale is None or scale <= 0:
        raise ManifestError(
            f"must be a number greater than 0, not {printable(told, 60)}",
            where=f"{checkpoint.path} $.environment.observation_scale",
            code="environment.value",
        )
    return scale


def stored_tensors(checkpoint: Checkpoint, rename: Callable[[str], str]) -> Mapping[str, StoredTensor]:
    """Return the network's tensors under other names, each read and verified when it is written."""
    return {rename(name): _stored(checkpoint, name) for name in checkpoint.names()}


def _stored(checkpoint: Checkpoint, name: str) -> StoredTensor:
    info: Any = checkpoint.info(name)
    return StoredTensor(info.dtype, tuple(info.shape), lambda: checkpoint.read(name))
