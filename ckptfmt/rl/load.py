"""Rebuild a network from a checkpoint, or from a legacy file."""

import os
import warnings
from collections.abc import Mapping
from typing import Any, TypeAlias, Unpack

import torch
from torch import nn

import ckptfmt
from ckptfmt.convert.unwritten import Unwritten, convert_in_memory
from ckptfmt.errors import AssumedWarning, CkptError, WeightsError, printable
from ckptfmt.families.blueprint import Blueprint
from ckptfmt.families.config import Config
from ckptfmt.families.facts import Reading
from ckptfmt.families.spaces import check_spaces, spaces_of
from ckptfmt.format.files import WEIGHTS
from ckptfmt.rl.device import parse_device
from ckptfmt.rl.families.factory import create_model_from_config
from ckptfmt.rl.families.noisy import reset_noise
from ckptfmt.rl.pieces import fill_pieces, is_spread_out
from ckptfmt.rl.stored import read_tensors
from ckptfmt.store.checkpoint import Checkpoint

__all__ = [
    "Opened", "check_network", "load_legacy_checkpoint", "load_model_checkpoint", "load_open_checkpoint",
    "unknown_network",
]  # fmt: skip

# What a network is loaded from.
Opened: TypeAlias = Checkpoint | Unwritten
Loaded = tuple[nn.Module, Any, dict[str, Any]]


def load_model_checkpoint(
    checkpoint_path: str | os.PathLike[str],
    device: str | torch.device = "cpu",
    *,
    env: Any = None,
    model: nn.Module | None = None,
    verify: bool | str | os.PathLike[str] = True,
) -> Loaded:
    """Return (network in eval mode on `device`, its config, training info) of a checkpoint or a legacy file.

    `training_info["game"]` is the config's game where the training info has none.

    Each tensor is verified by its digest as it is read, unless `verify` is False. Where `verify` is the path of a
    public key, the whole checkpoint must be signed with that key (`ckptfmt.verify`); otherwise no weight is used.
    Actions and frames of an `env` must be those of the network. Where the architecture is unknown, give the `model`
    that the weights belong to. Of a `model` that is spread over ranks (FSDP2, tensor parallelism) each rank reads what
    it holds, whatever number of them saved it. Warns with one `AssumedWarning` where the network's outputs depend on
    fields that a conversion had to assume. Raises `WeightsError` that names a damaged tensor, `CkptError` where network
    and `env` do not fit.
    """
    if os.path.isfile(checkpoint_path):
        if model is not None:
            raise CkptError(
                "model= is for checkpoints, and this is a legacy file",
                where=os.fspath(checkpoint_path),
                fix="convert it first: ckptfmt.convert(SOURCE, DEST)",
                code="load.model",
            )
        if not isinstance(verify, bool):
            raise CkptError(
                "is a legacy file, and only checkpoints are signed",
                where=os.fspath(checkpoint_path),
                fix="convert it first: ckptfmt.convert(SOURCE, DEST), and sign what was made of it",
                code="signature.missing",
            )
        return load_legacy_checkpoint(checkpoint_path, env, device)
    with Checkpoint(checkpoint_path) as checkpoint:
        if not isinstance(verify, bool):
            _check_signature(checkpoint, verify)
        _warn_of_assumed(checkpoint, model)
        return load_open_checkpoint(checkpoint, device, env=env, model=model, verify=verify is not False)


def load_legacy_checkpoint(
    checkpoint_path: str | os.PathLike[str],
    env: Any = None,
    device: str | torch.device = "cpu",
    **facts: Unpack[Reading],
) -> Loaded:
    """Return what `load_model_checkpoint` returns, of an old file that is converted on the way, in memory.

    Nothing of the file is run and nothing is written. `facts` are what it cannot say, as for `ckptfmt.convert`; an
    `env` says how many actions there are and what the frames are like. Raises what `ckptfmt.convert` raises.
    """
    if env is not None:
        played = spaces_of(env)
        seen: dict[str, Any] = {} if played.n_action is None else {"n_action": played.n_action}
        seen |= {"input_shape": played.input_shape} if len(played.input_shape) == 3 else {}
        facts = Reading(**{**seen, **facts})  # type: ignore[typeddict-item]
    converted = convert_in_memory(checkpoint_path, **facts)
    _warn_of_assumed(converted, None)
    return load_open_checkpoint(converted, device, env=env)


def load_open_checkpoint(
    checkpoint: Opened,
    device: str | torch.device = "cpu",
    *,
    env: Any = None,
    model: nn.Module | None = None,
    verify: bool = True,
) -> Loaded:
    """Do the work of `load_model_checkpoint` on a checkpoint that is open already, or was never written."""
    network, config = checkpoint.network, checkpoint.config
    place = parse_device(device)
    if env is not None and config is not None and hasattr(config, "input_shape"):
        check_spaces(config, env, checkpoint.path)
    if model is None:
        if network is None:
            raise unknown_network(checkpoint)
        check_network(checkpoint, network)
        model = create_model_from_config(config, "meta")
    elif isinstance(checkpoint, Checkpoint) and is_spread_out(model):
        fill_pieces(model, checkpoint, verify=verify)
        return model.eval(), config, _told(checkpoint.training_info, config)
    tensors = {name: tensor.to(place) for name, tensor in read_tensors(checkpoint, verify=verify).items()}
    _assign(model, tensors, checkpoint, network.optional() if network else frozenset(), place)
    return model.eval(), config, _told(checkpoint.training_info, config)


def _told(training_info: Mapping[str, Any], config: Config | None) -> dict[str, Any]:
    """Return what is known of the training; the game too where only the config names it."""
    game = getattr(config, "game", None)
    return {**({"game": game} if game else {}), **training_info}


def _warn_of_assumed(checkpoint: Opened, model: nn.Module | None) -> None:
    """Say once, of all fields together, that answers hang on what was assumed; a model of the caller's own knows."""
    origin = checkpoint.manifest.config_origin
    unseen = checkpoint.network.family.unseen if checkpoint.network else ()
    fields = [name for name in sorted(origin) if origin[name] == "assumed" and name not in unseen]
    if fields and model is None:
        warnings.warn(
            f"{checkpoint.path}: its answers depend on {', '.join(fields)}, which the source file did not say and the "
            "conversion assumed; convert it again and give what is known",
            AssumedWarning,
            # The line that called `load_model_checkpoint`.
            stacklevel=3,
        )


def _check_signature(checkpoint: Checkpoint, key: str | os.PathLike[str]) -> None:
    """Refuse a checkpoint that the holder of `key` did not sign as it is open here."""
    # Its tensors are verified by the manifest's digests as they are read, so the manifest is all that matters.
    found = ckptfmt.verify(checkpoint.path, key, deep=False)
    reasons = found.reasons or ("was replaced while its signature was checked",)
    if not found.good or found.manifest_digest != checkpoint.manifest.manifest_digest:
        raise CkptError(
            f"is not what was signed with this key: {reasons[0]}",
            where=checkpoint.path,
            fix="get it again from who signed it",
            code="signature.mismatch",
        )


def unknown_network(checkpoint: Opened) -> CkptError:
    """Return the error for a checkpoint whose network nobody here can build."""
    architecture, fix = checkpoint.manifest.architecture, "pass the network that these weights belong to as model="
    if architecture is None:
        return CkptError("its architecture is unknown", where=checkpoint.path, fix=fix, code="config.unknown")
    return CkptError(
        f"its network is of the family {printable(architecture.family, 80)}, which is not installed",
        where=checkpoint.path,
        fix=f"install the package that brings this family, or {fix}",
        code="config.family",
    )


def check_network(checkpoint: Opened, network: Blueprint) -> None:
    """Raise `WeightsError` unless the tensors in a checkpoint are those of the network that it describes."""
    if wrong := next(network.mismatches(checkpoint.manifest.weights.named), None):
        raise WeightsError(wrong, where=os.path.join(checkpoint.path, WEIGHTS), code="weights.shape")


def _assign(
    model: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    checkpoint: Opened,
    optional: frozenset[str],
    device: torch.device,
) -> None:
    try:
        result = model.load_state_dict(dict(tensors), strict=False, assign=True)
    except RuntimeError as e:
        # torch lists all that does not fit; its last line names one tensor and both shapes.
        raise _unfit(str(e).splitlines()[-1].strip(), checkpoint) from None
    absent = [name for name in result.missing_keys if name not in optional]
    # A batch normalisation adds a counter to what it loads, which the file has not.
    strange = [name for name in result.unexpected_keys if name in tensors]
    if absent or strange:
        surplus = [f"has no {name}" for name in absent] + [f"has also {name}" for name in strange]
        raise _unfit(f"the file {surplus[0]}", checkpoint)
    if result.missing_keys:
        _make_noise(model, result.missing_keys, device)
    _tie(model, checkpoint.manifest.weights.tied)


def _make_noise(model: nn.Module, names: list[str], device: torch.device) -> None:
    """Give the noise that a file leaves out memory and values; eval mode does not use it."""
    for name in names:
        owner, _, buffer = name.rpartition(".")
        module = model.get_submodule(owner)
        dtype = next(module.parameters()).dtype
        setattr(module, buffer, torch.empty_like(getattr(module, buffer), device=device, dtype=dtype))
    reset_noise(model)


def _tie(model: nn.Module, tied: Mapping[str, str]) -> None:
    """Make names that share a stored tensor one parameter again."""
    for name, stored in tied.items():
        owner, _, attribute = name.rpartition(".")
        source, _, original = stored.rpartition(".")
        setattr(model.get_submodule(owner), attribute, getattr(model.get_submodule(source), original))


def _unfit(what: str, checkpoint: Opened) -> WeightsError:
    return WeightsError(
        f"the weights are not those of the model given: {what}", where=checkpoint.path, code="weights.shape"
    )
