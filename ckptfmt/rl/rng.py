"""Random generators as plain data, and back."""

import random
from typing import Any

import numpy as np
import torch

__all__ = ["GENERATORS", "capture_generator", "capture_global", "restore_generator", "restore_global", "seed_global"]

GENERATORS = (np.random.Generator, np.random.RandomState, random.Random, torch.Generator)


def capture_generator(generator: Any) -> Any:
    """Return the state of one generator of the kinds in `GENERATORS`."""
    match generator:
        case np.random.Generator():
            return dict(generator.bit_generator.state)
        case np.random.RandomState():
            return generator.get_state(legacy=False)
        case torch.Generator():
            return generator.get_state()
    version, words, gauss = generator.getstate()
    return {"version": version, "words": np.array(words, dtype=np.uint32), "gauss": gauss}


def restore_generator(generator: Any, state: Any) -> None:
    """Set a generator to a state that `capture_generator` gave."""
    match generator:
        case np.random.Generator():
            generator.bit_generator.state = state
        case np.random.RandomState():
            generator.set_state(state)
        case torch.Generator():
            generator.set_state(state)
        case _:
            generator.setstate((state["version"], tuple(state["words"].tolist()), state["gauss"]))


def capture_global() -> dict[str, Any]:
    """Return the states of the generators that every library shares: Python's, NumPy's, torch's."""
    return {
        "python": capture_generator(random._inst),
        "numpy": np.random.get_state(legacy=False),
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(i) for i in range(torch.cuda.device_count())],
    }


def restore_global(state: dict[str, Any]) -> None:
    """Set the shared generators to a state that `capture_global` gave."""
    restore_generator(random._inst, state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    for i, cuda in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(cuda, i)


def seed_global(seed: int) -> None:
    """Seed the shared generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
