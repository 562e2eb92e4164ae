"""Compare 2,000 steps with 1,000 that end with kill -9 and 1,000 more: `python -m tests.rl.exactness`.

Catch and Pong, DQN and Rainbow, one environment and three, and two ranks of another trainer. Ends with 0 where
every digest of every pair is the same, 1 where one differs. The suite runs the same in small; this takes minutes.
"""

import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from ckptfmt.rl.training.config import TrainConfig
from ckptfmt.rl.training.exact import assert_resume_exact
from ckptfmt.rl.training.presets import TECHNIQUES as RAINBOW
from ckptfmt.rl.training.train import Trainer
from tests.rl.test_ranks import _TRAIN, torchrun
from tests.rl.test_train import run

STEPS, MIDDLE = 2_000, 1_000
SETTINGS = {
    "total_steps": STEPS,
    "learning_starts": 400,
    # Full, and overwritten from its beginning, before the training is killed.
    "replay_size": 900,
    "epsilon_steps": 1_500,
    "target_every": 300,
    "eval_every": 1_200,
    "eval_episodes": 1,
    "eval_max_frames": 2_000,
    "save_every": MIDDLE,
    "save_replay": "always",
    "hidden_size": 64,
    "device": "cpu",
}
GAMES = {"catch": {"env": "ckptfmt/Catch-v0", "encoder": "nips"}, "pong": {"env": "ALE/Pong-v5"}}
TECHNIQUES = {"dqn": {}, "rainbow": RAINBOW}


def one_process(folder: Path, settings: dict[str, object]) -> None:
    """Compare a training with one that is killed in the middle; raise `AssertionError` where they differ."""
    one = Path(Trainer(TrainConfig(**settings), folder / "one").run())
    assert run(folder / "two", json.dumps(settings)) == -signal.SIGKILL
    [middle] = (path for path in (folder / "two").iterdir() if path.name.startswith("step-"))
    assert run(middle) == 0
    # Three environments take the steps by threes, so the last one is not a round number.
    assert_resume_exact(one, folder / "two" / one.name)


def two_ranks(folder: Path) -> None:
    """Do the same with a trainer of two processes, each with games and a replay buffer of its own."""
    torchrun(folder, _TRAIN, "-", folder / "one", STEPS)
    torchrun(folder, _TRAIN, "-", folder / "half", MIDDLE)
    torchrun(folder, _TRAIN, folder / "half", folder / "two", STEPS)
    assert_resume_exact(folder / "one", folder / "two")


def main() -> int:
    """Run every row, or those named as arguments, and print what came out; return 1 if one differs."""
    rows = {
        f"{game}, {technique}, {count} environment{'s' if count > 1 else ''}": (
            lambda folder, own={**SETTINGS, **GAMES[game], **TECHNIQUES[technique], "num_envs": count}: one_process(
                folder, own
            )
        )
        for game in GAMES
        for technique in TECHNIQUES
        for count in (1, 3)
    }
    rows["catch, two ranks"] = two_ranks
    differ = 0
    for name, compare in rows.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="ckptfmt-exactness-") as folder:
            try:
                compare(Path(folder))
                said = "equal"
            except AssertionError as e:
                differ, said = 1, str(e) or "differs"
        print(f"{name}: {said} ({time.perf_counter() - started:.0f} s)", flush=True)
    return differ


if __name__ == "__main__":
    sys.exit(main())
