"""A check for the tests of any trainer: did the resumed training come to the very same state?"""

import os

from ckptfmt.store.checkpoint import Checkpoint

__all__ = ["assert_resume_exact"]

# Enough to see which part went astray; the rest is as a rule the same part.
_SHOWN = 5


def assert_resume_exact(one_go: str | os.PathLike[str], resumed: str | os.PathLike[str]) -> None:
    """Raise `AssertionError` unless two checkpoints hold the same tensors, digest for digest.

    Train N + M steps in one go and save; train N, save, kill, resume, train M and save; then give both
    checkpoints. Weights, optimizer, random generators, counters and replay buffer are compared.
    """
    with Checkpoint(one_go) as first, Checkpoint(resumed) as second:
        files = set(first.manifest.contents) | set(second.manifest.contents)
        wrong = []
        for file in sorted(files):
            if file not in first.manifest.contents or file not in second.manifest.contents:
                wrong.append(f"{file} is only in one of them")
                continue
            mine, theirs = first.manifest.contents[file].tensors, second.manifest.contents[file].tensors
            wrong += [
                f"{file}: {name}"
                for name in sorted(set(mine) | set(theirs))
                if name not in mine or name not in theirs or mine[name].digest != theirs[name].digest
            ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise AssertionError(f"the resumed training differs in {', '.join(wrong[:_SHOWN])}{more}")
