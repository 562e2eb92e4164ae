"""Rows 13 and 14: replay and saves within a training process: `python -m benchmarks.training KIND FOLDER ROUNDS …`."""

import json
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.bench import Bench, Row
from benchmarks.measure import Comparison, Result, compare, timed

__all__ = ["ROWS"]

_BATCH = 32


def _replay(bench: Bench) -> list[Result]:
    found = bench.inside("training", "replay", bench.folder, str(bench.rounds(15)), str(bench.size(50_000, 500)))
    work = "sample and update 32 of a prioritized replay buffer, 4×84×84"
    return [
        Result.of(13, work, "cpprb, stacks stored once", 2, found["compressed"]),
        Result.of(13, work, "cpprb, stacks stored whole", 2, found["whole"]),
    ]


def _saving(bench: Bench) -> list[Result]:
    found = bench.inside("training", "saving", bench.folder, str(bench.rounds(9)), str(bench.size(1000, 20)))
    work = "1,000 steps of ckpt train on Pong with a checkpoint among them"
    return [Result.of(14, work, "the same without", 1.02, found["saving"])]


ROWS = (Row(13, _replay), Row(14, _saving))


def replay(folder: str, rounds: int, frames: int) -> dict[str, Comparison]:
    """Compare drawing and re-weighting a batch, 100 times a round, with what cpprb takes for the same transitions.

    They are of one step: over several, cpprb gives no next observations where it stores the stacks once.
    """
    import numpy as np

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cpprb

    from ckptfmt.rl.training.replay import Replay

    ours = Replay(frames, (1, 84, 84), prioritized=True)
    fields = {"obs": {"shape": (84, 84, 4), "dtype": np.uint8}, "act": {"dtype": np.int64}, "rew": {}, "done": {}}
    compressed = cpprb.PrioritizedReplayBuffer(frames, fields, next_of="obs", stack_compress="obs", alpha=0.5)
    whole = cpprb.PrioritizedReplayBuffer(frames // 4, {**fields, "next_obs": fields["obs"]}, alpha=0.5)
    rng = np.random.default_rng(1)
    stack = np.zeros((4, 84, 84), np.uint8)
    for step in range(frames):
        after = np.concatenate([stack[1:], rng.integers(256, size=(1, 84, 84), dtype=np.uint8)])
        ended = step % 1000 == 999
        ours.add(0, stack, 0, 1.0, ended, False, after)
        before, then = np.ascontiguousarray(np.moveaxis(stack, 0, -1)), np.ascontiguousarray(np.moveaxis(after, 0, -1))
        for buffer in (compressed, whole):
            buffer.add(obs=before, act=0, rew=1.0, next_obs=then, done=float(ended))
            if ended:
                buffer.on_episode_end()
        stack = after
    errors = rng.random(_BATCH)
    batch = ours.sample(_BATCH)

    def draw_ours() -> None:
        nonlocal batch
        for _ in range(100):
            batch = ours.sample(_BATCH, 0.5, batch)
            ours.update(batch.indices, errors)

    def draw_theirs(buffer: Any) -> None:
        for _ in range(100):
            sample = buffer.sample(_BATCH, beta=0.5)
            buffer.update_priorities(sample["indexes"], errors)

    return {
        name: compare(lambda: timed(draw_ours), lambda b=buffer: timed(lambda: draw_theirs(b)), rounds)  # type: ignore[misc]
        for name, buffer in (("compressed", compressed), ("whole", whole))
    }


def saving(folder: str, rounds: int, steps: int) -> dict[str, Comparison]:
    """Compare steps of one training, those with a checkpoint at their start with those without."""
    import torch

    from ckptfmt.rl.training.config import TrainConfig
    from ckptfmt.rl.training.train import Trainer

    torch.set_num_threads(1)
    config = TrainConfig(
        env="ALE/Pong-v5",
        total_steps=1_000_000,
        learning_starts=steps,
        replay_size=20_000,
        save_every=2 * steps,
        eval_every=1_000_000,
        epsilon_steps=2 * steps,
        tensorboard=False,
        device="cpu",
    )
    trainer = Trainer(config, os.path.join(folder, "run"))
    # Every second share of steps begins with the checkpoint, so that what is done in the background falls into it.
    trainer.advance(4 * steps - 1)

    def go_on() -> None:
        trainer.advance(trainer.step + steps)

    found = compare(lambda: timed(go_on), lambda: timed(go_on), rounds)
    trainer.close()
    return {"saving": found}


_KINDS: dict[str, Callable[[str, int, int], dict[str, Comparison]]] = {f.__name__: f for f in (replay, saving)}

if __name__ == "__main__":
    _found = _KINDS[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    json.dump({name: asdict(both) for name, both in _found.items()}, sys.stdout)
