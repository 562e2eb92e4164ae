"""CleanRL's files: what its scripts save, loaded by the classes of these scripts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from ckptfmt.share.export.scripts import Script, script_of
from ckptfmt.share.export.target import (
    Outline,
    Target,
    left_out,
    pixel_scale,
    require,
    require_config,
    require_plain,
    stored_tensors,
)
from ckptfmt.share.export.torchfile import StoredTensor, write_torch_file
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["CLEANRL"]


def _outline(checkpoint: Checkpoint, dest: str, algorithm: str) -> Outline:
    config: Any = require_config(checkpoint, "CleanRL")
    require_plain(config, "CleanRL")
    script = script_of(config)
    scale = pixel_scale(checkpoint, config)
    seen = "pixels by 255" if script.divisor != 1 else "features by nothing"
    require(
        scale == script.divisor,
        f"CleanRL's network divides {seen}, and those of this one are divided by {scale:g}",
    )
    acts = f"{config.n_action} actions" if config.n_action is not None else f"actions of {config.action_dim} numbers"
    return Outline(
        f"{script.classes} of {script.file}, {acts}",
        _load(script, f'torch.load("{dest}", weights_only=True)'),
        lambda file: _write(checkpoint, script, file),
        (*left_out(checkpoint), *(("target copies",) if getattr(config, "target", "none") != "none" else ())),
    )


def _load(script: Script, file: str) -> str:
    if len(script.names) > 1:
        return f"{', '.join(('actor', 'qf1', 'qf2')[: len(script.names)])} = {file}"
    whose = "q_network" if script.classes == "QNetwork" else "agent"
    inner = '["model_weights"]' if script.wrapped else ""
    return f"{whose}.load_state_dict({file}{inner})"


def _write(checkpoint: Checkpoint, script: Script, file: BinaryIO) -> None:
    stored = stored_tensors(checkpoint, str)
    parts = tuple(dict(_part(stored, names)) for names in script.names)
    value: Any = parts[0] if len(parts) == 1 else parts
    if script.wrapped:
        config: Any = checkpoint.config
        support = {"n_atoms": config.n_atoms, "v_min": config.v_min, "v_max": config.v_max}
        value = {"model_weights": value, "args": {"env_id": checkpoint.manifest.environment.get("id"), **support}}
    write_torch_file(file, value)


def _part(stored: Mapping[str, StoredTensor], names: Mapping[str, str]) -> dict[str, StoredTensor]:
    """Return the tensors of one of the script's state dicts."""
    found = {}
    for name, tensor in stored.items():
        layer, _, parameter = name.rpartition(".")
        if name in names:
            # Its deviation is a row of a batch.
            found[names[name]] = replace(tensor, shape=(1, *tensor.shape)) if name == "deviation" else tensor
        elif layer in names:
            found[f"{names[layer]}.{parameter}"] = tensor
    return found


CLEANRL = Target("cleanrl", _outline, "ckptfmt.rl.export.cleanrl:check_cleanrl")
