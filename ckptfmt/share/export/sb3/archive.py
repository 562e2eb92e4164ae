"""The files of a zip of Stable-Baselines3: JSON for the agent, torch files for its networks and optimizers."""

import base64
import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from ckptfmt.share.export.opcodes import Call, Name, pickled
from ckptfmt.share.export.sb3.plan import Plan
from ckptfmt.share.export.sb3.spaces import Space
from ckptfmt.share.export.target import stored_tensors
from ckptfmt.share.export.torchfile import StoredTensor, torch_bytes
from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["write_zip"]

# The version whose form is written; SB3 prints a warning for newer ones alone.
_VERSION = "2.4.0"


def write_zip(checkpoint: Checkpoint, made: Plan, file: BinaryIO) -> None:
    """Write the zip of an agent; every tensor is verified as it is read."""
    parts = {
        # Indented as SB3 does it.
        "data": json.dumps(_data(made), indent=4).encode(),
        "policy.pth": torch_bytes(_tensors(checkpoint, made), "policy"),
        **_optimizers(checkpoint, made),
        "pytorch_variables.pth": torch_bytes(_variables(made), "pytorch_variables"),
        "_stable_baselines3_version": _VERSION.encode(),
        "system_info.txt": b"exported by ckptfmt\n",
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            # The earliest moment that a zip can name, so that one checkpoint makes one file.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)


def _data(made: Plan) -> dict[str, Any]:
    algorithm = made.algorithm
    policy = algorithm.on_frames if made.agent.frames else algorithm.on_features
    about = {"__module__": algorithm.policies, "__init__": f"<function {policy}.__init__>"}
    kwargs: Any = made.kwargs
    if any(isinstance(item, Name) for item in kwargs.values()):
        kwargs = _pickled("dict", kwargs, {name: _plain(item) for name, item in kwargs.items()})
    return {
        "policy_class": _pickled("type", Name(algorithm.policies, policy), about),
        "observation_space": _space(made.observation),
        "action_space": _space(made.action),
        "policy_kwargs": kwargs,
        "verbose": 0,
        "n_envs": 1,
        "use_sde": made.agent.use_sde,
        **algorithm.data,
        **made.settings,
    }


def _space(space: Space) -> dict[str, Any]:
    function = space.call.function
    return _pickled(f"{function.module}.{function.name}", space.call, space.attributes)


def _pickled(kind: str, value: Call | Name | Mapping[str, Any], attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value as SB3 keeps what is no JSON: the base64 of a pickle, and its attributes as text."""
    data = base64.b64encode(pickled(value)).decode()
    return {":type:": f"<class '{kind}'>", ":serialized:": data, **attributes}


def _plain(item: Any) -> Any:
    return f"<class '{item.module}.{item.name}'>" if isinstance(item, Name) else item


def _tensors(checkpoint: Checkpoint, made: Plan) -> dict[str, StoredTensor]:
    found: dict[str, StoredTensor] = {}
    for name, stored in stored_tensors(checkpoint, str).items():
        tensor = _by_quantile(stored, checkpoint.config) if name in made.agent.reordered else stored
        # A target network is another one, with its own bytes; a features extractor that two share is not.
        target = replace(tensor)
        for one in made.agent.called(name):
            found[one] = target if "_target" in one.partition(".")[0] else tensor
    return found


def _by_quantile(tensor: StoredTensor, config: Any) -> StoredTensor:
    """Return a tensor whose rows lie together by quantile, not by action; nothing else of it is changed."""
    actions, quantiles = config.n_action, config.n_quantiles

    def read() -> bytes:
        data = tensor.read()
        size = len(data) // (actions * quantiles)
        order = (action * quantiles + quantile for quantile in range(quantiles) for action in range(actions))
        return b"".join(data[row * size : (row + 1) * size] for row in order)

    return replace(tensor, read=read)


def _optimizers(checkpoint: Checkpoint, made: Plan) -> dict[str, bytes]:
    """Return the files of new optimizers, which know no step yet."""
    called = [made.agent.called(name) for name in checkpoint.names()]
    counts = {
        name: sum(any(one.startswith(begin) for one in theirs) for theirs in called)
        for name, begin in made.agent.optimizers.items()
    }
    if made.is_tempered and made.coefficient is None:
        counts["ent_coef_optimizer"] = 1
    return {f"{name}.pth": torch_bytes(_optimizer(made, count), name) for name, count in counts.items()}


def _optimizer(made: Plan, count: int) -> dict[str, Any]:
    """Return the state of a new optimizer as torch holds it: one group of parameters, no steps."""
    # torch's defaults.
    adam = {"betas": (0.9, 0.999), "eps": 1e-08, "weight_decay": 0, "amsgrad": False, "decoupled_weight_decay": False}
    rms = {"momentum": 0, "centered": False}
    own = made.algorithm.optimizer
    flags = {"maximize": False, "capturable": False, "differentiable": False, "foreach": None}
    rate = made.settings.get("learning_rate", made.algorithm.learning_rate)
    group = {"lr": rate, **(rms if "alpha" in own else {**adam, "fused": None}), **own, **flags}
    return {"state": {}, "param_groups": [{**group, "params": list(range(count))}]}


def _variables(made: Plan) -> dict[str, StoredTensor]:
    """Return the coefficient of the entropy: the logarithm of one that is learned, or a fixed one."""
    if not made.is_tempered:
        return {}
    if made.coefficient is None:
        # Four zero bytes are 0.0, the logarithm of 1, from which SB3 begins.
        return {"log_ent_coef": StoredTensor("F32", (1,), lambda: bytes(4))}
    data = struct.pack("<f", made.coefficient)
    return {"ent_coef_tensor": StoredTensor("F32", (), lambda: data)}
