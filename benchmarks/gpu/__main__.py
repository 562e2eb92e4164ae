"""Measure training and saving on a GPU in one go of a few minutes, and print a JSON object a line.

Each line says what was measured, the figure, its goal, and whether that is reached. `--short` runs the same in tiny
sizes, on whatever device, to see that it works; its figures mean nothing.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

import torch

import ckptfmt
from ckptfmt.rl.device import parse_device
from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.train import Trainer

_GAME, _ENVIRONMENTS, _EVERY = "ALE/Pong-v5", 16, 4


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print; exit 1 where a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda", help="where to measure")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--compile", action="store_true", help="compile the losses into CUDA graphs")
    parser.add_argument("--short", action="store_true", help="tiny sizes: see that it runs")
    options = parser.parse_args(words)
    device = parse_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    print(json.dumps({"device": name, "torch": torch.__version__, "cores": os.cpu_count(), "short": options.short}))
    missed = 0
    with tempfile.TemporaryDirectory(prefix="ckptfmt-gpu-") as folder:
        trainer = Trainer(_settings(options, device), os.path.join(folder, "run"))
        for found in (*_training(trainer, options.short), *_saving(trainer, folder, options.short)):
            missed += not found["reached"]
            print(json.dumps(found), flush=True)
        trainer.close()
    return int(missed > 0 and not options.short)


def _settings(options: argparse.Namespace, device: torch.device) -> TrainConfig:
    never = 2**40
    return TrainConfig(
        env=_GAME,
        num_envs=_ENVIRONMENTS,
        # A core for this process, and one for what the driver does.
        env_processes=1 if options.short else max(1, min(_ENVIRONMENTS, (os.cpu_count() or 1) - 2)),
        overlap=True,
        replay_size=4_000 if options.short else 200_000,
        learning_starts=400 if options.short else 10_000,
        train_every=_EVERY,
        epsilon_steps=20_000,
        total_steps=never,
        eval_every=never,
        save_every=never,
        log_every=never,
        tensorboard=False,
        precision=options.precision,
        compile=options.compile,
        hidden_size=32 if options.short else 512,
        device=str(device),
    )


def _training(trainer: Trainer, short: bool) -> Iterator[dict[str, Any]]:
    """Measure updates alone, then acting and learning together."""
    trainer.advance(trainer.config.learning_starts + (16 if short else 1_000))
    updates, steps = (5, 32) if short else (2_000, 40_000)
    rate = updates / _seconds(lambda: [trainer._learn() for _ in range(updates)])
    speed = steps / _seconds(lambda: trainer.advance(trainer.step + steps))
    yield {"what": "updates/s alone, batches of 32", "value": rate, "goal": 0, "reached": True}
    waits = _waits(trainer)
    yield {"what": "operations of an update that wait for the device", "value": waits, "goal": 0, "reached": waits == 0}
    what = f"steps/s, {_ENVIRONMENTS} environments, an update every {_EVERY} steps"
    yield {"what": what, "value": speed, "goal": 8_000, "reached": speed >= 8_000}
    yield {"what": "its share of updates/s alone x 4", "value": speed / rate / _EVERY, "goal": 0, "reached": True}


def _waits(trainer: Trainer) -> int:
    """Return how many operations of an update make the processor wait for the device, by the count of torch.

    -1 where torch says nothing of one that surely does.
    """
    if trainer.learner.device.type != "cuda":
        return 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        torch.ones((), device=trainer.learner.device).item()
        trainer._learn()
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in caught) - 1


def _saving(trainer: Trainer, folder: str, short: bool) -> Iterator[dict[str, Any]]:
    """Save and load bit for bit, and measure what the caller of a background save waits."""
    model, config, place = trainer.learner.online, trainer.model_config, os.path.join(folder, "saved")
    ckptfmt.save_model_checkpoint(model, config, None, place)
    loaded, _, _ = ckptfmt.load_model_checkpoint(place, device=trainer.learner.device)
    state = loaded.state_dict()
    same = all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    yield {"what": "saved and loaded bit for bit", "value": float(same), "goal": 1, "reached": same}
    rounds = 3 if short else 15
    with ckptfmt.CheckpointManager(os.path.join(folder, "kept"), keep_last=2, background=True) as manager:
        waits, saves = [], []
        for step in range(rounds):
            waits.append(_seconds(lambda s=step: manager.save(s, model.state_dict(), config)))  # type: ignore[misc]
            manager.wait()
            saves.append(_seconds(lambda: torch.save(model.state_dict(), os.path.join(folder, "theirs.pth"))))
    share = median(waits) / median(saves)
    yield {
        "what": "background save: the caller waits, of torch.save",
        "value": share,
        "goal": 0.1,
        "reached": share <= 0.1,
    }


def _seconds(work: Any) -> float:
    """Return how long work takes, all that it started on the device included."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
