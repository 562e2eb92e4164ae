"""Row 16: compressed checkpoints and a packed run, of Pong: `python -m benchmarks.smaller FOLDER ROUNDS STEPS`."""

import json
import os
import shutil
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.bench import Bench, Row, forget
from benchmarks.measure import Comparison, Cost, Result, compare, timed

__all__ = ["ROWS"]

_CHECKPOINTS = 13
_STATE, _REPLAY = "state.safetensors", "replay.safetensors"


def _smaller(bench: Bench) -> list[Result]:
    found = bench.answer("smaller", bench.folder, str(bench.rounds(9)), str(bench.size(14_000, 168)))
    work = "Pong checkpoint with state and replay, compressed"
    return [
        Result(16, f"{work}: size", "plain", found["size"], 0.18),
        Result.of(16, f"{work}: save", "plain", 1.0, Comparison.of(found["save"])),
        Result.of(16, f"{work}: load of the replay, from the disk", "plain", 0.5, Comparison.of(found["load"])),
        Result(16, f"{work}: bytes read for the largest tensor of the state", "the file", found["tensor"], 0.5),
        Result(16, f"{_CHECKPOINTS} checkpoints of that run, with state, packed: size", "plain", found["pack"], 0.27),
    ]


ROWS = (Row(16, _smaller),)


def measure(folder: str, rounds: int, steps: int) -> dict[str, Any]:
    """Train, unless the folder `run` is there already, and return the figures."""
    run = os.path.join(folder, "run")
    if not os.path.isdir(run):
        _train(run, steps)
    return {**compressed(folder, run, rounds), "pack": packed(folder, run)}


def compressed(folder: str, run: str, rounds: int) -> dict[str, Any]:
    """Return the figures of the last checkpoint of a training, which holds the replay buffer."""
    import ckptfmt
    from ckptfmt.store.arrays import Arrays

    last = max(name for name in os.listdir(run) if name.startswith("step-"))
    with ckptfmt.open(os.path.join(run, last)) as checkpoint:
        config = checkpoint.config
        parts = {file: dict(Arrays(checkpoint, file)) for file in checkpoint.manifest.files}
    weights, more = parts.pop("weights.safetensors"), {file.partition(".")[0]: part for file, part in parts.items()}
    small, plain = os.path.join(folder, "small"), os.path.join(folder, "plain")

    def settle() -> None:
        for used in (small, plain):
            shutil.rmtree(used, ignore_errors=True)
        os.sync()

    def save(path: str, compress: bool) -> Cost:
        return timed(lambda: ckptfmt.save(path, weights, config, compress=compress, **more).close())

    saved = compare(lambda: save(small, True), lambda: save(plain, False), rounds, settle)
    settle()
    save(small, True), save(plain, False)
    sizes = {path: sum(entry.stat().st_size for entry in os.scandir(path)) for path in (small, plain)}

    def load(path: str) -> Cost:
        forget([entry.path for entry in os.scandir(path)])
        with ckptfmt.open(path) as checkpoint:
            return timed(lambda: dict(Arrays(checkpoint, _REPLAY)))

    loaded = compare(lambda: load(small), lambda: load(plain), rounds)
    return {
        "size": sizes[small] / sizes[plain],
        "save": asdict(saved),
        "load": asdict(loaded),
        "tensor": _share_read(small),
    }


def packed(folder: str, run: str) -> float:
    """Return the size of the packed checkpoints of a training, without the one that holds the replay buffer."""
    from ckptfmt.share.pack import pack

    steps = sorted(name for name in os.listdir(run) if name.startswith("step-"))
    chosen = os.path.join(folder, "chosen")
    for name in steps[:_CHECKPOINTS]:
        shutil.copytree(os.path.join(run, name), os.path.join(chosen, name))
    assert not any(os.path.exists(os.path.join(chosen, name, _REPLAY)) for name in steps)
    done = pack(chosen, os.path.join(folder, "run.ckptpack"))
    assert done.checkpoints == _CHECKPOINTS
    return done.stored / done.bytes


def _share_read(path: str) -> float:
    """Return which part of the compressed state is read for its largest tensor, by the count of the system."""
    import ckptfmt

    with ckptfmt.open(path) as checkpoint:
        entry = checkpoint.manifest.files[_STATE]
        name = max(entry.tensors, key=lambda tensor: _size(entry.tensors[tensor]))
        before = _bytes_read()
        checkpoint.read(name, _STATE)
        return (_bytes_read() - before) / checkpoint.stored_bytes(_STATE)


def _size(tensor: Any) -> int:
    from ckptfmt.format.safetensors import tensor_bytes

    return tensor_bytes(tensor.dtype, tensor.shape)


def _bytes_read() -> int:
    with open("/proc/self/io") as file:
        return int(next(line for line in file if line.startswith("rchar")).split()[1])


def _train(run: str, steps: int) -> None:
    """Train a plain network, with a checkpoint at each fourteenth of the steps."""
    from ckptfmt.rl.training.config import TrainConfig
    from ckptfmt.rl.training.train import Trainer

    config = TrainConfig(
        env="ALE/Pong-v5",
        total_steps=steps,
        learning_starts=steps // 7,
        replay_size=max(16, steps * 6 // 7),
        save_every=steps // (_CHECKPOINTS + 1),
        keep=_CHECKPOINTS + 1,
        eval_every=10 * steps,
        eval_episodes=1,
        tensorboard=False,
        device="cpu",
    )
    Trainer(config, run).run()


if __name__ == "__main__":
    json.dump(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])), sys.stdout)
