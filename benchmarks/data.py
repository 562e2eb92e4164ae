"""Make the data of a benchmark, in a process of its own: `python -m benchmarks.data KIND TARGET …`."""

import dataclasses
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import ckptfmt
from ckptfmt.format.files import MANIFEST, WEIGHTS
from ckptfmt.format.manifest import render_manifest

__all__ = ["make"]

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# As in the reference project: 84 × 84, four frames, 512 hidden units. 4 actions make 6.7 MB.
_ACTIONS = 4
_HIDDEN = 512


def make(kind: str, *words: object) -> None:
    """Run one of this module's functions on its own, so that the caller stays small."""
    subprocess.run([sys.executable, "-m", "benchmarks.data", kind, *map(str, words)], check=True, cwd=_ROOT)


def network(target: str, hidden: str = str(_HIDDEN)) -> None:
    """Write the `.pth` of a trained DQN."""
    import torch

    torch.manual_seed(0)
    model = ckptfmt.create_model_from_config(
        ckptfmt.ModelConfig(input_shape=(4, 84, 84), n_action=_ACTIONS, hidden_size=int(hidden))
    )
    torch.save({"model_state_dict": model.state_dict(), "frame_idx": 200_000, "episode_idx": 812}, target)


def large(target: str, mib: str, tensors: str = "64") -> None:
    """Write a `.pth` of float32 tensors of one size, `mib` MiB in all."""
    import torch

    torch.save({"model_state_dict": state_dict(int(mib), int(tensors))}, target)


def pair(target: str, mib: str, tensors: str = "64") -> None:
    """Write three checkpoints: `a`, `one` of which one tensor differs from it, and `all` of which all do."""
    state = state_dict(int(mib), int(tensors))
    ckptfmt.save(os.path.join(target, "a"), state).close()
    name = f"layer.{int(tensors) // 2}.weight"
    ckptfmt.save(os.path.join(target, "one"), {**state, name: state[name] * 1.5}).close()
    ckptfmt.save(os.path.join(target, "all"), {name: tensor * 1.5 for name, tensor in state.items()}).close()


def run_folder(target: str, count: str) -> None:
    """Write the folder of a run with `count` checkpoints of a tiny network, as a manager leaves it, but unsynced."""
    import numpy as np

    layers = ("conv.0", "conv.2", "conv.4", "fc.0", "fc.2")
    arrays = {f"{layer}.{part}": np.zeros(64, "f4") for layer in layers for part in ("weight", "bias")}
    manager = ckptfmt.CheckpointManager(target)
    first = manager.save(0, arrays, training_info={"frame_idx": 0}, metrics={"reward": 0.5})
    with ckptfmt.open(first) as checkpoint:
        manifest = checkpoint.manifest
    for step in range(1, int(count)):
        folder = manager.path(step)
        os.mkdir(folder)
        shutil.copyfile(os.path.join(first, WEIGHTS), os.path.join(folder, WEIGHTS))
        extra = {"manager": {"step": step, "metrics": {"reward": step + 0.5}}}
        own = dataclasses.replace(manifest, training_info={"frame_idx": step}, extra=extra).sealed()
        with open(os.path.join(folder, MANIFEST), "wb") as file:
            file.write(render_manifest(own))


def state_dict(mib: int, tensors: int = 64) -> dict[str, Any]:
    """Return a state dict of float32 tensors of one size; the numbers are normally distributed."""
    import numpy as np
    import torch

    numbers = np.random.default_rng(0)
    rows = max(1, (mib << 20) // tensors // 4096)
    return {
        f"layer.{index}.weight": torch.from_numpy(numbers.standard_normal((rows, 1024), dtype="f4"))
        for index in range(tensors)
    }


_KINDS: dict[str, Callable[..., None]] = {f.__name__: f for f in (network, large, pair, run_folder)}

if __name__ == "__main__":
    _KINDS[sys.argv[1]](*sys.argv[2:])
